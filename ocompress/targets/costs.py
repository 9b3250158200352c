"""What operators cost in ONNX Runtime, in float and as integers.

The figures are least-squares fits of kernel times that ONNX Runtime 1.31.1's own profiler gave on
one thread of one x86-64 core, for about 800 single-operator and chained graphs per instruction set:
`time = overhead + multiply-accumulates / rate + output elements * element time + output places *
kernel elements * tap time + output places * kernel rows * row time`, and more for elements that the
caches do not hold. Output channels of dense and thin convolutions count in whole blocks
(`Target.channel_multiple`). The AVX2 figures come from the AVX2 kernels of the same build; those
that a processor without VNNI (AMD Zen 3, about 450 operators of 10 nets) contradicted are from
there, scaled to the speed of the others. `Conv.dense` and `Conv.thin` were fitted again to 680
convolutions of 1 to 128 input channels with AVX-512 VNNI and 430 with AVX2 (AMD Zen 4): copying
patches costs an integer convolution about as much for one channel as for 64. Only ratios travel to
other machines, and that is all that a choice between float and int8 needs; nothing is timed while
compiling unless the table turns out wrong, so the same model gives the same choice everywhere.
Nobody has measured an Arm device yet: `arm64` uses the AVX2 figures, whose gain from int8 is the
smaller one.

A kind is an operator name, for convolutions and products followed by a variant:

- `Conv.pointwise`, `Conv.dense`: one group, kernel 1 or larger
- `Conv.depthwise`, `Conv.depthwise-large`: a group per channel; outputs up to / over 800,000
- `Conv.grouped`, `Conv.thin`: other groups; at most 4 input channels (mostly the first layer)
- `Gemm.rows`, `Gemm.row`, and the same for `MatMul`: 8 or more rows, or fewer
- `MatMul.dynamic`: both factors computed
- `enter`, `leave`: float to int8 (QuantizeLinear and a change of layout) and back
- `guard`: a LeakyRelu that keeps a float operator before integers from becoming one
- `reorder`: to or from the blocked layout of float convolutions
- `MaxPool.lone`: int8 max pooling whose input is not made by an integer convolution region
"""

from __future__ import annotations

from collections.abc import Mapping

from ocompress.targets.target import OpCost

Costs = Mapping[str, OpCost]


def _cost(
    overhead: float,
    rate: float = 0.0,
    element: float = 0.0,
    *,
    tap: float = 0.0,
    row: float = 0.0,
    spill: float = 0.0,
) -> OpCost:
    return OpCost(
        overhead_ns=overhead,
        macs_per_ns=rate,
        element_ns=element,
        tap_ns=tap,
        row_ns=row,
        spill_ns=spill,
    )


_FLOAT: Costs = {
    "Conv.pointwise": _cost(740, 56.7, 0.03),
    "Conv.dense": _cost(600, 59.1, 0.20),
    "Conv.depthwise": _cost(1000, 26.0),
    "Conv.depthwise-large": _cost(0, 14.0),
    "Conv.grouped": _cost(1000, 50.0, 0.5),
    "Conv.thin": _cost(600, 55.0, 0.07),
    "Gemm.rows": _cost(490, 52.4),
    "Gemm.row": _cost(900, 13.5),
    "MatMul.rows": _cost(480, 55.9),
    "MatMul.row": _cost(900, 13.5),
    "MatMul.dynamic": _cost(0, 47.9, 0.35),
    "Add": _cost(500, 0, 0.15),
    "Mul": _cost(500, 0, 0.18),
    "Concat": _cost(500, 0, 0.10),
    "Split": _cost(500, 0, 0.10),
    "MaxPool": _cost(700, 0, 0.20),
    "MaxPool.lone": _cost(0),
    "GlobalAveragePool": _cost(600, 0.0, 0.08),
    "Resize": _cost(900, 0, 0.20),
    "Sigmoid": _cost(600, 0, 0.30),
    "LeakyRelu": _cost(600, 0, 0.24),
    "Relu": _cost(500, 0, 0.11),
    "Clip": _cost(500, 0, 0.12),
    "move": _cost(500, 0, 0.10),
    "reorder": _cost(400, 0, 0.13),
    "guard": _cost(600, 0, 0.24),
}

