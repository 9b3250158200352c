"""Options that commands share, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocompress.cli.panels import BUDGET, INPUT, MEASURING, PASSES, flag, valued

# -- input ----------------------------------------------------------------------------------

Model = Annotated[Path | None, typer.Argument(help="The model, an ONNX file.")]
Subject = Annotated[Path, typer.Argument(help="The model, an ONNX file.")]
Output = Annotated[Path | None, typer.Argument(help="Where the result goes.")]
ModelOption = Annotated[
    Path | None,
    valued(
        "-m",
        "--model",
        kind="FILE",
        panel=INPUT,
        text="The model, in place of the argument.",
    ),
]
Data = Annotated[
    str,
    valued(
        "-d",
        "--data",
        kind="DATA",
        panel=INPUT,
        text="A .npz or .npy file, a folder of them, of images or of test_data_set_N, or "
        "module:function.",
    ),
]
Labels = Annotated[
    Path | None,
    valued(
        "--labels",
        kind="FILE",
        panel=INPUT,
        text="Labels, one per sample: .npy, .npz, .csv or .txt.",
    ),
]
Preprocess = Annotated[
    Path | None,
    valued(
        "--preprocess",
        kind="FILE",
        panel=INPUT,
        text="How to prepare images: a TOML table; default preprocess.toml beside them.",
    ),
]
Samples = Annotated[
    int | None,
    valued("--samples", kind="N", panel=INPUT, text="Use only the first N samples."),
]
Synthetic = Annotated[
    int,
    valued(
        "--synthetic-data",
        kind="N",
        panel=INPUT,
        text="Calibrate on N random samples; says nothing about real inputs.",
        show_default=False,
    ),
]
Shape = Annotated[
    list[str] | None,
    valued(
        "--shape",
        kind="NAME:SHAPE",
        panel=INPUT,
        text="Shape of an input, name:1,3,224,224; once for each input.",
    ),
]

EvalData = Annotated[
    str,
    valued(
        "--eval-data",
        kind="DATA",
        panel=INPUT,
        text="Other data to judge results on, in place of samples of --data that are held out.",
    ),
]
HeldOut = Annotated[
    float,
    valued(
        "--held-out",
        kind="SHARE",
        panel=INPUT,
        text="Share of the samples that passes never see and results are judged on.",
    ),
]

# -- passes ---------------------------------------------------------------------------------

Passes = Annotated[
    str,
    valued(
        "-p",
        "--passes",
        kind="PASSES",
        panel=PASSES,
        text="Passes in order, options in braces, all in quotes: 'prune{sparsity=0.5},quant'. "
        "`ocompress passes` lists them.",
    ),
]
Recipe = Annotated[
    str,
    valued(
        "--recipe",
        kind="RECIPE",
        panel=PASSES,
        text="Passes from a TOML file, or a named recipe, in place of --passes.",
    ),
]
Target = Annotated[
    str,
    valued(
        "-t",
        "--target",
        kind="TARGET",
        panel=PASSES,
        text="What the result will run on: host, arm64, portable, ...",
    ),
]
Seed = Annotated[
    int, valued("--seed", kind="N", panel=PASSES, text="Makes random choices repeatable.")
]

# -- budget ---------------------------------------------------------------------------------

MaxDrop = Annotated[
    str | None,
    valued(
        "--max-drop",
        kind="DROP",
        panel=BUDGET,
        text="Largest loss of the metric: 0.01 or 1% is one point of a hundred. Default 1%, for "
        "passes without a goal of their own.",
    ),
]
Confidence = Annotated[
    float | None,
    valued(
        "--confidence",
        kind="SHARE",
        panel=BUDGET,
        text="Confidence that the loss is within --max-drop, such as 0.95; by default the estimate "
        "has to be, and the upper end of its 95 % interval within twice the limit.",
    ),
]
Metric = Annotated[
    str,
    valued(
        "--metric",
        kind="METRIC",
        panel=BUDGET,
        text="What may be lost: expected (accuracy, as the original's probabilities expect it), "
        "agreement, accuracy, cosine, error, or module:function; auto goes by the outputs.",
    ),
]
MaxLatency = Annotated[
    str,
    valued(
        "--max-latency",
        kind="LIMIT",
        panel=BUDGET,
        text="Largest latency on the host: 0.5x the original's, or 5ms. Default 1x.",
        show_default=False,
    ),
]
MaxLatencyRatio = Annotated[float | None, typer.Option("--max-latency-ratio", hidden=True)]
MaxSize = Annotated[
    str,
    valued(
        "--max-size",
        kind="LIMIT",
        panel=BUDGET,
        text="Largest file: 0.25x the original's, or 2MB. Default 1x.",
        show_default=False,
    ),
]
AllowSlower = Annotated[bool, flag("--allow-slower", panel=BUDGET, text="Accept a slower result.")]
AllowLarger = Annotated[bool, flag("--allow-larger", panel=BUDGET, text="Accept a larger result.")]
Strict = Annotated[
    bool, flag("--strict", panel=BUDGET, text="Exit with 1 if a pass changes nothing.")
]

# -- measuring ------------------------------------------------------------------------------

NoProfile = Annotated[bool, flag("--no-profile", panel=MEASURING, text="Do not measure latency.")]
Batch = Annotated[
    int,
    valued(
        "--batch",
        kind="N",
        panel=MEASURING,
        text="Samples in a call that is timed; the model must leave its batch free.",
        min=1,
    ),
]
Threads = Annotated[
    int,
    valued(
        "--threads",
        kind="N",
        panel=MEASURING,
        text="Threads when measuring; 0: all cores.",
        min=0,
        max=256,
    ),
]

Timeout = Annotated[
    float,
    valued(
        "--timeout",
        kind="SECONDS",
        panel=MEASURING,
        text="Longest that one run of a model may take; 0: no limit.",
    ),
]
