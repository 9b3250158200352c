"""From what was done and measured to JSON, JUnit, Markdown and tables on the terminal."""

from ocompress.report.document import SCHEMA_VERSION, document, to_text
from ocompress.report.junit import junit
from ocompress.report.markdown import markdown
from ocompress.report.optimization import Optimization

__all__ = ["SCHEMA_VERSION", "Optimization", "document", "junit", "markdown", "to_text"]
