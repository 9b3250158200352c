"""Recurrent layers, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ocompress.training.registry import Call, Function, UnsupportedError, rule

Step = Callable[..., tuple[Tensor, ...]]
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


@dataclass(frozen=True)
class _Layer:
    """What the attributes of a recurrent layer say."""

    directions: tuple[bool, ...]
    functions: list[list[Callable[[Tensor], Tensor]]]
    batch_first: bool

    @classmethod
    def of(cls, call: Call) -> _Layer:
        """Read them.

        Raises:
            UnsupportedError: If something is not known.
        """
        ways = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
        directions = ways[call.attr("direction", "forward")]
        names = call.attr("activations", _DEFAULTS[call.node.op_type] * len(directions))
        if call.attr("clip") is not None or any(n.lower() not in _FUNCTIONS for n in names):
            msg = "limits and other functions inside are not known"
            raise UnsupportedError(msg)
        if call.attr("input_forget", 0) or (call.node.op_type == "LSTM" and call.has(7)):
            msg = "gates that are tied or look at the cell are not known"
            raise UnsupportedError(msg)
        found = [_FUNCTIONS[n.lower()] for n in names]
        each = len(found) // len(directions)
        cut = [found[i * each : (i + 1) * each] for i in range(len(directions))]
        return cls(directions, cut, bool(call.attr("layout", 0)))

    def run(
        self, x: Tensor, lengths: Tensor | None, states: list[Tensor], steps: list[Step]
    ) -> tuple[Tensor, ...]:
        """Run all directions.

        Args:
            x: [time, batch, inputs].
            lengths: Steps of each sample, None for all.
            states: Each [directions, batch, hidden].
            steps: What makes new states of an input and states, per direction.

        Returns:
            All hidden states [time, directions, batch, hidden], and the last of each state.
        """
        ways, ends = [], []
        for at, backward in enumerate(self.directions):
            time = _reversed(x, lengths) if backward else x
            now = tuple(state[at] for state in states)
            made = []
            for step, one in enumerate(time.unbind(0)):
                new = steps[at](one, *now)
                if lengths is not None:
                    on = (lengths > step).unsqueeze(-1)
                    new = tuple(torch.where(on, n, o) for n, o in zip(new, now, strict=True))
                    made.append(torch.where(on, new[0], torch.zeros_like(new[0])))
                else:
                    made.append(new[0])
                now = new
            whole = torch.stack(made)
            ways.append(_reversed(whole, lengths) if backward else whole)
            ends.append(now)
        last = [torch.stack(state) for state in zip(*ends, strict=True)]
        return torch.stack(ways, 1), *last


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return a sequence [time, batch, ...] backwards, each sample from its own end."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0]).unsqueeze(-1)
    index = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return torch.gather(x, 0, index.unsqueeze(-1).expand(x.shape))


def _recurrent(call: Call, states: int, cell: Callable[..., Step]) -> Function:
    layer = _Layer.of(call)
    hidden, ways = int(call.attr("hidden_size", call.shape(2)[-1])), len(layer.directions)

    def apply(x: Tensor, w: Tensor, r: Tensor, *more: Any) -> tuple[Tensor, ...]:
        rest = [*more, *[None] * 5]
        bias, lengths, begun = rest[0], rest[1], rest[2 : 2 + states]
        x = x.transpose(0, 1) if layer.batch_first else x
        first = x.new_zeros(ways, x.shape[1], hidden)
        begun = [
            first if s is None else s.transpose(0, 1) if layer.batch_first else s for s in begun
        ]
        steps = [
            cell(layer.functions[i], w[i], r[i], None if bias is None else bias[i])
            for i in range(ways)
        ]
        whole, *last = layer.run(x, None if lengths is None else lengths.long(), begun, steps)
        if layer.batch_first:
            return whole.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in last)
        return whole, *last

    return apply


@rule("RNN", since=7)
def plain(call: Call) -> Function:
    """One function of input and state."""

    def cell(functions: list[Any], w: Tensor, r: Tensor, b: Tensor | None) -> Step:
        offset = 0 if b is None else b.reshape(2, -1).sum(0)
        return lambda x, h: (functions[0](x @ w.t() + h @ r.t() + offset),)

    return _recurrent(call, 1, cell)


@rule("GRU", since=7)
def gru(call: Call) -> Function:
    """Update, reset and hidden gate."""
    reset_after = bool(call.attr("linear_before_reset", 0))

    def cell(functions: list[Any], w: Tensor, r: Tensor, b: Tensor | None) -> Step:
        size = r.shape[-1]
        offset = w.new_zeros(6 * size) if b is None else b
        on_x, on_h = offset[: 3 * size], offset[3 * size :]
        gate, candidate = functions

        def step(x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
            xs = x @ w.t() + on_x
            hs = h @ r[: 2 * size].t() + on_h[: 2 * size]
            z, s = gate(xs[:, : 2 * size] + hs).split(size, -1)
            last, off = r[2 * size :], on_h[2 * size :]
            inner = s * (h @ last.t() + off) if reset_after else (s * h) @ last.t() + off
            new = candidate(xs[:, 2 * size :] + inner)
            return ((1 - z) * new + z * h,)

        return step

    return _recurrent(call, 1, cell)


@rule("LSTM", since=7)
def lstm(call: Call) -> Function:
    """Input, output, forget and cell gate."""

    def cell(functions: list[Any], w: Tensor, r: Tensor, b: Tensor | None) -> Step:
        offset = 0 if b is None else b.reshape(2, -1).sum(0)
        size = r.shape[-1]
        gate, inner, outer = functions

        def step(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
            i, o, f, new = (x @ w.t() + h @ r.t() + offset).split(size, -1)
            c = gate(f) * c + gate(i) * inner(new)
            return gate(o) * outer(c), c

        return step

    return _recurrent(call, 2, cell)
