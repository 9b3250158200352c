"""`ocompress plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ocompress.cli import arguments as a
from ocompress.cli import outputs as o
from ocompress.cli import plan_arguments as p
from ocompress.cli import worker_arguments as w
from ocompress.cli.console import Printer
from ocompress.cli.panels import OUTPUT, valued
from ocompress.stopping import RUN_SECONDS

PlanFile = Annotated[
    Path | None,
    valued(
        "-o",
        "--output",
        kind="FILE",
        panel=OUTPUT,
        text="Where the plan goes, a recipe for `optimize --recipe`; without it, it is printed.",
    ),
]


def plan(
    model: a.Subject,
    data: a.Data = "",
    labels: a.Labels = None,
    preprocess: a.Preprocess = None,
    samples: a.Samples = None,
    eval_data: a.EvalData = "",
    held_out: a.HeldOut = None,
    goal: p.For = "",
    families: p.Families = "",
    time: p.Time = "",
    compare: p.Compare = None,
    tune: p.Tune = False,
    target: a.Target = "host",
    seed: a.Seed = 0,
    max_drop: a.MaxDrop = None,
    confidence: a.Confidence = None,
    metric: a.Metric = "auto",
    max_latency: a.MaxLatency = "",
    max_size: a.MaxSize = "",
    max_memory: p.MaxMemory = "",
    allow_slower: a.AllowSlower = False,
    allow_larger: a.AllowLarger = False,
    no_profile: a.NoProfile = False,
    threads: a.Threads = 1,
    batch: a.Batch = 1,
    timeout: a.Timeout = RUN_SECONDS,
    cache: a.Cache = None,
    workers: w.WorkerCount = 1,
    scheduler: w.Scheduler = "",
    output: PlanFile = None,
    explain: p.Explain = False,
    report: o.Report = None,
    report_format: o.ReportFormat = "",
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    no_color: o.NoColor = False,
) -> int:
    """Find the passes and settings that serve a goal best, and write them as a recipe."""
    from ocompress.cli import budgets
    from ocompress.cli.planning import perform
    from ocompress.cli.sinks import Sinks
    from ocompress.front import Request

    latency = budgets.limit_on_latency(max_latency, target, allow_slower, no_profile)
    size = budgets.limit_on_size(max_size, allow_larger)
    plans = budgets.plan_options(
        goal, time, families, max_memory, compare, tune, workers, scheduler
    )
    planning = budgets.planning_if(True, plans, allow_slower=allow_slower)
    assert planning is not None
    request = Request(
        data=data or None,
        labels=labels,
        preprocess=preprocess,
        samples=samples,
        eval_data=eval_data or None,
        held_out=held_out,
        target=target,
        budget=budgets.budget_of(max_drop, metric, confidence, latency, size),
        seed=seed,
        threads=threads,
        batch=batch,
        timeout=timeout,
        cache=cache,
        measure=not no_profile,
    )
    sinks = Sinks(report=report, form=report_format, as_json=as_json)
    shown = {"color": not no_color, "verbose": verbose, "explain": explain}
    printer = Printer(quiet=quiet, as_json=as_json, taken=sinks.taken, **shown)
    return perform(request, planning, model, output, sinks, printer)
