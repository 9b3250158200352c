"""Options about what is written and printed, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ocompress.cli.panels import OUTPUT, flag, valued

OutputOption = Annotated[
    Path | None,
    valued(
        "-o",
        "--output",
        kind="FILE",
        panel=OUTPUT,
        text="Path of the result (alternative to the positional argument).",
    ),
]
ExternalData = Annotated[
    bool, flag("--external-data", panel=OUTPUT, text="Store weights in OUTPUT.data.")
]
Storage = Annotated[
    str,
    valued(
        "--storage",
        kind="plain|packed|auto",
        panel=OUTPUT,
        text="plain: weights as passes leave them; packed: in the smallest form that stock "
        "operators restore to the bit while the model loads; auto: packed, but not in an archive.",
    ),
]
OnFail = Annotated[
    str,
    valued(
        "--on-fail",
        kind="keep|discard",
        panel=OUTPUT,
        text="When a budget fails: keep writes the best result reached, dated before its inputs "
        "so that builds make it again; discard writes nothing.",
    ),
]
NoTouch = Annotated[
    bool,
    flag(
        "--no-touch",
        panel=OUTPUT,
        text="Keep the timestamp of an unchanged output (ninja's restat).",
    ),
]
Report = Annotated[
    Path | None,
    valued(
        "--report",
        kind="FILE",
        panel=OUTPUT,
        text="Write a report: .html, .md, or JSON for any other name; - prints it.",
    ),
]
ReportFormat = Annotated[
    str,
    valued(
        "--report-format",
        kind="FORM",
        panel=OUTPUT,
        text="json, md or html, whatever the file is called.",
    ),
]
Summary = Annotated[
    Path | None,
    valued(
        "--summary",
        kind="FILE",
        panel=OUTPUT,
        text="Append a short Markdown summary, for the page of a CI job.",
    ),
]
Depfile = Annotated[
    Path | None,
    valued("--depfile", kind="FILE", panel=OUTPUT, text="Write a Makefile dependency list."),
]
Dump = Annotated[
    Path | None,
    valued(
        "--dump", kind="DIR", panel=OUTPUT, text="Write the graph after each pass to this folder."
    ),
]
Json = Annotated[bool, flag("--json", panel=OUTPUT, text="Print JSON instead of tables.")]
Quiet = Annotated[bool, flag("-q", "--quiet", panel=OUTPUT, text="Print errors only.")]
Verbose = Annotated[bool, flag("-v", "--verbose", panel=OUTPUT, text="Show per-node remarks.")]
NoColor = Annotated[bool, flag("--no-color", panel=OUTPUT, text="Print without colors.")]
