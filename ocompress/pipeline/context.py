"""What a pass may ask of its surroundings."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.analysis.manager import Analysis, AnalysisManager, T
from ocompress.analysis.observe import observe
from ocompress.analysis.statistics import Observers, Statistics, merge
from ocompress.analysis.store import MeasurementStore
from ocompress.blas import one_thread
from ocompress.diagnostics import Diagnostics, Remark, Severity
from ocompress.errors import DataError, PassError, RuntimeFailureError
from ocompress.io.dataset import Dataset, Feeds
from ocompress.io.holdout import Split
from ocompress.ir import Facet, Model, Node
from ocompress.pipeline import unspoken
from ocompress.pipeline.allowance import Allowance
from ocompress.pipeline.base import Family, Outcome, Pass
from ocompress.pipeline.clock import Clock
from ocompress.pipeline.memo import ProposalMemo
from ocompress.targets.target import Target


@dataclass(frozen=True, kw_only=True)
class Context:
    """One pass's view of target, data, analyses and diagnostics."""

    target: Target
    analyses: AnalysisManager
    diagnostics: Diagnostics
    seed: int = 0
    item: Pass | None = None
    """The pass this view belongs to."""
    following: tuple[Pass, ...] = ()
    """The passes that run after it, whose statistics are gathered in the same sweep."""
    previewing: bool = False
    """Whether passes only say what they would do."""
    tells: bool = True
    """Whether figures that are for people only are worth the time that they take."""
    fixed: bool = False
    """Whether the pass does what its options say, whatever is allowed, see `Pipeline.fixed`."""
    proposals: ProposalMemo | None = None
    """What passes of fixed pipelines proposed for models before; None remembers nothing."""
    allowance: Allowance = field(default_factory=Allowance)
    """What the model may cost after the pass, if it is lossy."""
    clock: Clock | None = None
    """Measures layers on the machine that the result is for; None if that is another one."""
    allow_slower: bool = False
    """Whether the user takes results that are slower."""
    progress: Callable[[str, int, int], None] = field(default=lambda *_: None)
    original: Model | None = None
    """The model that the pipeline began with, which must not be changed; None without one."""
    earlier: list[Model] = field(default_factory=list)
    """The models that the passes of this run left, the oldest first, where a pass that recovers is
    still to run; none must be changed."""
    aside: Dataset | None = None
    """Samples to choose by, see `Pass.sets_aside`; None where no pass of the pipeline needs any."""
    barred: frozenset[str] = frozenset()
    """Members of a family that must not run, because they changed what they should keep."""
    watch: Callable[[Pass, Model], None] | None = None
    """Told after each member of a family that changed the model."""
    left_alone: list[Remark] = field(default_factory=list)
    """What this run of the pass left alone, repetitions of an earlier run's remarks included."""

    def for_pass(
        self,
        item: Pass,
        following: Sequence[Pass] = (),
    ) -> Context:
        """Return the view of another pass, with the same allowance."""
        return replace(self, item=item, following=tuple(following), left_alone=[])

    @property
    def becomes_integers(self) -> bool:
        """Whether a later pass has layers compute in integers."""
        return any(item.makes_integers for item in self.following)

    # -- speaking ---------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """Name of the pass this view belongs to."""
        return self.item.name if self.item is not None else "pipeline"

    def skip(self, node: Node, code: str, why: str) -> None:
        """Say that a node was left alone, with a stable code and one sentence."""
        self.remark(Severity.DECLINED, code, why, node)

    def skip_each(self, nodes: Iterable[Node], code: str, why: str) -> None:
        """Say so of each of some nodes, as of all layers that share a weight."""
        for node in nodes:
            self.skip(node, code, why)

    def applied(self, node: Node, code: str, what: str) -> None:
        """Say what was done to a node."""
        self.remark(Severity.APPLIED, code, what, node)

    def remark(self, severity: Severity, code: str, message: str, node: Node | None = None) -> None:
        """Add a remark about a node or, without one, about the whole model."""
        label, op_type = (node.label, node.op_type) if node is not None else ("", "")
        remark = Remark(self.source, severity, code, message, label, op_type)
        self.diagnostics.add(remark)
        if severity is Severity.DECLINED:
            self.left_alone.append(remark)

    # -- asking -----------------------------------------------------------------------------

    @property
    def has_data(self) -> bool:
        """Whether there are calibration data."""
        return self.analyses.data is not None

    @property
    def data(self) -> Dataset:
        """Calibration data.

        Raises:
            DataError: If the user gave none.
        """
        if self.analyses.data is None:
            msg = (
                f"pass {self.source!r} needs calibration data; give some with --data, or "
                "--synthetic-data to calibrate on random numbers"
            )
            raise DataError(msg)
        return self.analyses.data

    @property
    def lessons(self) -> Split:
        """The data to be fitted to, and those to choose by, which nothing was fitted to.

        Raises:
            DataError: If the user gave none.
        """
        return Split(self.data, self.data if self.aside is None else self.aside)

    @property
    def store(self) -> MeasurementStore:
        """What was measured of models on the data, by content: no change makes it stale."""
        return self.analyses.store

    @property
    def allows_slower(self) -> bool:
        """Whether the result may be slower: the user says so for all passes, or for this one."""
        return self.allow_slower or (self.item is not None and self.item.accepts_slower)

    @property
    def rng(self) -> np.random.Generator:
        """A generator that depends on the seed and the pass's name only."""
        return np.random.default_rng([self.seed, zlib.crc32(self.source.encode())])

    def analysis(self, question: Analysis[T], model: Model) -> T:
        """Return the answer of an analysis, cached while it holds."""
        return self.analyses.get(question, model)

    def statistics(self, model: Model, observers: Observers) -> Statistics:
        """Return activation statistics, swept together with those of later passes."""
        known = self.analyses.statistics
        if any((n, w) not in known for n, wanted in observers.items() for w in wanted):
            wanted = merge([observers, *(p.observers(model) for p in self.following)])
            label = f"{self.source}: calibrating"
            known.update(observe(model, self.data, wanted, lambda d, t: self.progress(label, d, t)))
        return known

    @property
    def timed_feeds(self) -> Feeds:
        """The call of the model that is timed; the first sample where nothing else is timed.

        Raises:
            DataError: If nothing is timed and the user gave no data.
        """
        return self.clock.feeds if self.clock is not None else next(iter(self.data.take(1)))

    def timed(self, models: Sequence[Model]) -> list[Mapping[str, float]] | None:
        """Return the milliseconds that single layers of models take, by label of the node.

        Returns:
            One mapping per model; None where nothing is measured on this machine, or a model
            cannot be run.
        """
        if self.clock is None:
            return None
        try:
            return self.clock.layer_times(models)
        except RuntimeFailureError:
            return None

    # -- families ---------------------------------------------------------------------------

    def run_members(self, family: Family, model: Model) -> Outcome:
        """Run a family's members until none changes anything that another one reads.

        Raises:
            PassError: If they go on changing the model.
        """
        members = [m for m in family.parts() if m.name not in self.barred]
        pending = [Facet.ALL] * len(members)  # what changed since each member last ran
        total, counts, said = Facet.NONE, Counter[str](), len(self.diagnostics.remarks)
        for _ in range(family.most_rounds):
            for index, member in enumerate(members):
                if not pending[index] & member.reads:
                    continue
                self.diagnostics.retract(member.name, said)
                outcome = self.run_one(member, model)
                if outcome and self.watch is not None:
                    self.watch(member, model)
                pending[index] = Facet.NONE
                pending = [facets | outcome.changed for facets in pending]
                total |= outcome.changed
                counts.update(outcome.counts)
            if not any(p & m.reads for p, m in zip(pending, members, strict=True)):
                return Outcome(total, dict(counts))
        msg = f"the members of {family.name!r} still change the model after many rounds"
        raise PassError(msg)

    def run_one(self, item: Pass, model: Model) -> Outcome:
        """Run one pass, put the nodes in order, check the graph and forget stale answers.

        Raises:
            PassError: If the pass changed more than it declares, or brought in operators of a
                domain that it does not declare.
        """
        called = {node.domain for _, node in model.nodes()}  # some as functions so far
        known, held = model.domains() | called, self._held_by_others(item, model)
        view, said = self.for_pass(item, self.following), len(self.diagnostics.remarks)
        with one_thread():
            outcome = (item.preview if self.previewing else item.run)(model, view)
        if outcome.changed & ~item.may_change:
            msg = f"pass {item.name!r} changed {outcome.changed & ~item.may_change} undeclared"
            raise PassError(msg)
        strange = model.domains() - known - item.domains() - {"ai.onnx"}
        if strange:
            names = ", ".join(sorted(strange))
            msg = f"pass {item.name!r} brought in operators of {names} undeclared"
            raise PassError(msg)
        if outcome:
            model.sort()
            model.verify()
            self.analyses.invalidate(outcome.changed)
        if item.weights_of:
            spoken = {r.node for r in (*view.left_alone, *self.diagnostics.remarks[said:])}
            for node, why in unspoken.unspoken(held, self._held_by_others(item, model), spoken):
                view.skip(node, unspoken.CODE, why)
            for why in unspoken.in_functions(model):
                view.remark(Severity.DECLINED, unspoken.CODE, why)
        return outcome

    def _held_by_others(self, item: Pass, model: Model) -> unspoken.Held:
        return unspoken.held_by_others(model, item.weights_of) if item.weights_of else {}
