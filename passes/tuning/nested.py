"""One model with several budgets, whose smaller nets have parts of the weights of larger ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from ocompress import training
from ocompress.analysis.work import one_sample, work_of
from ocompress.diagnostics import Severity
from ocompress.errors import OptionError
from ocompress.ir import Facet, Model, edit
from ocompress.ir.joined import joined
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from ocompress.pipeline.goals import Gauge, told
from ocompress.training.settings import Settings
from passes import order
from passes.pruning.prune_channels import PruneChannels
from passes.tuning.budgets import choose, marked, share, told_apart

_OLDEST = 11


class Nested(Pass):
    """Make one model with several budgets: its input `budget` says how much work is done.

    Before: y = Gemm(Relu(Gemm(x, V)), W)
    After:  y = If(budget < 1, Gemm(Relu(Gemm(x, V[:, i])), W[i]), Gemm(Relu(Gemm(x, V)), W))

    The smaller nets have some of the channels of the larger ones, chosen as `prune-channels` does,
    and their weights are looked up in the same arrays; only vectors (biases, normalizations) are
    each net's own. So the file is hardly larger than with one net. All are trained together, the
    original being the teacher, as `tune` does it. `budget` is an integer, 0 for the smallest net;
    it has a default, the whole net, so callers need not know of it: give another with a run, or
    set the initializer before the model is loaded, which spares the runtime the choice; then
    `canonicalize{freeze_inputs=true}` takes the other nets out. Let it come last: reports judge
    the whole net.

    Needs PyTorch unless `epochs=0`: pip install 'ocompress[tune]'.

    Leaves alone: models without channels that may go (no-budget; of budgets that are not reached a
    warning says how far they came), with control flow, random numbers
    or an operator set before 11 (not-nested), and what `prune-channels` leaves alone.
    Numerics: lossy.
    Reference: Kim et al., NestedNet: Learning Nested Sparse Structures in Deep Neural Networks,
    2018; Yu et al., Slimmable Neural Networks, 2019.
    """

    name = "nested"
    numerics = Numerics.LOSSY
    after = (*order.TO_REPLACE, "tune")
    needs_data = True
    sets_aside = True
    saves_time = False

    budgets: tuple[float, ...] = option(
        (0.5,), help="Shares of the multiply-accumulates of the smaller nets."
    )
    epochs: int | None = option(
        None, help="Passes over the data, as for `tune`; 0 trains nothing.", at_least=0
    )
    lr: float = option(
        0.01, help="Highest learning rate, in proportion to a weight's size.", at_least=0
    )
    seed: int = option(0, help="Start of the random order of samples, beside that of the run.")
    exclude: tuple[str, ...] = option((), help="Globs of node names whose channels all nets keep.")

    def __post_init__(self) -> None:
        """Check the budgets."""
        super().__post_init__()
        if not self.budgets or not all(0 < b < 1 for b in self.budgets):
            msg = f"nested: budgets={self.budgets!r} must be shares above 0 and below 1"
            raise OptionError(msg)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Say what `prune-channels` says."""
        return PruneChannels(exclude=self.exclude).preview(model, ctx)

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Find the smaller nets, train all, and put them into one model."""
        if model.opset < _OLDEST:
            ctx.remark(Severity.DECLINED, "not-nested", f"its operator set is before {_OLDEST}")
            return Outcome()
        nets = self._nets(model, ctx)
        if len(nets) < 2:
            why = "no channels may go, so there are no smaller nets"
            ctx.remark(Severity.DECLINED, "no-budget", why)
            return Outcome()
        made = joined(nets)
        if made is None:
            why = "a model with control flow or random numbers cannot be nested"
            ctx.remark(Severity.DECLINED, "not-nested", why)
            return Outcome()
        whole, names = made
        work = [sum(work_of(n, one_sample(n, ctx.data)).values()) for n in reversed(nets)]
        details: dict[str, Any] = {"macs": [round(w) for w in work]}
        details |= told(self._gauges(work), ctx)
        if self.epochs != 0:
            details |= self._train(model, whole, names, ctx)
        faces = [v.name for v in model.graph.outputs]
        levels = [[n[face] for face in faces] for n in reversed(names)]
        details["input"] = choose(whole, levels, "budget")
        whole.graph.doc, whole.graph.metadata = model.graph.doc, dict(model.graph.metadata)
        model.become(whole)
        return Outcome(Facet.ALL & ~Facet.METADATA, {"budgets": len(nets)}, details)

    def _nets(self, model: Model, ctx: Context) -> list[Model]:
        """Return the whole net and smaller ones, each made of the one before."""
        nets = [model.clone()]
        small, marks, left = nets[0], marked(model), 1.0
        for budget in sorted(set(self.budgets), reverse=True):
            item = PruneChannels(max_macs=budget / left, refit=False, exclude=self.exclude)
            plan = item.asked(item.propose(small, ctx))
            if not plan:
                break
            less, marks = (item.build(m, plan, ctx, fit=False).model for m in (small, marks))
            small, left = less, budget
            net = less.clone()
            if not share(net, marks, model):
                break
            nets.append(net)
        return nets

    def _gauges(self, work: Sequence[float]) -> Iterator[Gauge]:
        """Yield how far each smaller net came, given the work of all nets, the smallest first."""
        reached = [own / max(work[-1], 1) for own in reversed(work[:-1])]
        budgets = sorted(set(self.budgets), reverse=True)
        for budget, left in itertools.zip_longest(budgets, reached, fillvalue=reached[-1]):
            yield Gauge("budgets", budget, left, "of the multiply-accumulates")

    def _train(
        self, model: Model, whole: Model, names: list[dict[str, str]], ctx: Context
    ) -> dict[str, Any]:
        """Train all nets together; return what the report says of it."""
        training.require(f"pass {self.name!r}")
        from ocompress.training import distillation  # it imports PyTorch

        teacher = ctx.original if ctx.original is not None else model
        others = {v.name: [n[v.name] for n in names[1:]] for v in model.graph.outputs}
        settings = Settings(epochs=self.epochs, rate=self.lr, seed=self.seed + ctx.seed)
        given = (told_apart(teacher, others), ctx.lessons, settings, ctx.progress)
        found = distillation.distill(whole, *given)
        for name, array in found.values.items():
            value = whole.graph.initializers[name]
            assert value.data is not None
            edit.set_weight(value, array.astype(value.data.dtype))
        return {
            "held_out": {"before": found.before, "after": found.after},
            "samples": {"fitted": found.samples[0], "held_out": found.samples[1]},
            "epochs": found.epochs,
            "steps": found.steps,
        }
