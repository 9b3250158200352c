"""From what was done and measured to JSON, JUnit, Markdown, HTML and tables on the terminal."""

from ocompress.report.document import SCHEMA, document, to_text
from ocompress.report.forms import ReportForm, in_form_of
from ocompress.report.junit import junit
from ocompress.report.markdown import markdown
from ocompress.report.optimization import Optimization, Tried
from ocompress.report.sweep import Sweep, SweepRow
from ocompress.report.webpage import webpage

__all__ = [
    "SCHEMA",
    "Optimization",
    "ReportForm",
    "Sweep",
    "SweepRow",
    "Tried",
    "document",
    "in_form_of",
    "junit",
    "markdown",
    "to_text",
    "webpage",
]
