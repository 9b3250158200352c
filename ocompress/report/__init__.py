"""From what was done and measured to JSON, JUnit, Markdown, HTML and tables on the terminal."""

from ocompress.report.document import SCHEMA_VERSION, document, to_text
from ocompress.report.forms import in_form_of
from ocompress.report.junit import junit
from ocompress.report.markdown import markdown
from ocompress.report.optimization import Optimization
from ocompress.report.webpage import webpage

__all__ = [
    "SCHEMA_VERSION",
    "Optimization",
    "document",
    "in_form_of",
    "junit",
    "markdown",
    "to_text",
    "webpage",
]
