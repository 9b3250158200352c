"""Options that commands share, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocompress.cli.panels import BUDGET, INPUT, MEASURING, PASSES, flag, valued

# -- input ----------------------------------------------------------------------------------

Model = Annotated[Path | None, typer.Argument(help="The model, an ONNX file.")]
Subject = Annotated[Path, typer.Argument(help="The model, an ONNX file.")]
Output = Annotated[Path | None, typer.Argument(help="Path of the result.")]
ModelOption = Annotated[
    Path | None,
    valued(
        "-m",
        "--model",
        kind="FILE",
        panel=INPUT,
        text="Model path (alternative to the positional argument).",
    ),
]
Data = Annotated[
    str,
    valued(
        "-d",
        "--data",
        kind="DATA",
        panel=INPUT,
        text="A .npz or .npy file, a folder of those, of images or of test_data_set_N, or "
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
        text="How to preprocess images: a TOML file; default: preprocess.toml in their folder.",
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
        text="Calibrate on N random samples; results say nothing about real inputs.",
        show_default=False,
    ),
]
Shape = Annotated[
    list[str] | None,
    valued(
        "--shape",
        kind="NAME:SHAPE",
        panel=INPUT,
        text="Shape of an input, as name:1,3,224,224; repeat for each input.",
    ),
]

Archive = Annotated[Path, typer.Argument(help="The archive, an .ocz file.")]
Base = Annotated[
    Path | None,
    valued(
        "--base",
        kind="FILE",
        panel=INPUT,
        text="An archive of the version before; only changes of it are stored, and it is needed "
        "again to unpack.",
    ),
]

EvalData = Annotated[
    str,
    valued(
        "--eval-data",
        kind="DATA",
        panel=INPUT,
        text="Data to judge results on, instead of held-out samples of --data.",
    ),
]
HeldOut = Annotated[
    float | None,
    valued(
        "--held-out",
        kind="SHARE",
        panel=INPUT,
        text="Share of the samples held out from all passes to judge results on; default a fifth, "
        "5,000 at most.",
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
        text="A recipe (TOML file or built-in name), instead of --passes.",
    ),
]
Student = Annotated[
    str,
    valued(
        "--student",
        kind="STUDENT",
        panel=PASSES,
        text="What the model becomes before --passes train it: separable, fire, shuffle, "
        "split, width=0.5, macs=0.5, an ONNX file with the same inputs and outputs, or passes.",
    ),
]
Target = Annotated[
    str,
    valued(
        "-t",
        "--target",
        kind="TARGET",
        panel=PASSES,
        text="Cost profile to optimize for: host, arm64, portable, ...",
    ),
]
Seed = Annotated[
    int,
    valued(
        "--seed",
        kind="N",
        panel=PASSES,
        text="Seed of random choices; the same seed gives the same result.",
    ),
]

# -- budget ---------------------------------------------------------------------------------

MaxDrop = Annotated[
    str | None,
    valued(
        "--max-drop",
        kind="DROP",
        panel=BUDGET,
        text="Largest allowed drop of the metric: 0.01 or 1% is one percentage point. Default "
        "1%, for passes without a goal of their own.",
    ),
]
Confidence = Annotated[
    float | None,
    valued(
        "--confidence",
        kind="SHARE",
        panel=BUDGET,
        text="Required confidence that the drop is within --max-drop, such as 0.95. Default: the "
        "estimate is within the limit, and the upper end of its 95 % interval within twice "
        "the limit.",
    ),
]
Metric = Annotated[
    str,
    valued(
        "--metric",
        kind="METRIC",
        panel=BUDGET,
        text="Metric of --max-drop: expected (accuracy predicted by the original's "
        "probabilities), agreement, accuracy, boxes, ctc, iou, cosine, error, relative, "
        "OUTPUT=NAME, or module:function; auto goes by the kind of output.",
    ),
]
MaxLatency = Annotated[
    str,
    valued(
        "--max-latency",
        kind="LIMIT",
        panel=BUDGET,
        text="Largest allowed latency on this machine: 0.5x the original's, or 5ms. Default 1x.",
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
        text="Largest allowed file: 0.25x the original's, or 2MB. Default 1x.",
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
        text="Batch size when timing; the model must have a dynamic batch axis.",
        min=1,
    ),
]
Threads = Annotated[
    int,
    valued(
        "--threads",
        kind="N",
        panel=MEASURING,
        text="Threads when timing; 0 means all cores.",
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
        text="Time limit of one model run; 0 means no limit.",
    ),
]

Cache = Annotated[
    Path | None,
    valued(
        "--cache",
        kind="DIR",
        panel=MEASURING,
        text="Folder that keeps measurements of models, and how far training was, for later runs "
        "on the same data.",
    ),
]
