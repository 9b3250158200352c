"""`ocompress.optimize` and its siblings: what they take, and how they refuse the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import ocompress
from ocompress.errors import InvalidModelError, UsageError
from ocompress.front import Request
from ocompress.ir import fingerprint, to_proto
from tests.build import Builder
from tests.graphs import ZOO
from tests.validation.nets import detector, pictures

X = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)


LONG = "a" * 300
"""More than a name of a file may have."""


class Tensor:
    """Stands for a framework's tensor."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        return X


class OnDevice:
    """A tensor that does not come to this side."""

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        msg = "call detach() first"
        raise RuntimeError(msg)


def always(*_: Any) -> float:
    return 1.0


def small(**given: Any) -> Any:
    """Optimize the MLP and measure no time."""
    plain: dict[str, Any] = {"model": ZOO["mlp"](), "passes": "quant", "data": X, "measure": False}
    given = plain | given
    return ocompress.optimize(given.pop("model"), given.pop("output", None), **given)


@pytest.mark.parametrize(
    "data",
    [
        X,
        {"x": X},
        {"x": Tensor()},
        Tensor(),
        [X[:20], X[20:]],
        [{"x": X}],
        ({"x": x[None]} for x in X),
    ],
    ids=["array", "dict", "dict of tensors", "tensor", "arrays", "feeds", "generator"],
)
def test_data_in_memory(data: Any) -> None:
    done = small(data=data, held_out=0)
    assert done.held
    assert done.validation.samples == 40


@pytest.mark.parametrize("form", ["file", "path", "proto", "model"])
def test_models(form: str, tmp_path: Path) -> None:
    made = ZOO["mlp"]()
    proto = to_proto(made)
    before = proto.SerializeToString()
    ocompress.save(proto, tmp_path / "in.onnx")
    model: Any = {"file": str(tmp_path / "in.onnx"), "path": tmp_path / "in.onnx", "proto": proto,
             "model": made}[form]  # fmt: skip
    done = small(model=model, output=tmp_path / "out.onnx")
    assert proto.SerializeToString() == before
    assert fingerprint(ocompress.load(tmp_path / "out.onnx")) == fingerprint(done.model)
    assert ocompress.validate(model, done.model, X).passed
    assert onnx.load(tmp_path / "out.onnx") == to_proto(ocompress.load(str(tmp_path / "out.onnx")))


@pytest.mark.parametrize(
    "passes",
    ["prune,quant", ["prune", "quant"], ["prune,quant"],
     [ocompress.Pipeline.parse("prune").passes[1], "quant"]],
)  # fmt: skip
def test_passes(passes: Any) -> None:
    done = small(passes=passes)
    assert [r.name for r in done.pipeline.records] == ["canonicalize", "prune", "quant"]


def test_numpys_numbers_and_limits() -> None:
    done = small(samples=np.int64(20), max_drop=np.float32(0.5), max_size="1MB", metric=always)
    assert done.settings["samples"] == 20
    assert done.settings["max_bytes"] == 1e6
    assert done.settings["max_size_ratio"] is None
    assert done.settings["metric"] == f"{__name__}:always"


def test_limits_reach_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Request] = []
    monkeypatch.setattr("ocompress.front.api.run", lambda request, *_, **__: seen.append(request))
    small(max_latency="5ms", max_size=0.25, max_drop=0.01, measure=True)
    small(max_latency=0.5, max_size=None, measure=True)
    small()
    budgets = [request.budget for request in seen]
    assert (budgets[0].max_latency_ms, budgets[0].max_latency_ratio) == (5.0, None)
    assert (budgets[0].max_size_ratio, budgets[0].max_drop) == (0.25, 0.01)
    assert (budgets[1].max_latency_ratio, budgets[1].max_size_ratio) == (0.5, None)
    assert (budgets[2].max_latency_ratio, budgets[2].max_size_ratio) == (None, 1.0)


