"""From what was done and measured to JSON, JUnit and tables on the terminal."""

from ocompress.report.document import SCHEMA_VERSION, document, to_text
from ocompress.report.junit import junit
from ocompress.report.optimization import Optimization

__all__ = ["SCHEMA_VERSION", "Optimization", "document", "junit", "to_text"]
