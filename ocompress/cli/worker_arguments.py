"""Options about workers, with their help texts."""

from __future__ import annotations

from typing import Annotated

from ocompress.cli.panels import MEASURING, valued

WorkerCount = Annotated[
    int,
    valued(
        "--workers",
        panel=MEASURING,
        kind="N",
        text="Processes that run jobs, or build the models of a plan, side by side.",
    ),
]
Scheduler = Annotated[
    str,
    valued(
        "--scheduler",
        panel=MEASURING,
        kind="tcp://HOST:PORT",
        text="A Dask scheduler whose workers do that (pip install 'ocompress[cluster]').",
        show_default=False,
    ),
]
