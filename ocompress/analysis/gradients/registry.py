"""The table of rules: how a gradient passes through each operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ocompress.analysis.gradients.tape import Tape
from ocompress.ir import Node, Value

Gradients = Sequence[Value | None]
"""A gradient per input or output of a forward node; None where there is none."""
Apply = Callable[[Tape, Node, Value], Gradients]
ApplyAll = Callable[[Tape, Node, Gradients], Gradients]


@dataclass(frozen=True)
class GradientRule:
    """How a gradient passes through an operator.

    Attributes:
        apply: Takes the tape, the forward node and the gradients of its outputs (None for those
            that reach no output of the model), and returns the gradients of its inputs. It may
            return fewer; the rest gets none. Raises `StoppedError` for forms it cannot treat.
        inputs: Positions of the inputs it treats, None for all; a gradient wanted for another one
            is stopped.
        every_output: Whether outputs after the first may carry a gradient, too.
    """

    apply: ApplyAll
    inputs: frozenset[int] | None
    every_output: bool = False


RULES: dict[str, GradientRule] = {}
"""By standard operator; filled by the modules under `rules`."""


def rule(*op_types: str, inputs: Sequence[int] | None = None) -> Callable[[Apply], Apply]:
    """Enrol a rule of operators of which only the first output carries a gradient."""

    def enrol(function: Apply) -> Apply:
        def apply(tape: Tape, node: Node, gradients: Gradients) -> Gradients:
            first = gradients[0]
            assert first is not None, node.label
            return function(tape, node, first)

        treated = None if inputs is None else frozenset(inputs)
        for op_type in op_types:
            RULES[op_type] = GradientRule(apply, treated)
        return function

    return enrol


def rule_of_outputs(*op_types: str, inputs: Sequence[int]) -> Callable[[ApplyAll], ApplyAll]:
    """Enrol a rule of operators of which every output may carry a gradient."""

    def enrol(function: ApplyAll) -> ApplyAll:
        for op_type in op_types:
            RULES[op_type] = GradientRule(function, frozenset(inputs), every_output=True)
        return function

    return enrol