_INT8: Costs = {
    "Conv.pointwise": _cost(1680, 111.8, 0.138),
    "Conv.dense": _cost(1780, 115.0, 0.10, row=6.0),
    "Conv.depthwise": _cost(2270, 17.0),
    "Conv.depthwise-large": _cost(0, 16.5),
    "Conv.grouped": _cost(2300, 57.0, 4.0),
    "Conv.thin": _cost(1780, 115.0, 0.18, row=6.0),
    "Gemm.rows": _cost(1650, 107.5, 0.42),
    "Gemm.row": _cost(2000, 54.0),
    "MatMul.rows": _cost(1830, 109.7, 0.12),
    "MatMul.row": _cost(2000, 54.0),
    "MatMul.dynamic": _cost(4900, 78.7, 0.45),
    "Add": _cost(900, 0, 0.11),
    "Mul": _cost(900, 0, 0.22),
    "Concat": _cost(900, 0, 0.06),
    "Split": _cost(900, 0, 0.05),
    "MaxPool": _cost(900, 0, 0.16),
    "MaxPool.lone": _cost(0, 0, 12.0),
    "GlobalAveragePool": _cost(800, 0.0, 0.035),
    "Resize": _cost(1200, 0, 0.60),
    "Sigmoid": _cost(800, 0, 0.30),
    "LeakyRelu": _cost(800, 0, 0.30),
    "move": _cost(600, 0, 0.04),
    "enter": _cost(1200, 0, 0.33),
    "leave": _cost(1200, 0, 0.18),
}

AVX2_FLOAT: Costs = {
    **_FLOAT,
    "Conv.pointwise": _cost(740, 56.7, 0.05, spill=0.15),
    "Conv.depthwise": _cost(1000, 25.4, 0.134),
    "Add": _cost(500, 0, 0.20),
    "GlobalAveragePool": _cost(600, 0.0, 0.16),
}
AVX2_INT8: Costs = {
    **_INT8,
    "Conv.pointwise": _cost(1680, 111.8, 0.16),
    "Conv.depthwise": _cost(2270, 23.0, 0.19, tap=1.04),
    "Add": _cost(900, 0, 0.094),
    "GlobalAveragePool": _cost(800, 0.0, 0.068),
    "Resize": _cost(1200, 0, 1.37),
    "leave": _cost(1200, 0, 0.22),
}

_VNNI_RATES_FLOAT = {
    "Conv.pointwise": 112.0,
    "Conv.dense": 118.0,
    "Conv.depthwise": 44.0,
    "Conv.depthwise-large": 25.0,
    "Conv.grouped": 90.0,
    "Conv.thin": 110.0,
    "Gemm.rows": 105.0,
    "Gemm.row": 21.0,
    "MatMul.rows": 109.0,
    "MatMul.row": 21.0,
    "MatMul.dynamic": 112.0,
}
_VNNI_RATES_INT8 = {
    "Conv.pointwise": 486.0,
    "Conv.dense": 500.0,
    "Conv.depthwise": 36.0,
    "Conv.depthwise-large": 34.0,
    "Conv.grouped": 100.0,
    "Conv.thin": 500.0,
    "Gemm.rows": 392.0,
    "Gemm.row": 66.0,
    "MatMul.rows": 396.0,
    "MatMul.row": 66.0,
    "MatMul.dynamic": 184.0,
}


def _with_rates(costs: Costs, rates: Mapping[str, float], share: float) -> Costs:
    """Return costs with other rates; elements and rows take `share` of their time."""
    return {
        kind: _cost(
            cost.overhead_ns,
            rates.get(kind, cost.macs_per_ns),
            cost.element_ns * share,
            row=cost.row_ns * share,
        )
        for kind, cost in costs.items()
    }


VNNI_FLOAT: Costs = _with_rates(_FLOAT, _VNNI_RATES_FLOAT, 0.75)
VNNI_INT8: Costs = {
    **_with_rates(_INT8, _VNNI_RATES_INT8, 0.75),
    "enter": _cost(1200, 0, 0.17),
    "leave": _cost(1200, 0, 0.17),
}
