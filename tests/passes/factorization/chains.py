"""One convolution, and a form of some ranks in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ocompress.analysis.linear_rows import Site, site_of
from ocompress.ir import Model, onnx_api
from ocompress.runtime import Level, Session
from passes.factorization.alternate import Effort
from passes.factorization.forms import ChainForm, Ranks
from passes.factorization.grouping import in_order
from passes.factorization.layers import problems_of
from passes.factorization.problem import Problem, pose
from passes.factorization.rewriting import factored, put
from tests.build import Builder, feeds
from tests.contract.harness import check


def conv(
    weight: np.ndarray, group: int = 1, *, spatial: Any = None, bias: bool = True, **attrs: Any
) -> Model:
    """A convolution `y`, its bias computed unless it has one; extents are known unless given."""
    b = Builder(1)
    extents = [11, 12, 9][: weight.ndim - 2] if spatial is None else spatial
    x = b.input("x", [2, weight.shape[1] * group, *extents])
    added = b.weight(len(weight)) if bias else b.op("Abs", b.input("bias", [len(weight)]))
    made = b.op("Conv", x, b.const(weight.astype(np.float32)), added, to="y", group=group, **attrs)
    b.output(made, [None] * weight.ndim)
    return b.model()


def matrix_of(model: Model) -> np.ndarray:
    """The layer's weight as (groups, inputs, outputs)."""
    site = _site(model)
    return site.matrix(site.layer.weight.astype(np.float64))


def through(model: Model, form: ChainForm, ranks: Ranks | None = None) -> Model | None:
    """Put a form in place of `y`, exact if no ranks are given; None if it is none for it."""
    onnx_api.infer_types(model)
    after = model.clone()
    site = _site(after)
    problems = problems_of(site, matrix_of(model), None, None)
    if form.refusal(problems[0]) is not None:
        return None
    factors = []
    for problem in problems:
        seen = form.sees(problem)
        factors.append(form.start(seen)(form.most(seen) if ranks is None else ranks))
    chain = factored(form, problems, factors)
    assert put([site], chain.links())
    after.sort()
    check(after)
    return after


def lost(model: Model, after: Model, given: dict[str, np.ndarray] | None = None) -> float:
    """The largest error of any output, relative to the largest output."""
    given = feeds(model, 5) if given is None else given
    left, right = (Session(m, level=Level.DISABLED).run(given) for m in (model, after))
    assert left.keys() == right.keys()
    return max(float(np.abs(right[k] - v).max() / np.abs(v).max()) for k, v in left.items())


def kinds(model: Model) -> list[str]:
    """The operators, in order."""
    return [n.op_type for n in model.graph.nodes]


def planted(
    rng: np.random.Generator, shape: Sequence[int], groups: int, *, others: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A weight (outputs, inputs, ...) that is blocks of channels drawn by lot, others faint."""
    outs = rng.permutation(in_order(shape[0], groups))
    ins = rng.permutation(in_order(shape[1], groups))
    loud = np.where(outs[:, None] == ins[None], 1.0, others)
    return (
        rng.standard_normal(shape) * loud.reshape(*loud.shape, *(1,) * (len(shape) - 2)),
        ins,
        outs,
    )


def posed(tensor: np.ndarray, seed: int = 0) -> Problem:
    """The problem of a weight (channels, *kernel, outputs) on data that hang together."""
    rng = np.random.default_rng(seed)
    inputs, outputs = int(np.prod(tensor.shape[:-1])), tensor.shape[-1]
    rows = rng.standard_normal((4 * inputs, inputs)) @ (
        np.eye(inputs) + 0.5 * rng.standard_normal((inputs, inputs)) / np.sqrt(inputs)
    )
    mixed = np.eye(outputs) + 0.5 * rng.standard_normal((outputs, outputs)) / np.sqrt(outputs)
    return pose(tensor, rows.T @ rows / len(rows), mixed @ mixed.T)


def cost(form: ChainForm, problem: Problem, ranks: Ranks, effort: Effort) -> float:
    """What a form costs, relative to leaving everything away."""
    seen = form.sees(problem)
    factors = form.fitted(seen, form.start(seen)(ranks), effort)
    tensor = factored(form, [problem], [factors]).tensors[0]
    made = tensor.reshape(problem.tensor.shape) @ problem.scale
    return problem.error(made) / problem.power()


def _site(model: Model) -> Site:
    site = site_of(next(n for n in model.graph.nodes if n.label == "y"))
    assert isinstance(site, Site)
    return site
