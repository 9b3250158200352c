"""`ocompress.optimize`, as Python programs call it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ocompress.errors import OptionError, UsageError
from ocompress.front import kinds
from ocompress.front.budget import Budget
from ocompress.front.files import ModelLike, PathLike
from ocompress.front.job import run
from ocompress.front.limits import GivenLimit, latency_limit, size_limit
from ocompress.front.plan_options import PlanOptions
from ocompress.front.planning import optimize_planned
from ocompress.front.plans import SECONDS
from ocompress.front.request import Data, Request, in_archive, storage_for
from ocompress.pipeline import Instrument, Pass, Pipeline
from ocompress.report import Optimization
from ocompress.stopping import RUN_SECONDS
from ocompress.targets import Target


def optimize(
    model: ModelLike,
    output: PathLike | None = None,
    *,
    passes: str | Pipeline | Pass | Sequence[str | Pass] = "",
    recipe: PathLike | None = None,
    student: PathLike | None = None,
    auto: bool = False,
    goal: str = "latency",
    time: float | str = SECONDS,
    families: Sequence[str] = (),
    compare: Sequence[ModelLike] = (),
    tune: bool = False,
    workers: int = 1,
    scheduler: str = "",
    data: Data | None = None,
    labels: object = None,
    eval_data: Data | None = None,
    held_out: float | None = None,
    preprocess: PathLike | None = None,
    samples: int | None = None,
    synthetic: int = 0,
    target: str | Target = "host",
    seed: int = 0,
    max_drop: float | str | None = None,
    metric: str | Callable[..., Any] = "auto",
    confidence: float | None = None,
    max_latency: float | str | None = 1.0,
    max_size: float | str | None = 1.0,
    max_memory: float | str | None = None,
    budget: Budget | None = None,
    measure: bool = True,
    threads: int = 1,
    batch: int = 1,
    timeout: float = RUN_SECONDS,
    cache: str | os.PathLike[str] | None = None,
    external_data: bool | None = None,
    storage: str = "plain",
    on_fail: str = "keep",
    touch: bool = True,
    instruments: Sequence[Instrument] = (),
) -> Optimization:
    """Run passes over a model, judge the result, and write it.

    ```python
    done = ocompress.optimize("in.onnx", "out.onnx", passes="quant", data=array, max_drop=0.01)
    print(done.held, done.bytes, done.validation.levels[0].agreement)
    ```

    Args:
        model: An ONNX file, an `onnx.ModelProto`, or a `Model`; none is changed.
        output: Where the result goes; None writes nothing, the result is `.model` of what is
            returned.
        passes: What to run, in order: a text (`"prune{sparsity=0.5},quant"`), a list of such
            texts and of passes (`["prune", "quant"]`), or a pipeline.
        recipe: A TOML recipe in place of `passes`: a file, or the name of one that comes with the
            package.
        student: What the model is turned into before `passes` train it (`"tune"`): a form
            (`"separable"`, `"fire"`, `"shuffle"`, `"width=0.5"`, `"macs=0.5"`), another ONNX file
            with the same inputs and outputs, or passes.
        auto: Whether the best passes and settings are found by measuring, in place of `passes`.
        goal: What `auto` makes small: `"latency"`, `"size"` (of the .onnx), `"archive"` (of the
            .ocz) or `"memory"`.
        time: Time for `auto`, seconds or a text such as `"15m"`; the best so far is kept.
        families: What `auto` may use, such as `["channels", "int8"]`; none means all.
        compare: For `auto`: other models with the same inputs and outputs, measured beside the
            plan.
        tune: Whether a plan of `auto` may end with training (PyTorch), if there is time.
        workers: Processes that build the models of `auto`; 1 builds them in this one.
        scheduler: Address of a Dask scheduler whose workers build them (`"tcp://host:8786"`).
        data: Inputs to calibrate on and to judge by: a file, a folder, `"module:function"`, an
            array of samples if the model has one input (shape [samples, ...]), a dict of such
            arrays by input name, or a list of feeds.
        labels: A file of labels, or an array with one label a sample; a negative one is unknown.
        eval_data: Other inputs to judge by; passes then see all of `data`.
        held_out: Without them, the share of `data` that no pass sees and that the result is
            judged by; 0 judges by what was fitted to. None takes a fifth, more of few samples and
            no more than 5,000 of many.
        preprocess: The table for a folder of images, a file.
        samples: Use only the first so many samples.
        synthetic: Without data, calibrate on so many random samples.
        target: What the result will run on: `"host"`, `"arm64"`, `"portable"`, ...
        seed: Makes everything random repeatable.
        max_drop: Loss of the metric that is allowed: 0.01 or `"1%"` is one percentage point.
            None limits lossy passes without a goal of their own to one point.
        metric: What is lost: `"auto"` (accuracy where there are labels, else the unit of each
            output), `"expected"`, `"agreement"`, `"accuracy"`, `"boxes"`, `"ctc"`, `"iou"`,
            `"cosine"`, `"error"`, `"relative"`, `"OUTPUT=NAME"` for a single output,
            `"module:function"`, or such a function itself.
        confidence: One-sided confidence at which the loss has to be within `max_drop`.
        max_latency: Limit on the median latency of a run: a ratio to the original's (`0.5`,
            `"0.5x"`) or a time on this machine (`"5ms"`); None is no limit.
        max_size: Limit on the file: a ratio (`0.25`, `"0.25x"`) or bytes (`"2MB"`); None is no
            limit.
        max_memory: For `auto`: the most memory that a run may take, bytes or a text (`"200MB"`).
        budget: The limits as one object, in place of the five before `max_memory`.
        measure: Whether to measure latency; False lifts the limit on it.
        threads: Threads within an operator when measuring; 0 takes all cores.
        batch: Samples in a call that is timed, if the model leaves its batch free.
        timeout: Seconds that one run of a model may take; 0 is no limit.
        cache: A folder that keeps what is measured of models, so that later runs on the same model
            and data need not measure it again; of more than 4 GiB the oldest go.
        external_data: Whether weights go to a file beside the output; by default only if they
            must.
        storage: How weights are stored: `"plain"`, as passes leave them; `"packed"`, in the
            smallest form that stock operators restore to the bit while the model loads; `"auto"`,
            packed but in archives.
        on_fail: Where a budget fails, `"keep"` writes the best result that held, dated before its
            inputs so that build tools make it again; `"discard"` writes nothing.
        touch: Whether an output that has these bytes already gets a new time of change.
        instruments: Hooks around passes.

    Returns:
        The record: the best model that kept within the budget, what every pass did, whether all
        limits held (`.held`, `.broken`), and the result's validation and profile.

    Raises:
        UsageError: If an argument, or what the data hold, does not fit.
        ModelError: If the model cannot be used.
        PassError: If a pass breaks the model.
        TimeLimitError: If a run of a model takes longer than `timeout`.
        OutputError: If the result cannot be written; what was there before stays.
    """
    kinds.instance("target", target, "the name of a target, or one", str, Target)
    kinds.instance("instruments", instruments, "a list of instruments", list, tuple)
    limits = (max_drop, metric, confidence, max_latency, max_size)
    budget = budget_from(budget, *limits, measure=kinds.truth("measure", measure))
    where = kinds.file("output", output, optional=True)
    request = Request(
        passes=_passes(passes),
        recipe=kinds.file("recipe", recipe, optional=True),
        student=_student(student),
        data=Path(data) if isinstance(data, os.PathLike) else data,
        labels=labels,
        eval_data=Path(eval_data) if isinstance(eval_data, os.PathLike) else eval_data,
        held_out=kinds.number("held_out", held_out, optional=True),
        preprocess=kinds.file("preprocess", preprocess, optional=True),
        samples=kinds.whole("samples", samples, optional=True),
        synthetic=kinds.whole("synthetic", synthetic),
        target=target,
        budget=budget,
        seed=kinds.whole("seed", seed),
        threads=kinds.whole("threads", threads),
        batch=kinds.whole("batch", batch),
        timeout=kinds.number("timeout", timeout),
        cache=kinds.file("cache", cache, optional=True),
        measure=kinds.truth("measure", measure),
        external_data=kinds.truth("external_data", external_data, optional=True),
        storage=storage_for(storage, where),
        archive=in_archive(where),
        on_fail=on_fail,
        touch=kinds.truth("touch", touch),
    )
    options = PlanOptions(
        goal=goal,
        time=time,
        families=families,
        max_memory=max_memory,
        compare=compare,
        tune=tune,
        workers=workers,
        scheduler=scheduler,
    )
    if kinds.truth("auto", auto):
        how = options.planning()
        return optimize_planned(request, how, model, where, instruments=instruments)
    options.refuse("auto=True")
    return run(request, model, where, instruments=instruments)


def budget_from(
    budget: Budget | None,
    max_drop: object,
    metric: str | Callable[..., Any],
    confidence: object,
    max_latency: float | str | None,
    max_size: float | str | None,
    *,
    measure: bool,
) -> Budget:
    """Return the limits of a call, given one by one or as one object; see `optimize`.

    Raises:
        UsageError: If one makes no sense, or both are given.
    """
    if budget is not None:
        kinds.instance("budget", budget, "an ocompress.Budget", Budget)
        if (max_drop, metric, confidence, max_latency, max_size) != (None, "auto", None, 1.0, 1.0):
            msg = "a budget and single limits are mutually exclusive; give one"
            raise OptionError(msg)
        return budget
    size = size_limit(max_size)
    latency = latency_limit(max_latency) if measure else GivenLimit()
    return Budget(
        max_drop=_drop(max_drop),
        metric=_named(metric),
        confidence=kinds.number("confidence", confidence, optional=True),
        max_latency_ratio=latency.ratio,
        max_latency_ms=latency.absolute,
        max_size_ratio=size.ratio,
        max_bytes=size.absolute,
    )


def _student(given: object) -> str | None:
    """Return a student as a text, which need not be the name of a file."""
    named = kinds.file("student", given, optional=True)
    return given if isinstance(given, str) else str(named) if named is not None else None


def _drop(given: object) -> float | str | None:
    """Return a limit on the drop, a number or a text such as `1%`."""
    return given if isinstance(given, str) else kinds.number("max_drop", given, optional=True)


def _named(metric: str | Callable[..., Any]) -> str:
    """Return the name under which a metric is found: that of a function is where it stands.

    Raises:
        UsageError: If a function cannot be found by name, as one within another.
    """
    if isinstance(metric, str):
        return metric
    name = getattr(metric, "__qualname__", "")
    if not callable(metric) or not name or "<" in name:
        msg = (
            f"metric {metric!r:.60} must be a name, OUTPUT=NAME, module:function, or a function "
            "that stands by itself in a module"
        )
        raise UsageError(msg)
    return f"{metric.__module__}:{name}"


def _passes(given: object) -> Pipeline | str:
    """Return passes as a pipeline, or the text of one.

    Raises:
        UsageError: If an item is no pass, or no name of one.
    """
    if isinstance(given, str | Pipeline):
        return given
    items = [given] if isinstance(given, Pass) else given
    found: list[Pass] = []
    for item in items if isinstance(items, list | tuple) else [items]:
        if isinstance(item, Pass):
            found.append(item)
        elif isinstance(item, str):
            found.extend(Pipeline.items(item))
        else:
            msg = (
                f"passes must be a text, a pipeline, or a list of names and passes, not "
                f"{item!r:.60} of type {type(item).__name__}"
            )
            raise UsageError(msg)
    return Pipeline.of(found) if found else ""
