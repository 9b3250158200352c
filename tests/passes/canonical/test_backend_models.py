"""Every model of ONNX's backend tests that ONNX Runtime runs computes the same afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from ocompress.diagnostics import Diagnostics
from ocompress.errors import DataError, OcompressError
from ocompress.ir import Model, from_proto, onnx_api, text, to_proto
from ocompress.pipeline import Context, find
from ocompress.runtime import Level, Session
from tests.contract.harness import context
from tests.passes.canonical.backend import LIGHT, Case, cases

KEPT_BACK = {
    "test_scan_sum": "Scan of opset 8 has a batch axis, for which later opsets have no word",
}
"""Models that stay at their opset; they still have to compute the same."""

ROUNDED = {
    "test_attention_4d_fp16_expanded",
    "test_attention_4d_gqa_with_past_and_present_fp16_expanded",
    "test_attention_4d_causal_fp16_expanded",
}
"""ONNX Runtime computes chains of float16 in float32 and rounds where a chain ends; folding
moves those ends."""

EVERY = 33
"""The fast sample takes each model of that distance."""


def _interface(model: Model) -> list[tuple[str, bytes]]:
    values = [v for v in model.graph.inputs if v.data is None or model.shell.ir_version >= 4]
    return [
        (v.name, v.type_proto.SerializeToString(deterministic=True) if v.type_proto else b"")
        for v in (*values, *model.graph.outputs)
    ]


def _canonicalized(model: Model) -> Diagnostics:
    ctx = context_without_data()
    ctx.run_one(find("canonicalize")(), model)
    once = text(model)
    again = context_without_data().run_one(find("canonicalize")(), model)
    assert not again, f"a second run still changes it: {again.counts}"
    assert text(model) == once
    return ctx.diagnostics


def context_without_data() -> Context:
    empty = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    return context(from_proto(empty))


def _session(model: onnx.ModelProto) -> Session:
    return Session(model.SerializeToString(), level=Level.DISABLED)


def _compare(case: Case, model: Model, wanted: dict[str, Any]) -> None:
    kept = {value.name for value in model.graph.inputs}
    feeds = {name: array for name, array in case.feeds.items() if name in kept}
    got = _session(to_proto(model)).run(feeds)
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        _same(got[name], array, 2e-3 if case.name in ROUNDED else 2e-6)


def _same(got: Any, wanted: Any, tolerance: float) -> None:
    if isinstance(wanted, list):
        assert isinstance(got, list)
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            _same(one, other, tolerance)
        return
    if not isinstance(wanted, np.ndarray):
        assert got == wanted
        return
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(
            got.astype(np.float64), wanted.astype(np.float64), tolerance, tolerance
        )
    else:
        np.testing.assert_array_equal(got, wanted)


def examine(case: Case) -> str:
    """Put one model through `canonicalize`; return what is wrong, empty if nothing is."""
    try:
        wanted = _session(case.proto).run(case.feeds)
    except OcompressError:
        return ""
    model = from_proto(case.proto)
    before = _interface(model)
    try:
        diagnostics = _canonicalized(model)
        model.verify()
        onnx_api.check(to_proto(model))
        _compare(case, model, wanted)
    except (AssertionError, OcompressError) as error:
        return f"{case.name}: {onnx_api.first_line(error)}"
    if _interface(model) != before:
        return f"{case.name}: inputs or outputs changed"
    if any(r.code == "no-adapter" for r in diagnostics) != (case.name in KEPT_BACK):
        return f"{case.name}: at opset {model.opset}, against expectation"
    return ""


def _examine_all(chosen: Iterable[Case]) -> list[str]:
    return [problem for problem in map(examine, chosen) if problem]


def _sample(everything: Sequence[Case]) -> list[Case]:
    special = {*KEPT_BACK, *ROUNDED}
    return [c for i, c in enumerate(everything) if i % EVERY == 0 or c.name in special]


def test_sample_of_backend_models() -> None:
    chosen = _sample(list(cases()))
    assert len(chosen) >= 60
    assert _examine_all(chosen) == []


@pytest.mark.slow
def test_all_backend_models() -> None:
    assert _examine_all(cases()) == []


def test_comparison_notices_differences() -> None:
    x = np.linspace(0, 1, 5, dtype=np.float32)
    _same([x], [x], 1e-6)
    for other in (x + 1e-5, x.astype(np.float64), x[:4], np.full(5, np.nan, np.float32)):
        with pytest.raises(AssertionError):
            _same([x], [other], 1e-6)


@pytest.mark.parametrize("name", [path.stem for path in sorted(LIGHT.glob("*.onnx"))])
def test_light_architectures(name: str) -> None:
    proto = onnx.load(LIGHT / f"{name}.onnx")
    weights = {tensor.name for tensor in proto.graph.initializer}
    image = next(value for value in proto.graph.input if value.name not in weights)
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    data = np.random.default_rng(0).random(shape, dtype=np.float32)
    case = Case(name, proto, {image.name: data})
    assert examine(case) == ""
    try:
        _session(proto).run(case.feeds)
    except DataError:  # examine takes a model that does not run as passed
        pytest.fail("the model does not run to begin with")
