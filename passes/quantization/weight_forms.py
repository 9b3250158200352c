"""The forms that weights can be stored in, and what each asks of a model and of a machine."""

from __future__ import annotations

from enum import StrEnum

BITS = {"int8": 8, "int4": 4, "int2": 2}
HALVES = {"fp16": "float16", "bf16": "bfloat16"}
FORMS = (*HALVES, *BITS)
BLOCKS = (16, 32, 64, 128, 256)
"""The block sizes that MatMulNBits has."""
INT8_LEVEL = 4
"""Accuracy level of MatMulNBits that computes in int8."""


class Role(StrEnum):
    """What a weight is to its operators."""

    MATRIX = "matrix"
    TABLE = "table"
    KERNEL = "kernel"


class Effect(StrEnum):
    """What ONNX Runtime makes of a stored weight."""

    FOLDED = "folded at load"
    FUSED = "fused to MatMulNBits"
    EVERY_RUN = "dequantized every run"
    ROWS = "dequantized row by row"


NOTES = {
    Effect.FOLDED: "smaller on disk only: ONNX Runtime widens the weight to float32 at load, so "
    "memory and latency are those of the float model",
    Effect.FUSED: "smaller in memory too; faster than float for few rows of input; for many, "
    "about even with VNNI (2 bits: 2 times slower) and 1.2 to 2 times slower with AVX2 alone; "
    "the kernel by default rounds its inputs to int8 (relative error about 0.5 %), exact but "
    "slow with the session entry session.qdq_matmulnbits_accuracy_level=1",
    Effect.EVERY_RUN: "smaller on disk, larger in memory while it runs, slower than float",
    Effect.ROWS: "smaller in memory too: only the rows looked up become float32",
}


def lowest_opset(form: str, role: Role, block: int, kernel: str) -> tuple[int, str]:
    """Return the first opset with which a form can be written, and what older ones lack."""
    if form in HALVES:
        return (13, "no bfloat16 in Cast") if form == "bf16" else (6, "no Cast to float16")
    if kernel == "fold" and (form != "int8" or block):
        return 11, "no look-ups that bytes need"
    if role is Role.TABLE:
        if block:
            return 21, "no scales per block"
        return (7, "no broadcasting") if form == "int8" else (18, "no BitwiseAnd")
    if kernel == "matmulnbits":
        return 1, ""
    if kernel == "fold":
        return 7, "no broadcasting"
    if form == "int2":
        return 25, "no 2-bit tensors"
    if form == "int4":
        return 21, "no 4-bit tensors"
    return (21, "no scales per block") if block else (13, "no scales per channel")


def remedy(opset: int) -> str:
    """Return what to do about an opset that is too old."""
    if opset > 21:
        return f"export it with opset {opset}, or give kernel=matmulnbits"
    return f"run canonicalize{{opset={max(opset, 13)}}} before"
