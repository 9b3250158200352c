"""Validation on a device, and the same model on two machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress.errors import RuntimeFailureError
from ocompress.runtime import Session
from ocompress.targets.transport import RESULT, LocalTransport, Progress
from ocompress.validation import Gate, validate, validate_on
from tests.build import Builder
from tests.validation.nets import after, classifier, data

Twist = Callable[[str, int, dict[str, np.ndarray]], None]


@dataclass
class Twisted:
    """A device that computes something else: edits outputs after a local run."""

    twist: Twist
    name: str = "odd"
    timed: bool = False

    def execute(self, folder: Path, progress: Progress) -> None:
        LocalTransport().execute(folder, progress)
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        for model in result["models"]:
            for number, entry in enumerate(model["outputs"]):
                with np.load(folder / entry["file"]) as archive:
                    arrays = {k: archive[k] for k in archive.files}
                self.twist(model["name"], number, arrays)
                numbered: dict[str, Any] = arrays
                np.savez(folder / entry["file"], **numbered)


def swap_two(name: str, number: int, arrays: dict[str, np.ndarray]) -> None:
    """Turn over the logits of samples 17 and 20."""
    if name == "candidate" and number == 2:
        for row in (1, 4):
            arrays["0"][row] = -arrays["0"][row]


def test_the_same_machine_agrees_with_itself() -> None:
    reference, candidate, samples = classifier(0), classifier(1), data()
    found = validate_on(LocalTransport(), reference, candidate, samples)
    here = validate(reference, candidate, samples)
    assert found.validation.levels == here.levels[:1]
    assert found.validation.structure[:4] == here.structure[:4]
    assert found.times_valid
    assert found.remarks == ()
    assert [m.model for m in found.machines] == ["candidate", "reference"]
    for machine in found.machines:
        assert machine.outputs[0].exact
        assert machine.flips[0].count == 0


def test_flips_between_machines_are_found() -> None:
    net, samples = classifier(0), data()
    found = validate_on(Twisted(swap_two), net, after("Identity"), samples)
    candidate, reference = found.machines
    (flips,) = candidate.flips
    assert flips.samples == (17, 20)
    assert flips.count == 2
    assert flips.fraction == 2 / 40
    assert flips.decision == "top-1 axis -1"
    assert candidate.outputs[0].max_abs_error > 0.1
    assert 0 < candidate.outputs[0].sqnr_db < 30
    assert reference.outputs[0].exact
    assert found.validation.levels[0].outputs[0].agreement is not None
    assert found.validation.levels[0].outputs[0].agreement.value == 38 / 40
    assert "times mean nothing" in found.remarks[0]


def test_decisions_of_an_output_within_0_and_1_flip_at_a_half() -> None:
    def nudge(_: str, __: int, arrays: dict[str, np.ndarray]) -> None:
        arrays["0"][...] = np.where(arrays["0"] > 0.5, 0.4, arrays["0"])

    b = Builder()
    b.op("Sigmoid", b.op("Gemm", b.input("x", ["n", 4]), b.weight(4, 1)), to="y")
    b.output("y", ["n", 1])
    net, samples = b.model(), data()
    (flips,) = validate_on(Twisted(nudge), net, net, samples).machines[0].flips
    assert flips.decision == "x > 0.5"
    session = Session(net)
    wanted = np.flatnonzero(np.concatenate([session.run(f)["y"] for f in samples]) > 0.5)
    assert flips.samples == tuple(wanted)
    assert 5 < flips.count < 35


def test_a_gate_judges_what_the_device_gave() -> None:
    net, samples = classifier(0), data()
    gate = Gate(min_agreement=0.99)
    assert validate_on(LocalTransport(), net, after("Identity"), samples, gate=gate).passed
    assert not validate_on(Twisted(swap_two), net, after("Identity"), samples, gate=gate).passed


def test_the_difference_of_levels_is_measured_when_limited() -> None:
    net, samples = classifier(0), data()
    gate = Gate(min_level_sqnr_db=40.0)
    found = validate_on(LocalTransport(), net, after("Identity"), samples, gate=gate)
    assert found.passed
    assert [level.level.value for level in found.validation.levels] == ["all", "disabled"]


def test_a_candidate_that_fails_there_fails_its_check() -> None:
    broken = after("Reshape", np.array([7, 11]))
    found = validate_on(LocalTransport(), classifier(0), broken, data())
    assert not found.passed
    assert [c.name for c in found.validation.failures] == ["runs[all]"]
    assert "on local cannot run the candidate" in found.validation.failures[0].message
    assert found.machines[0].error
    assert not found.machines[1].error


def test_a_reference_that_fails_there_is_an_error() -> None:
    with pytest.raises(RuntimeFailureError, match="on local cannot run the reference"):
        validate_on(LocalTransport(), after("Reshape", np.array([7, 11])), classifier(0), data())


def test_what_was_found_is_json() -> None:
    found = validate_on(Twisted(swap_two), classifier(0), after("Identity"), data()).to_json()
    text = json.loads(json.dumps(found, allow_nan=False))
    assert text["machines"][0]["flips"][0]["samples"] == [17, 20]
    assert text["facts"]["threads"] == 1
    assert text["times_valid"] is False
    assert text["passed"] is True
