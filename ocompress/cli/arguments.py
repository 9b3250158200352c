"""Options that commands share, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_RESULT, _DATA, _BUDGET, _HOW = "Results", "Data", "Budget", "How"

Model = Annotated[Path | None, typer.Argument(help="The model, an ONNX file.")]
Output = Annotated[Path | None, typer.Argument(help="Where the result goes.")]
ModelOption = Annotated[
    Path | None,
    typer.Option("-m", "--model", help="The model, as an option.", rich_help_panel=_HOW),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="The result, as an option.", rich_help_panel=_RESULT),
]
Passes = Annotated[
    str,
    typer.Option(
        "-p", "--passes", help="Passes in order, with options: 'prune{sparsity=0.5},quant'."
    ),
]
Recipe = Annotated[
    str, typer.Option("--recipe", help="Passes from a TOML file or a named recipe instead.")
]
Data = Annotated[
    str,
    typer.Option(
        "-d",
        "--data",
        help="A .npz or .npy file, a folder of them, of images or of test_data_set_N, or "
        "module:function.",
        rich_help_panel=_DATA,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="Labels: .npy, .npz, .csv or .txt, one a sample.", rich_help_panel=_DATA
    ),
]
Preprocess = Annotated[
    Path | None,
    typer.Option(
        "--preprocess",
        help="How to prepare images: a TOML table; default preprocess.toml beside them.",
        rich_help_panel=_DATA,
    ),
]
Samples = Annotated[
    int | None,
    typer.Option("--samples", help="Use only the first N samples.", rich_help_panel=_DATA),
]
Synthetic = Annotated[
    int,
    typer.Option(
        "--synthetic-data",
        help="Calibrate on N random samples; says nothing about real inputs.",
        rich_help_panel=_DATA,
    ),
]
Target = Annotated[
    str, typer.Option("-t", "--target", help="What the result runs on: host, arm64, portable, ...")
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        help="Largest loss of the metric; 0.01 is one point of a hundred.",
        rich_help_panel=_BUDGET,
    ),
]
Metric = Annotated[
    str,
    typer.Option(
        "--metric", help="agreement, accuracy, or module:function.", rich_help_panel=_BUDGET
    ),
]
MaxLatency = Annotated[
    float | None,
    typer.Option(
        "--max-latency-ratio",
        help="Largest latency over the original's, on the host. Default 1.0.",
        rich_help_panel=_BUDGET,
    ),
]
AllowSlower = Annotated[
    bool,
    typer.Option("--allow-slower", help="Keep slower results too.", rich_help_panel=_BUDGET),
]
AllowLarger = Annotated[
    bool,
    typer.Option("--allow-larger", help="Keep larger results too.", rich_help_panel=_BUDGET),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Exit with 1 if a pass changes nothing.", rich_help_panel=_BUDGET
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write a report: .html and .md for people, else JSON.",
        rich_help_panel=_RESULT,
    ),
]
Depfile = Annotated[
    Path | None,
    typer.Option("--depfile", help="Write a Makefile dependency list.", rich_help_panel=_RESULT),
]
Dump = Annotated[
    Path | None,
    typer.Option(
        "--dump", help="Write the graph after each pass to a folder.", rich_help_panel=_RESULT
    ),
]
ExternalData = Annotated[
    bool,
    typer.Option("--external-data", help="Put weights into OUTPUT.data.", rich_help_panel=_RESULT),
]
NoProfile = Annotated[
    bool, typer.Option("--no-profile", help="Do not measure latency.", rich_help_panel=_HOW)
]
Seed = Annotated[
    int, typer.Option("--seed", help="Makes random choices repeatable.", rich_help_panel=_HOW)
]
Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        help="Threads when measuring; 0: all cores.",
        min=0,
        max=256,
        rich_help_panel=_HOW,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON on standard output.", rich_help_panel=_RESULT)
]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Print errors only.", rich_help_panel=_RESULT)
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Say it node by node.", rich_help_panel=_RESULT)
]
NoColor = Annotated[
    bool, typer.Option("--no-color", help="Print without colors.", rich_help_panel=_RESULT)
]
Shape = Annotated[
    list[str] | None,
    typer.Option("--shape", help="Shape of an input: name:1,3,224,224.", rich_help_panel=_DATA),
]
