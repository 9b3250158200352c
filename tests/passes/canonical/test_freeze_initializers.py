"""Initializers listed as inputs."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.ir import Model
from ocompress.pipeline import find
from tests.build import Builder
from tests.contract.harness import context
from tests.passes.canonical.exact import run


def _model(ir_version: int) -> Model:
    b = Builder()
    w = b.input("w", [4])
    b.const(np.asarray([1, 2, 3, 4], np.float32), "w")
    b.op("Mul", b.input("x", ["n", 4]), w, to="y")
    b.output("y", ["n", 4])
    return b.model(ir_version=ir_version)


def test_old_files_list_weights_as_inputs() -> None:
    ran = run("freeze-initializers", _model(3))
    assert [v.name for v in ran.after.graph.inputs] == ["x"]
    assert ran.after.shell.ir_version == 4
    assert ran.after.graph.initializers["w"].constant is not None
    ran.same_bits()


def test_defaults_are_kept_and_the_option_is_named() -> None:
    ran = run("freeze-initializers", _model(8))
    assert not ran.outcome
    assert ran.codes == {"overridable-initializer"}
    assert "freeze_inputs=true" in ran.remarks[0].message


def test_option_freezes_defaults() -> None:
    ran = run("freeze-initializers", _model(8), freeze_inputs=True)
    assert [v.name for v in ran.after.graph.inputs] == ["x"]
    assert not ran.remarks
    ran.same_bits()


@pytest.mark.parametrize("freeze", [False, True])
def test_canonicalize_hands_the_option_on(freeze: bool) -> None:
    model = _model(8)
    context(model).run_one(find("canonicalize").from_options({"freeze_inputs": freeze}), model)
    assert len(model.graph.inputs) == (1 if freeze else 2)
