"""What became of every layer, what would have come second, and why it lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from ocompress.pipeline import LayerChoice
from ocompress.report.parts import Heading
from ocompress.report.sheet import Sheet

_MEANING = (
    "what is saved has one price in error for all layers of a pass; second is what costs least by "
    "it among all that was not taken"
)


def explained(choices: Sequence[LayerChoice], level: int = 2) -> Iterator[RenderableType]:
    """Return a line for every decision about a layer.

    Args:
        choices: The decisions, layer by layer.
        level: That of the heading.
    """
    if not choices:
        return
    yield Heading("Why each layer is as it is", level)
    table = Sheet()
    for heading in ("layer", "pass", "chosen", "second", "why it lost"):
        table.add_column(heading, overflow="fold")
    before = ""
    for choice in choices:
        name = choice.layer if choice.layer != before else ""
        before = choice.layer
        cells = (name, choice.by, choice.chosen, choice.second, choice.why)
        table.add_row(*map(Text, cells))
    yield table
    yield Text(_MEANING, style="dim")
