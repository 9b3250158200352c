"""Rules: what an operator of ONNX is in PyTorch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from ocompress.ir import Node

Function = Callable[..., Any]
"""Takes a tensor for each input of a node, None for those omitted; returns one, or a tuple."""
Extents = tuple[int, ...]

_MODULES = (
    "indexing_rules",
    "layout_rules",
    "linear_rules",
    "normalization_rules",
    "pointwise_rules",
    "pooling_rules",
    "quantization_rules",
    "recurrent_rules",
    "reduction_rules",
    "resizing_rules",
)


class UnsupportedError(Exception):
    """A rule does not cover a node; ONNX Runtime runs it then, without a gradient."""


@dataclass(frozen=True)
class Call:
    """What a rule is told of a node. All of it is known before anything is computed.

    Attributes:
        node: The node.
        opset: Version of the standard operator set.
        floating: The type that floats are computed in.
        shapes: Shape of each input, None for those omitted.
        arrays: The inputs that are known, None for others.
        made: Shape of each output, where it is known.
    """

    node: Node
    opset: int
    floating: torch.dtype
    shapes: tuple[Extents | None, ...]
    arrays: tuple[np.ndarray | None, ...]
    made: tuple[Extents | None, ...] = ()

    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute as a Python value."""
        return self.node.attr(name, default)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return self.node.input(index) is not None

    def wants(self, index: int) -> bool:
        """Whether somebody reads an output."""
        outputs = self.node.outputs
        value = outputs[index] if index < len(outputs) else None
        return value is not None and value.use_count > 0

    def shape(self, index: int = 0) -> Extents:
        """Return the shape of an input that is there."""
        found = self.shapes[index]
        assert found is not None, self.node.label
        return found

    def rank(self, index: int = 0) -> int:
        """Return the number of axes of an input."""
        return len(self.shape(index))

    def axis(self, name: str = "axis", default: int = 0) -> int:
        """Return an attribute that is an axis of the first input, counted from 0."""
        return int(self.attr(name, default)) % max(1, self.rank())

    def ints(self, index: int) -> list[int] | None:
        """Return an input of integers, None if it is omitted.

        Raises:
            UnsupportedError: If it is not known.
        """
        if not self.has(index):
            return None
        return [int(i) for i in self.known(index).reshape(-1)]

    def known(self, index: int) -> np.ndarray:
        """Return an input that has to be known.

        Raises:
            UnsupportedError: If it is not.
        """
        found = self.arrays[index] if index < len(self.arrays) else None
        if found is None:
            msg = f"input {index} is computed"
            raise UnsupportedError(msg)
        return found

    def only(self, index: int = 1) -> None:
        """Check that nobody reads the outputs from an index on.

        Raises:
            UnsupportedError: If somebody does.
        """
        for at in range(index, len(self.node.outputs)):
            if self.wants(at):
                msg = f"output {at} is read"
                raise UnsupportedError(msg)


Build = Callable[[Call], Function]


@dataclass(frozen=True)
class Rule:
    """How a function for a node is made.

    Attributes:
        build: Makes it.
        since: First version of the operator set whose definition it follows.
        static: Inputs that it has to know.
    """

    build: Build
    since: int
    static: tuple[int, ...]


_rules: dict[str, Rule] = {}


def rule(*op_types: str, since: int = 1, static: tuple[int, ...] = ()) -> Callable[[Build], Build]:
    """Register a function as the rule of standard operators.

    Args:
        op_types: The operators.
        since: First operator set whose definition the rule follows.
        static: Inputs that have to be known; if they are computed, the function is made when they
            have been.
    """

    def register(build: Build) -> Build:
        for op_type in op_types:
            assert op_type not in _rules, op_type
            _rules[op_type] = Rule(build, since, static)
        return build

    return register


@cache
def rules() -> dict[str, Rule]:
    """Return the rules of all operators."""
    for name in _MODULES:
        importlib.import_module(f"ocompress.training.{name}")
    return _rules


def rule_of(node: Node, opset: int) -> Rule | None:
    """Return the rule of a node, None if there is none."""
    found = rules().get(node.op_type) if not node.domain and not node.bodies else None
    return found if found is not None and opset >= found.since else None
