"""Recovering accuracy: weights are trained to do what the original does."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ocompress import training
from ocompress.diagnostics import Severity
from ocompress.ir import Facet, Model, Node, edit, fingerprint
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from ocompress.pipeline.goals import Gauge, told
from ocompress.pipeline.naming import check_patterns, matches
from ocompress.pipeline.unspoken import held_by_others
from ocompress.training.settings import Keeping, Kept, Settings, Tuned

_UNLEARNED = {
    "lengths-vary": "the data decide how long output {0!r} is",
    "not-finite": "output {0!r} holds NaN or infinities",
    "not-floats": "output {0!r} is no tensor of floats",
}


class Tune(Pass):
    """Train the weights to do what the original model does; what compression fixed stays fixed.

    Before: y = Conv(x, W), W with zeros, shared values, or on a grid
    After:  y = Conv(x, W'), the same zeros, the same values shared, the same integers

    The model that the pipeline began with is the teacher, the calibration data are the lessons, and
    no labels are needed; where there are some, `alpha` lets them count. All weights are trained
    together by Adam, with a rate in proportion to each weight's size that falls as a cosine does:
    class scores by the Kullback-Leibler divergence at a temperature, vectors of length one by their
    cosine, all else by relative squared error. A tenth of the data is held out, 2,000 samples at
    most, from the passes before, too; the best weights on it are kept, and none if none are better
    than those that came in. So more data help: without labels they are cheap.
    If few samples are seen often, sums of pairs in random shares take their place, for which the
    teacher is asked anew (mixup). `sparsity` prunes meanwhile: what costs least goes, by the square
    of the weight times the mean square of its gradient.

    Structure is seen from the values: zeros stay, integers on a grid stay and its steps are
    trained, few values or blocks are trained, and who has which, signs and their scales are, and
    numbers that places share by a hash or along diagonals. Beside the numbers of rows, those of
    columns are trained where signs have any, or where they take next to nothing. Signs begin at
    what weights were before they had any in this pipeline, so that those of small ones change
    first; if a fifth of the steps does not make them better than those that came in, training goes
    on from these, at a third of the rate. More and more signs stay for good. Signs of kernels,
    which many places use, begin at those that came in and move slowly. With `levels` integers are,
    too, without it nothing but what is shared. Integers are first trained as if they need not be
    whole, and then rounded for good some more and more, what matters most first, while the others
    make up for it. Of DequantizeLinear and QuantizeLinear steps and integers of weights are.
    Nothing of the graph changes. Let it come after what prunes, factorizes or removes, and before
    what packs. One thread and the same seed give the same weights. With --cache, a training that
    was ended goes on where it was.

    Needs PyTorch: pip install 'ocompress[tune]'.

    Leaves alone: names that match `exclude` (excluded), weights before an operator that has no
    gradient here, bodies of control flow among them (no-gradient), weights whose values repeat in a
    way that training would not keep, as, without `levels`, sums of cosines (unknown-form), weights
    of operators that have none and those in bodies (no-rule), outputs whose lengths the data decide
    (lengths-vary) or that are not finite (not-finite) or no tensors of floats (not-floats), all if
    held-out samples get no better (no-gain) or if there is no original (no-teacher).
    Numerics: lossy.
    Reference: Hinton et al., Distilling the Knowledge in a Neural Network, 2015; Han et al., Deep
    Compression, 2016; Zhu and Gupta, To Prune, or Not to Prune, 2017; LeCun et al., Optimal Brain
    Damage, 1990; Hubara et al., Binarized Neural Networks, 2016; Zhou et al., Incremental Network
    Quantization, 2017; Esser et al., Learned Step Size Quantization, 2020.
    """

    name = "tune"
    numerics = Numerics.LOSSY
    may_change = Facet.WEIGHTS
    needs_data = True
    needs_packages = (("torch", "pip install 'ocompress[tune]'"),)
    appetite = 0.1
    recovers = True
    sets_aside = True
    goals = ("sparsity",)

    epochs: int | None = option(
        None,
        help="Passes over the data; none: some 2,000 steps, 4 to 100 passes.",
        at_least=0,
    )
    lr: float = option(
        0.01, help="Highest learning rate, in proportion to a weight's size.", at_least=0
    )
    batch: int = option(
        128, help="Samples of a step; less where that would leave fewer than 8 steps.", at_least=1
    )
    temperature: float = option(
        2.0, help="What class scores are divided by before they are compared.", at_least=0.1
    )
    alpha: float = option(
        0.0,
        help="Share of the labels' cross entropy in what is made small, where data have labels; "
        "the rest is the divergence from the original.",
        at_least=0,
        at_most=1,
    )
    minutes: float = option(
        0.0,
        help="Time after which training ends with the best so far; 0: none. What comes of it then "
        "depends on the machine.",
        at_least=0,
    )
    seed: int = option(0, help="Start of the random order of samples, beside that of the run.")
    mixup: bool | None = option(
        None,
        help="Mix samples in pairs, for inputs of floats; none: if there are more than 10 passes.",
    )
    augment: tuple[str, ...] = option(
        (),
        help="What else is done to images before the teacher sees them: flip, shift, noise.",
        choices=("flip", "shift", "noise"),
    )
    sparsity: float | None = option(
        None,
        help="Share of the weights of convolutions and products to set to zero on the way, more "
        "and more of them in the first 60 % of the steps; none: those that are zero stay the only "
        "ones.",
        at_least=0,
        at_most=1,
    )
    cosines: bool = option(
        False,
        help="Train dense weights over pictures, behind a Flatten or of kernels of 4 x 4 and more, "
        "by their coefficients as sums of cosines; `sparsity` counts these then. For entropy to "
        "round.",
    )
    levels: bool | None = option(
        None,
        help="Train, beside steps, values and scales, which integer, sign or shared value each "
        "weight has, and coefficients of sums of cosines; zeros stay, and levels do not spread, so "
        "that a coded file hardly grows; none: only signs and shared values.",
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names whose weights stay.")

    @property
    def keeps_weights(self) -> bool:
        """Whether all forms are trained as what they are; coefficients are only with `levels`."""
        return bool(self.levels)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the weights that may be trained."""
        excluded = self._excluded(model)
        found = [
            value
            for value in model.graph.initializers.values()
            if value.constant is not None and value.dtype is not None and value.dtype.is_float
            if value.constant.size > 1 and value.name not in excluded
        ]
        return Outcome(counts={"weights that may be trained": len(found)} if found else {})

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Train, and replace the weights if that pays."""
        excluded = self._excluded(model)
        for node in sorted({n.label: n for nodes in excluded.values() for n in nodes}.items()):
            ctx.skip(node[1], "excluded", "its name matches `exclude`")
        if ctx.original is None:
            why = "there is no original to learn from, as the pass runs by itself"
            ctx.remark(Severity.DECLINED, "no-teacher", why)
            return Outcome()
        if self.epochs == 0:
            return Outcome()
        training.require(f"pass {self.name!r}")
        from ocompress.training import distillation  # it imports PyTorch

        settings = Settings(
            epochs=self.epochs,
            rate=self.lr,
            batch=self.batch,
            temperature=self.temperature,
            alpha=self.alpha,
            seconds=60 * self.minutes,
            moves_levels=self.levels,
            mixup=self.mixup,
            augment=self.augment,
            sparsity=self.sparsity,
            cosines=self.cosines,
            seed=self.seed + ctx.seed,
        )
        found = distillation.distill(
            model,
            ctx.original,
            ctx.lessons,
            settings,
            ctx.progress,
            set(excluded),
            self._keeping(model, ctx, settings, excluded) if ctx.store.has_folder else None,
            (ctx.original, *ctx.earlier),
        )
        _tell_untrained(model, found, excluded, ctx)
        outcome = _finish(model, found, ctx)
        if self.sparsity is None:
            return outcome
        unit = "of the weights of convolutions and products are zero"
        gauge = Gauge("sparsity", self.sparsity, found.zeros, unit, at_most=False)
        return replace(outcome, details={**outcome.details, **told([gauge], ctx)})

    def _keeping(
        self, model: Model, ctx: Context, settings: Settings, excluded: Collection[str]
    ) -> Keeping:
        """Return where a training and the outputs of its teacher are kept."""
        assert ctx.original is not None
        store, teacher = ctx.store, fingerprint(ctx.original)

        labels = ctx.data.labels if self.alpha else None
        told = "" if labels is None else hashlib.sha256(labels.tobytes()).hexdigest()

        def kept(whose: str, *what: object) -> Kept:
            key = ("tune", 8, *what)
            return Kept(partial(store.saved, whose, key), partial(store.save, whose, key))

        return Keeping(
            kept(fingerprint(model), teacher, repr(settings), told, tuple(sorted(excluded))),
            *(kept(teacher, part) for part in ("fit", "held out")),
        )

    def _excluded(self, model: Model) -> dict[str, list[Node]]:
        """Return the constants that stay, with the nodes whose names say so."""
        check_patterns(model, self.exclude, self.name)
        found: dict[str, list[Node]] = {}
        for value in model.graph.initializers.values():
            nodes = [n for n, _ in value.users if matches(n.label, self.exclude)]
            if nodes:
                found[value.name] = nodes
        return found


def _finish(model: Model, found: Tuned, ctx: Context) -> Outcome:
    """Set the weights, and say what was done."""
    by_label = {node.label: node for node in model.graph.nodes}
    for label, op_type in sorted(set(found.stuck.values())):
        why = f"{op_type} has no gradient here, so weights before it keep their values"
        ctx.skip(by_label[label], "no-gradient", why)
    for name in found.unknown:
        node, _ = model.graph.initializers[name].users[0]
        why = f"the values of {name!r} repeat in a way that training would not keep"
        ctx.skip(node, "unknown-form", why)
    _tell_unlearned(found, ctx)
    if found.left_out:
        what = f"{found.left_out} samples were left out, for which there is no room in memory"
        ctx.remark(Severity.NOTE, "samples-left-out", what)
    if found.ended_early:
        what = f"training ended on request after {found.steps} steps, with the best weights so far"
        ctx.remark(Severity.NOTE, "ended-early", what)
    details: dict[str, Any] = {
        "held_out": {"before": found.before, "after": found.after},
        "samples": {"fitted": found.samples[0], "held_out": found.samples[1]},
        "epochs": found.epochs,
        "steps": found.steps,
        "weights": [
            {"weight": name, "form": form, "elements": elements, "trained": trained}
            for name, (form, elements, trained) in found.forms.items()
        ],
    }
    if found.zeros is not None:
        details["sparsity"] = found.zeros
    changed = 0
    for name, array in found.values.items():
        value = model.graph.initializers[name]
        assert value.data is not None, name
        new = array.astype(value.data.dtype)
        if not np.array_equal(new, value.data):
            edit.set_weight(value, new)
            changed += 1
    if not changed:
        why = "no others did better on held-out samples" if found.forms else "none can be trained"
        if found.compares:
            ctx.remark(Severity.DECLINED, "no-gain", f"the weights stay: {why}")
        return Outcome(details=details)
    shown = f"from {found.before:.3g} to {found.after:.3g}"
    what = f"the divergence from the original on held-out samples went {shown}"
    ctx.remark(Severity.NOTE, "tuned", what)
    return Outcome(Facet.WEIGHTS, {"weights tuned": changed}, details)


def _tell_untrained(model: Model, found: Tuned, excluded: Collection[str], ctx: Context) -> None:
    """Name the nodes whose weights nothing could be said about, and that are not trained."""
    known = {*found.forms, *found.unknown, *found.stuck, *excluded}
    for (_, at), (node, count, _) in held_by_others(model, ()).items():
        value = node.inputs[at] if at >= 0 else None
        if value is None or value.name not in known:
            why = f"not all that reads these weights of {node.op_type} trains them"
            if node.graph is not model.graph:
                why = f"{node.op_type} is in a body of control flow, where nothing is trained"
            ctx.skip(node, "no-rule", f"{why}; its {count:,} weights stay as they are")


def _tell_unlearned(found: Tuned, ctx: Context) -> None:
    severity = Severity.NOTE if found.compares else Severity.DECLINED
    for name, code in found.unlearned.items():
        ctx.remark(severity, code, f"{_UNLEARNED[code].format(name)}; nothing is learned from it")
