"""How long layers take before and after a pass, and how long they should by what they multiply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ocompress.ir import Model
from ocompress.pipeline import Context


@dataclass(frozen=True)
class Times:
    """Milliseconds of the layers of a model, by label of the node.

    Attributes:
        before: In the model as it came.
        after: In the model as it is.
        left: Part of the multiply-accumulates that are left, of the layers that lost any.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    left: Mapping[str, float] = field(default_factory=dict)

    def of(self, layers: Iterable[str], then: Iterable[str] = ()) -> dict[str, float]:
        """Return the entries of a row of the report.

        What is predicted is what the layers took for each multiply-accumulate, times those that
        are left. A layer whose work another one's kernel does counts with that one, if at all.

        Args:
            layers: Labels of layers before.
            then: Labels that they have afterwards, if they are others.

        Returns:
            Milliseconds before, predicted and after; nothing if the runtime shows none of them.
        """
        old = sorted(set(layers) & self.before.keys())
        if not old:
            return {}
        new = (set(then) or set(layers)) & self.after.keys()
        return {
            "ms_before": sum(self.before[name] for name in old),
            "ms_predicted": sum(self.before[name] * self.left.get(name, 1.0) for name in old),
            "ms_after": sum(self.after[name] for name in sorted(new)),
        }


def measured(
    before: Model, after: Model, ctx: Context, left: Mapping[str, float] | None = None
) -> Times | None:
    """Time the layers of two models in turns; None where nothing is measured on this machine.

    Args:
        before: The model as it came.
        after: The model as it is.
        ctx: Has the guard that measures.
        left: Part of the multiply-accumulates that are left, by label.
    """
    found = ctx.timed([before, after])
    return None if found is None else Times(found[0], found[1], left or {})
