"""`ocompress optimize`."""

from __future__ import annotations

import typer

from ocompress.cli import arguments as a
from ocompress.cli import outputs as o
from ocompress.cli import plan_arguments as p
from ocompress.cli import worker_arguments as w
from ocompress.cli.console import Printer
from ocompress.stopping import RUN_SECONDS


def optimize(
    ctx: typer.Context,
    model: a.Model = None,
    output: a.Output = None,
    model_option: a.ModelOption = None,
    data: a.Data = "",
    labels: a.Labels = None,
    preprocess: a.Preprocess = None,
    samples: a.Samples = None,
    synthetic: a.Synthetic = 0,
    eval_data: a.EvalData = "",
    held_out: a.HeldOut = None,
    passes: a.Passes = "",
    recipe: a.Recipe = "",
    student: a.Student = "",
    auto: p.Auto = False,
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
    max_latency_ratio: a.MaxLatencyRatio = None,
    max_size: a.MaxSize = "",
    max_memory: p.MaxMemory = "",
    allow_slower: a.AllowSlower = False,
    allow_larger: a.AllowLarger = False,
    strict: a.Strict = False,
    no_profile: a.NoProfile = False,
    threads: a.Threads = 1,
    batch: a.Batch = 1,
    timeout: a.Timeout = RUN_SECONDS,
    cache: a.Cache = None,
    workers: w.WorkerCount = 1,
    scheduler: w.Scheduler = "",
    output_option: o.OutputOption = None,
    external_data: o.ExternalData = False,
    storage: o.Storage = "plain",
    on_fail: o.OnFail = "keep",
    no_touch: o.NoTouch = False,
    explain: p.Explain = False,
    report: o.Report = None,
    report_format: o.ReportFormat = "",
    summary: o.Summary = None,
    depfile: o.Depfile = None,
    dump: o.Dump = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    no_color: o.NoColor = False,
) -> int:
    """Run passes over a model and write the smaller one, validated and measured."""
    from ocompress.cli import budgets
    from ocompress.cli.optimizing import files_of, perform
    from ocompress.cli.sinks import Sinks
    from ocompress.front import Request, in_archive, storage_for

    files = files_of(model, output, model_option, output_option)
    sinks = Sinks(
        report=report, form=report_format, summary=summary, depfile=depfile, as_json=as_json
    )
    given = max_latency or max_latency_ratio
    latency = budgets.limit_on_latency(given, target, allow_slower, no_profile)
    size = budgets.limit_on_size(max_size, allow_larger)
    plans = budgets.plan_options(
        goal, time, families, max_memory, compare, tune, workers, scheduler
    )
    planning = budgets.planning_if(auto, plans, allow_slower=allow_slower)
    request = Request(
        passes=passes,
        recipe=recipe or None,
        student=student or None,
        data=data or None,
        labels=labels,
        preprocess=preprocess,
        samples=samples,
        synthetic=synthetic,
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
        external_data=external_data or None,
        strict=strict,
        storage=storage_for(storage, files.output),
        archive=in_archive(files.output),
        on_fail=on_fail,
        touch=not no_touch,
    )
    shown = {"color": not no_color, "verbose": verbose, "explain": explain}
    printer = Printer(quiet=quiet, as_json=as_json, taken=sinks.taken, **shown)
    command = ctx.info_name or "optimize"  # `distill` is this, too
    return perform(command, request, files, sinks, printer, dump=dump, planning=planning)
