"""Nodes that ONNX Runtime runs, without a gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ocompress.analysis.gradients.concrete import outer_reads
from ocompress.ir import DType, Model, Node, Value, edit
from ocompress.ir.extract import extract
from ocompress.runtime import Session
from ocompress.training.dtypes import to_held, to_numpy

_MOST_SESSIONS = 8
_CALM = {"session.intra_op.allow_spinning": "0"}


class Opaque:
    """One node, its bodies included, as a session of its own.

    Attributes:
        reads: What it is given, in this order.
        makes: What it returns, in this order.
    """

    def __init__(
        self,
        model: Model,
        node: Node,
        known: Mapping[str, np.ndarray],
        floating: torch.dtype,
        threads: int,
    ) -> None:
        """Prepare.

        Args:
            model: The model of the node; not changed.
            node: A node of its main graph.
            known: Arrays of values that never change, by name; shapes in bodies may need them.
            floating: The type that floats are computed in.
            threads: Threads of the session.
        """
        distinct = {id(v): v for v in outer_reads(node)}.values()
        self.reads: list[Value] = list(distinct)
        self.makes: list[Value] = [v for v in node.outputs if v is not None and v.use_count > 0]
        self._floating, self._threads = floating, threads
        self._part = extract(model, [node], self.reads, self.makes)
        self._fix(known)
        self._sessions: dict[object, Session] = {}

    def __call__(self, *given: torch.Tensor) -> Any:
        """Run the node on tensors of what it reads.

        Raises:
            RuntimeFailureError: If ONNX Runtime cannot run it.
        """
        session = self._session(given)
        wanted = {spec.name: spec.dtype for spec in session.inputs}
        feeds = {
            value.name: to_numpy(tensor, wanted[value.name] or value.dtype or DType.FLOAT)
            for value, tensor in zip(self.reads, given, strict=True)
            if value.name in wanted
        }
        made = session.run(feeds)
        found = tuple(to_held(made[value.name], self._floating) for value in self.makes)
        return found[0] if len(found) == 1 else found

    def _fix(self, known: Mapping[str, np.ndarray]) -> None:
        graph = self._part.graph
        for value in [v for v in graph.inputs if v.name in known]:
            graph.inputs.remove(value)
            value.is_input = False
            edit.set_weight(value, known[value.name])
            graph.initializers[value.name] = value

    def _session(self, given: Sequence[Any]) -> Session:
        """Return the session for the shapes of what is given; bodies may need to know them."""
        key = tuple(tuple(getattr(one, "shape", ())) for one in given)
        if key not in self._sessions:
            if len(self._sessions) >= _MOST_SESSIONS:
                self._sessions.clear()
            by_name = {value.name: value for value in self._part.graph.inputs}
            for value, one in zip(self.reads, given, strict=True):
                if isinstance(one, torch.Tensor) and value.name in by_name:
                    dtype = value.dtype or DType.of(one.numpy(force=True))
                    by_name[value.name].set_type(dtype, tuple(one.shape))
            self._sessions[key] = Session(self._part, threads=self._threads, config=_CALM)
        return self._sessions[key]
