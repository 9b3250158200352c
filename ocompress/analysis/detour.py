"""Variants of a large model: where nothing was changed, they run in the model's own sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from ocompress.analysis.staged import Stage, Staged
from ocompress.io.dataset import Feeds
from ocompress.ir import Model, Node, reads


@dataclass(frozen=True)
class Detour:
    """Goes around the stages in which a variant differs from a model.

    Attributes:
        model: The model, divided.
        stage: What runs in place of its stages `first` to `last`.
        first: The first stage that has a change.
        last: The last one.
    """

    model: Staged
    stage: Stage
    first: int
    last: int

    def run(self, states: Sequence[Feeds]) -> Feeds:
        """Return the outputs of the variant by name.

        Args:
            states: What the model holds before each stage, from `Staged.states`.

        Raises:
            DataError: If a later stage does not take what the variant makes, or its own stage reads
                what is not held any more.
            RuntimeFailureError: If its own stage cannot be loaded, or an operator fails.
        """
        held = self.stage.run(states[self.first])
        for stage in self.model.stages[self.last + 1 :]:
            held = stage.run(held)
        return {name: held[name] for name in self.model.wanted}


class Detours:
    """Finds out where variants of a model differ from it."""

    def __init__(self, staged: Staged) -> None:
        """Look at the nodes of a model once.

        Args:
            staged: The model, divided; its nodes are not changed from now on.
        """
        self._staged = staged
        self._known: dict[str, tuple[Hashable, int]] = {}
        self._sizes = [len(part) for part in staged.nodes]
        for at, part in enumerate(staged.nodes):
            self._known |= {_name_of(node): (_content(node), at) for node in part}

    def of(self, variant: Model) -> Detour | None:
        """Return how a variant runs; None if it has to be loaded as a whole.

        That is so if its outputs have other names or are constants, if nodes have bodies, or if it
        no longer makes what later stages read. If it reads what the model has let go of where the
        change begins, it fails when it runs.

        Args:
            variant: A changed clone of the model, sorted; what was not changed has kept its name.
        """
        nodes = variant.graph.nodes
        outputs = variant.graph.outputs
        if [v.name for v in outputs] != self._staged.wanted or any(n.bodies for n in nodes):
            return None
        if any(v.data is not None for v in outputs):
            return None
        places = [self._place(node) for node in nodes]
        left = Counter(at for at in places if at is not None)
        touched = [at for at, size in enumerate(self._sizes) if left[at] != size]
        first, last = min(touched, default=0), max(touched, default=0)
        own = [n for n, at in zip(nodes, places, strict=True) if at is None or first <= at <= last]
        stage = self._stage(variant, own, first, last)
        return None if stage is None else Detour(self._staged, stage, first, last)

    def _place(self, node: Node) -> int | None:
        """Return the stage that has a node just as it is."""
        known = self._known.get(_name_of(node))
        return known[1] if known is not None and known[0] == _content(node) else None

    def _stage(self, variant: Model, nodes: Sequence[Node], first: int, last: int) -> Stage | None:
        """Return some nodes of a variant as a stage that takes the place of others."""
        around = self._staged.stages[first : last + 1]
        dropped = {name for stage in around for name in stage.dropped}
        shown = [name for stage in around for name in stage.made if name not in dropped]
        made = {v.name: v for node in nodes for v in node.outputs if v is not None}
        own = {id(v) for v in made.values()}
        read = (v for n in nodes for v in reads(n) if v.data is None and id(v) not in own)
        outer = {v.name: v for v in read}
        if not made.keys() >= set(shown):
            return None
        segment = self._staged.segment(
            variant, nodes, outer.values(), [made[name] for name in shown]
        )
        return Stage(segment, shown, sorted(dropped))


def _name_of(node: Node) -> str:
    return next((v.name for v in node.outputs if v is not None), "")


def _content(node: Node) -> Hashable:
    """Return what a node computes from what, by name; clones share attributes and arrays."""
    return (
        node.domain,
        node.op_type,
        node.overload,
        *sorted((key, id(attribute)) for key, attribute in node.attributes.items()),
        *_read_by(node),
    )


def _read_by(node: Node) -> Iterator[Hashable]:
    for value in node.inputs:
        if value is None or value.data is None:
            yield None if value is None else value.name
        else:
            yield id(value.data), value.name if value.is_input else ""
