"""Which adapter serves which change."""

from __future__ import annotations

from passes.canonical.adapters import inputs, legacy, sampling, softmax
from passes.canonical.adapters.step import (
    Adapter,
    CannotAdapt,
    attribute_to_input,
    drop,
    fill,
    refuse,
    rename,
)

__all__ = ["ADAPTERS", "Adapter", "CannotAdapt"]

_BROADCASTING = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")
_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"),
)

ADAPTERS: dict[tuple[str, int], Adapter] = {
    ("Pad", 2): legacy.pad_2,
    ("Concat", 4): fill("axis", 1),
    ("Reshape", 5): legacy.reshape_5,
    ("Cast", 6): legacy.cast_6,
    **{(op, 7): legacy.broadcast_7 for op in _BROADCASTING},
    ("BatchNormalization", 7): drop("is_test", "consumed_inputs"),
    ("Dropout", 7): drop("is_test"),
    ("Gemm", 7): drop("broadcast"),
    ("PRelu", 7): legacy.prelu_7,
    ("Upsample", 7): sampling.upsample_7,
    ("BatchNormalization", 9): legacy.batch_normalization_9,
    ("Scan", 9): refuse("opset 9 took the batch axis from Scan"),
    ("Upsample", 9): sampling.upsample_9,
    ("Dropout", 10): inputs.dropout_10,
    ("Slice", 10): inputs.slice_10,
    ("TopK", 10): inputs.top_k_10,
    ("Upsample", 10): sampling.upsample_10,
    ("Clip", 11): inputs.clip_11,
    ("Pad", 11): inputs.pad_11,
    ("Resize", 11): sampling.resize_11,
    ("Scatter", 11): rename("ScatterElements"),
    ("Dropout", 12): inputs.dropout_12,
    **{(op, 13): softmax.softmax_13 for op in ("Hardmax", "LogSoftmax", "Softmax")},
    ("ReduceSum", 13): attribute_to_input("axes", 1),
    ("Resize", 13): sampling.resize_13,
    ("Split", 13): attribute_to_input("split", 1),
    ("Squeeze", 13): attribute_to_input("axes", 1),
    ("Unsqueeze", 13): attribute_to_input("axes", 1),
    ("BatchNormalization", 14): legacy.batch_normalization_14,
    ("RoiAlign", 16): fill("coordinate_transformation_mode", "output_half_pixel"),
    **{(op, 18): attribute_to_input("axes", 1) for op in _REDUCTIONS},
    ("Split", 18): inputs.split_18,
    ("DFT", 20): inputs.dft_20,
    ("GridSample", 20): sampling.grid_sample_20,
    ("GroupNormalization", 21): inputs.group_normalization_21,
}
"""By operator and the opset that changed it."""
