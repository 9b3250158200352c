"""Options about plans, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ocompress.cli.panels import BUDGET, OUTPUT, PASSES, flag, valued

MaxMemory = Annotated[
    str,
    valued(
        "--max-memory",
        kind="BYTES",
        panel=BUDGET,
        text="With --auto: most memory that a run may take, such as 200MB.",
        show_default=False,
    ),
]

Auto = Annotated[
    bool,
    flag(
        "--auto",
        panel=PASSES,
        text="Find the best passes and settings by measuring, instead of --passes.",
    ),
]
For = Annotated[
    str,
    valued(
        "--for",
        kind="GOAL",
        panel=PASSES,
        text="What --auto makes small: latency (default), size (of the .onnx), archive (of the "
        ".ocz), memory.",
        show_default=False,
    ),
]
Families = Annotated[
    str,
    valued(
        "--families",
        kind="NAMES",
        panel=PASSES,
        text="What --auto may use, such as channels,int8: merge, layers, heads, channels, "
        "factorize, separable, int8, dynamic, weights, entropy, cluster, codebook, pack. "
        "Default: all.",
        show_default=False,
    ),
]
Time = Annotated[
    str,
    valued(
        "--time",
        kind="TIME",
        panel=PASSES,
        text="Time for --auto: 90s, 15m (default 10m); the best so far is kept.",
        show_default=False,
    ),
]
Compare = Annotated[
    list[Path] | None,
    valued(
        "--compare",
        kind="MODEL",
        panel=PASSES,
        text="With --auto: another model with the same inputs and outputs, measured beside the "
        "plan and drawn in the report; may be given several times.",
        show_default=False,
    ),
]
Tune = Annotated[
    bool,
    flag(
        "--tune",
        panel=PASSES,
        text="Let the plan of --auto end with training, if there is time (pip install "
        "'ocompress[tune]').",
    ),
]
Explain = Annotated[
    bool,
    flag(
        "--explain",
        panel=OUTPUT,
        text="Say of every layer what was chosen, what came second, and why it lost.",
    ),
]
