"""What PyTorch makes of a graph is what ONNX Runtime makes of it, and so are the gradients."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install ocompress[tune]")

from ocompress.analysis.gradients.program import Program as Adjoint
from ocompress.ir.onnx_api import infer_types
from ocompress.training.network import Network
from ocompress.training.registry import rules
from tests.analysis.gradients.test_nets import net
from tests.graphs import ZOO
from tests.training.nets import GRAPHS, apart, given_to

# Graphs that only ONNX Runtime computes, and those that are no nets.
_ODD = {"bfloat16", "overridable_default"}


@pytest.mark.parametrize("name", [*GRAPHS, *(n for n in ZOO if n not in _ODD)])
def test_outputs_are_those_of_onnx_runtime(name: str) -> None:
    model = {**ZOO, **GRAPHS}[name]()
    error, program = apart(model, given_to(model))
    assert error < (5e-3 if name == "float16" else 1e-4)
    if name in GRAPHS:
        assert {n.op_type for n in program.opaque} <= {"If"}


@pytest.mark.parametrize("name", GRAPHS)
def test_gradients_are_those_of_differences(name: str) -> None:
    model = GRAPHS[name]()
    given = given_to(model)
    network = Network(model, given, floating=torch.float64, threads=1)
    values = network.initial()
    inputs = {n: torch.from_numpy(a).double() for n, a in given.items() if a.dtype.kind == "f"}
    rest = {n: a for n, a in given.items() if n not in inputs}
    if name == "frozen_body":
        inputs, rest = {}, given
    leaves = [t.clone().requires_grad_() for t in (*inputs.values(), *values.values())]
    assert leaves

    def run(*tensors: Any) -> Any:
        fed = dict(zip((*inputs, *values), tensors, strict=True))
        arrays = {**rest, **{n: fed.pop(n) for n in inputs}}
        return network.run(arrays, fed)["y"]

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    assert run(*leaves).requires_grad


@pytest.mark.parametrize("name", ["resnet8", "transformer"])
def test_gradients_are_those_of_the_adjoint_graph(name: str) -> None:
    model = net(name)
    model.sort()
    infer_types(model)
    rng = np.random.default_rng(1)
    feeds = {"image": rng.uniform(0, 1, (2, 1, 28, 28)).astype(np.float32)}
    layers = [n.output.name for n in model.graph.nodes if n.is_op("Conv", "MatMul", "Gemm")]
    adjoint = Adjoint(model, ["image", *layers], feeds)
    made = adjoint.forward(feeds)
    (output,) = adjoint.seeded
    seed = rng.standard_normal(made[output].shape).astype(np.float32)
    expected = adjoint.backward(made, {output: seed})["image"]
    network = Network(model, feeds, threads=1)
    image = torch.from_numpy(feeds["image"]).requires_grad_()
    made_here = network.run({"image": image}, network.initial())[output]
    made_here.backward(torch.from_numpy(seed))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(image.grad.numpy() / scale, expected / scale, atol=1e-4)


def test_every_weight_of_a_net_has_a_gradient() -> None:
    model = net("transformer")
    feeds = {"image": np.random.default_rng(1).uniform(0, 1, (2, 1, 28, 28)).astype(np.float32)}
    network = Network(model, feeds, threads=1)
    assert not network.stuck
    values = {n: v.requires_grad_() for n, v in network.initial().items()}
    total = network.run(feeds, values)[model.graph.outputs[0].name].square().sum()
    found = torch.autograd.grad(total, list(values.values()))
    assert all(bool(g.abs().max() > 0) for g in found)
    sizes = sum(w.size for w in model.weights() if w.dtype == np.float32 and w.size > 1)
    assert sum(v.numel() for v in values.values()) == sizes


def test_weights_before_a_node_without_a_gradient_are_named() -> None:
    model = ZOO["if_bodies"]()
    network = Network(model, given_to(model), threads=1)
    for name, (label, op_type) in network.stuck.items():
        assert name not in network.trained
        assert op_type == "If"
        assert any(n.label == label for n in model.graph.nodes)


def test_feeds_of_another_shape_need_no_new_network() -> None:
    model = GRAPHS["extents_of_the_batch"]()
    network = Network(model, given_to(model), threads=1)
    x = np.random.default_rng(0).standard_normal((5, 6, 4)).astype(np.float32)
    whole = network.run({"x": x}, network.initial())["y"]
    assert whole.shape == (5, 3)
    np.testing.assert_allclose(
        network.run({"x": x[:3]}, network.initial())["y"], whole[:3], rtol=1e-6
    )


def test_some_sixty_operators_are_known() -> None:
    assert len(rules()) > 60


def test_nothing_imports_pytorch_before_it_is_needed() -> None:
    code = (
        "import sys, ocompress, ocompress.training, passes.tuning.tune\n"
        "from ocompress.cli.app import run\n"
        "from ocompress.pipeline import all_passes\n"
        "all_passes()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