WRONG: dict[str, dict[str, Any]] = {
    "data are a number": {"data": 42},
    "data are bytes": {"data": b"abc"},
    "data are lists": {"data": X.tolist()},
    "data are nothing": {"data": []},
    "a feed is None": {"data": [None]},
    "data have no samples": {"data": X[:0]},
    "data are a scalar": {"data": np.float32(3)},
    "data are ragged": {"data": {"x": [[1.0], [1.0, 2.0]]}},
    "data are objects": {"data": {"x": np.array([None])}},
    "data do not convert": {"data": OnDevice()},
    "data have other names": {"data": {"z": X}},
    "data have another shape": {"data": X[:, :3]},
    "the model is a number": {"model": 3},
    "the model is None": {"model": None},
    "the model is bytes": {"model": b"\x08\x08"},
    "the model is a graph": {"model": onnx.GraphProto()},
    "there is no file": {"model": "nowhere.onnx"},
    "the output is a number": {"output": 3},
    "the output is empty": {"output": ""},
    "no passes": {"passes": []},
    "passes are a number": {"passes": 3},
    "a pass is a number": {"passes": ["prune", 3]},
    "a pass is a class": {"passes": [ocompress.Pass]},
    "a pass is unknown": {"passes": ["prun"]},
    "labels are a number": {"labels": 5},
    "labels are a dict": {"labels": {"a": 1}},
    "labels are few": {"labels": [1]},
    "samples are text": {"samples": "3"},
    "samples are a fraction": {"samples": 3.5},
    "threads are true": {"threads": True},
    "the seed is text": {"seed": "a"},
    "the timeout is text": {"timeout": "1s"},
    "the cache is a number": {"cache": 5},
    "the drop is a list": {"max_drop": [0.1]},
    "the metric is a number": {"metric": 3},
    "the metric is a lambda": {"metric": lambda *_: 1.0},
    "the target is a number": {"target": 3},
    "the target is unknown": {"target": "moon"},
    "the recipe is a number": {"recipe": 3, "passes": ""},
    "the latency has no unit": {"max_latency": "5", "measure": True},
    "the latency is a list": {"max_latency": [], "measure": True},
    "the size has another unit": {"max_size": "5ms"},
    "the budget is a number": {"budget": 3},
    "a budget and a limit": {"budget": ocompress.Budget(), "max_drop": 0.1},
    "the student is a number": {"student": 5},
    "the student is long": {"student": LONG},
    "the model's name is long": {"model": LONG},
    "the output's name is long": {"output": LONG},
    "the output's name has a NUL": {"output": "a\0"},
    "the data's name is long": {"data": LONG},
    "the labels' name is long": {"labels": LONG},
    "the recipe's name is long": {"recipe": LONG, "passes": ""},
    "samples are huge": {"samples": 10**400},
    "the drop is huge": {"max_drop": 10**400},
    "external data are text": {"external_data": "yes"},
    "instruments are a number": {"instruments": 3},
    "measure is text": {"measure": "no"},
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG.keys())
def test_anything_else_is_a_usage_error(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        small(**given)


def test_one_array_for_two_inputs_names_them() -> None:
    b = Builder()
    b.op("Add", b.input("one", ["n", 4]), b.input("two", ["n", 4]), to="y")
    b.output("y", ["n", 4])
    with pytest.raises(UsageError, match=r"hold one array but the model wants one.*two"):
        small(model=b.model(), data=X)


OTHERS: dict[str, Callable[[], object]] = {
    "validate, data": lambda: ocompress.validate(ZOO["mlp"](), ZOO["mlp"](), 42),  # type: ignore[arg-type]
    "validate, threads": lambda: ocompress.validate(ZOO["mlp"](), ZOO["mlp"](), X, threads="a"),  # type: ignore[arg-type]
    "validate, metric": lambda: ocompress.validate(ZOO["mlp"](), ZOO["mlp"](), X, metric=3),  # type: ignore[arg-type]
    "validate, gate": lambda: ocompress.validate(ZOO["mlp"](), ZOO["mlp"](), X, gate=3),  # type: ignore[arg-type]
    "profile, seconds": lambda: ocompress.profile(ZOO["mlp"](), seconds="a"),  # type: ignore[arg-type]
    "profile, no time": lambda: ocompress.profile(ZOO["mlp"](), seconds=0),
    "profile, shapes": lambda: ocompress.profile(ZOO["mlp"](), shapes=[1]),  # type: ignore[arg-type]
    "profile, a shape": lambda: ocompress.profile(ZOO["mlp"](), shapes={"x": 3}),  # type: ignore[dict-item]
    "validate, a long name": lambda: ocompress.validate(ZOO["mlp"](), LONG, X),
    "load a long name": lambda: ocompress.load(LONG),
    "load an archive, threads": lambda: ocompress.load_archive(LONG, threads="a"),  # type: ignore[arg-type]
    "load an archive of a long name": lambda: ocompress.load_archive(LONG),
    "save under a long name": lambda: ocompress.save(ZOO["mlp"](), LONG),
    "save under no name": lambda: ocompress.save(ZOO["mlp"](), "."),
    "sweep, jobs": lambda: ocompress.sweep(3),  # type: ignore[arg-type]
    "sweep, workers": lambda: ocompress.sweep("j.toml", workers="a"),  # type: ignore[arg-type]
    "sweep, progress": lambda: ocompress.sweep("j.toml", progress=3),  # type: ignore[arg-type]
    "validate, progress": lambda: ocompress.validate(ZOO["mlp"](), ZOO["mlp"](), X, progress=3),  # type: ignore[arg-type]
    "validate, a gate of no name": lambda: ocompress.validate(
        ZOO["mlp"](), ZOO["mlp"](), X, gate="a\0"
    ),
    "profile, an array of shapes": lambda: ocompress.profile(ZOO["mlp"](), shapes=X),  # type: ignore[arg-type]
    "profile, per node": lambda: ocompress.profile(ZOO["mlp"](), per_node=X),  # type: ignore[arg-type]
    "profile, a huge batch": lambda: ocompress.profile(ZOO["mlp"](), batch=10**400),
    "sweep a long name": lambda: ocompress.sweep(LONG),
    "load": lambda: ocompress.load(3),  # type: ignore[arg-type]
    "save": lambda: ocompress.save(3, "x.onnx"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("wrong", OTHERS.values(), ids=OTHERS.keys())
def test_so_do_the_others(wrong: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        wrong()


def test_a_metric_may_be_any_function_where_nothing_is_reported_by_name() -> None:
    model = ZOO["mlp"]()
    found = ocompress.validate(model, model, X, metric=lambda *_: 0.5)
    assert found.levels[0].metric is not None
    assert found.levels[0].metric.reference == 0.5


def test_a_model_whose_weights_are_elsewhere_is_refused(tmp_path: Path) -> None:
    ocompress.save(ZOO["mlp"](), tmp_path / "in.onnx", external_data=True)
    proto = onnx.load(tmp_path / "in.onnx", load_external_data=False)
    with pytest.raises(InvalidModelError, match="is in a file of its own"):
        small(model=proto)
    with pytest.raises(InvalidModelError, match="holds no graph"):
        small(model=onnx.ModelProto())


def test_validate_says_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    model = ZOO["mlp"]()
    feeds = [{"x": x[None]} for x in X[:3]]
    found = ocompress.validate(model, model, feeds, progress=lambda *at: told.append(at))
    assert told[: found.feeds + 1] == [(at, found.feeds) for at in range(found.feeds + 1)]


def test_agreement_of_few_held_out_samples_leans_on_margins_of_the_others() -> None:
    drawn = small(passes="prune{sparsity=0.5}")
    given = small(passes="prune{sparsity=0.5}", eval_data=X)
    ways = [done.validation.levels[0].agreement for done in (drawn, given)]
    assert [way.method for way in ways] == ["pairs", "wilson"]


def test_units_of_outputs_go_by_name_everywhere() -> None:
    model = detector()
    data = np.concatenate([feeds["x"] for feeds in pictures(model, 40)])
    done = ocompress.optimize(
        model, passes="quant", data=data, metric="output0=boxes", max_drop=0.9, measure=False
    )
    (output,) = done.validation.levels[0].outputs
    assert output.loss is not None
    assert (output.loss.unit, done.settings["metric"]) == ("boxes", "output0=boxes")
    found = ocompress.validate(model, done.model, data, metric="error")
    assert found.levels[0].loss is not None
    assert found.levels[0].loss.unit == "error"
