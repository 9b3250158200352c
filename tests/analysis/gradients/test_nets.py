"""The nets of the repository: every layer is reached, and the gradient of a whole net is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from ocompress.analysis.gradients.program import Program
from ocompress.io import load_model
from ocompress.ir import Model, to_proto
from ocompress.ir.onnx_api import infer_types
from tests.analysis.gradients.differences import widened
from tests.analysis.gradients.test_sweep import sweep

NETS = Path(__file__).parents[3] / "models"
LAYERS = "Conv", "Gemm", "MatMul"


def net(name: str) -> Model:
    return load_model(NETS / f"{name}.onnx")


def layer_values(model: Model) -> list[str]:
    """Name what the layers read and make, constants excepted."""
    found: dict[str, None] = {}
    for node in model.graph.nodes:
        if node.is_op(*LAYERS):
            around = [v for v in (*node.inputs, node.output) if v is not None]
            found.update((v.name, None) for v in around if v.constant is None)
    return list(found)


@pytest.mark.parametrize(
    "name", ["lenet-300-100", "lenet5", "mobilenet", "resnet8", "transformer", "vgg"]
)
def test_every_layer_is_reached(name: str) -> None:
    model = net(name)
    x = np.random.default_rng(1).uniform(0, 1, (3, 1, 28, 28)).astype(np.float32)
    seen, missing = sweep(model, layer_values(model), [{"image": x}])
    assert all(why.endswith("does not depend on what is fed.") for why in missing.values())
    assert len(seen) + len(missing) == len(layer_values(model))
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for _, _, g in seen)


def test_a_whole_net_beside_differences_in_float64() -> None:
    model = net("resnet8")
    model.sort()
    infer_types(model)
    rng = np.random.default_rng(2)
    x = rng.uniform(0, 1, (1, 1, 28, 28)).astype(np.float32)  # no even ground, which makes kinks
    program = Program(model, ["image"], {"image": x})
    made = program.forward({"image": x})
    seed = rng.standard_normal(made["logits"].shape).astype(np.float32)
    gradient = program.backward(made, {"logits": seed})["image"].astype(np.float64)
    evaluator = ReferenceEvaluator(widened(to_proto(model)))
    move = 1e-6 * rng.standard_normal(x.shape)
    up, down = (
        np.asarray(next(iter(evaluator.run(None, {"image": x + m})))) for m in (move, -move)
    )
    np.testing.assert_allclose((gradient * move).sum(), ((up - down) / 2 * seed).sum(), rtol=1e-4)
