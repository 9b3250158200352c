"""Many optimizations, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocompress.errors import OcompressError
from ocompress.front import kinds
from ocompress.front.api import optimize
from ocompress.front.sending import parcels_of
from ocompress.front.sweep_file import SweepJob, read_jobs
from ocompress.io import atomic_write
from ocompress.report import Optimization, Sweep, SweepRow
from ocompress.stopping import temporary_folder
from ocompress.workers import Parcel, Workers, open_workers, unpacked

Progress = Callable[[int, int, SweepRow], None]
"""Called with the number of jobs done, their total, and what came of the last one."""


def sweep(
    jobs: str | Path,
    *,
    workers: int = 1,
    scheduler: str = "",
    progress: Progress = lambda *_: None,
) -> Sweep:
    """Run all jobs of a file.

    Jobs that measure no time run side by side; those that do run alone on this machine, and on a
    cluster where workers say that they may.

    Args:
        jobs: A TOML file, see `ocompress.front.sweep_file`.
        workers: Processes of this machine; 1 runs jobs in this one.
        scheduler: Address of a Dask scheduler whose workers run the jobs; empty for this machine.
        progress: Told of every job that ends.

    Returns:
        What came of each job, in the order of the file. A job that fails stops no other.

    Raises:
        UsageError: If the file or the workers cannot be used.
        OutputError: If a result cannot be written.
    """
    path = kinds.file("jobs", jobs)
    kinds.whole("workers", workers)
    kinds.instance("scheduler", scheduler, "the address of one", str)
    kinds.function("progress", progress)
    listed = read_jobs(path)
    began = time.monotonic()
    rows: dict[int, SweepRow] = {}
    with open_workers(workers, scheduler) as pool:
        for job, future in _submitted(listed, pool):
            row = _row(job, future)
            rows[job.number] = row
            progress(len(rows), len(listed), row)
    ordered = tuple(rows[job.number] for job in listed)
    return Sweep(str(path), ordered, pool.count, time.monotonic() - began)


def _submitted(
    jobs: list[SweepJob], pool: Workers
) -> Iterator[tuple[SweepJob, Future[tuple[SweepRow, Mapping[str, bytes]]]]]:
    """Submit jobs, those that measure no time first, and yield each with its future once done."""
    if pool.count == 1 and pool.here:
        for job in jobs:  # one by one, so that progress is told as they end
            yield job, pool.submit(run_job, job)
        return
    waiting = {}
    for job in sorted(jobs, key=lambda job: job.is_timed):
        parcels = [] if pool.here else parcels_of(job.options)
        names = [name for name, _ in parcels]
        sent = [parcel for _, parcel in parcels]
        where = None if pool.here else names
        waiting[pool.submit(run_job, job, where, *sent, timed=job.is_timed)] = job
    for future in as_completed(waiting):
        yield waiting[future], future


def _row(job: SweepJob, future: Future[tuple[SweepRow, Mapping[str, bytes]]]) -> SweepRow:
    """Return what came of a job; what travelled here is written to where it belongs."""
    try:
        row, files = future.result()
    except OcompressError as error:
        return SweepRow(job.number, job.options["model"], job.varied, error.exit_code, str(error))
    home = Path(job.options.get("output", "")).parent
    for name, content in files.items():
        atomic_write(home / name, content)
    return replace(row, output=job.options["output"]) if files else row


def run_job(
    job: SweepJob, names: list[str] | None = None, *parcels: Parcel
) -> tuple[SweepRow, Mapping[str, bytes]]:
    """Run one job, on whatever machine this is.

    Args:
        job: What to do.
        names: The entries whose files came as parcels; None if they lie where the job says.
        parcels: These files.

    Returns:
        What came of it, and the files that have to travel back, by name.
    """
    options = dict(job.options)
    for name, parcel in zip(names or (), parcels, strict=True):
        options[name] = str(unpacked(parcel))
    if names is None or "output" not in options:
        return _performed(job, options), {}
    with temporary_folder() as folder:
        options["output"] = str(folder / Path(options["output"]).name)
        row = _performed(job, options)
        made = {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}
    return row, made


def _performed(job: SweepJob, options: Mapping[str, Any]) -> SweepRow:
    given = {name: value for name, value in options.items() if name not in ("model", "output")}
    began = time.monotonic()
    try:
        done = optimize(options["model"], options.get("output"), **given)
    except OcompressError as error:
        code, why = error.exit_code, str(error)
        row = SweepRow(job.number, job.options["model"], job.varied, code, why)
    except (TypeError, ValueError) as error:  # a value of a kind that no argument takes
        row = SweepRow(job.number, job.options["model"], job.varied, 2, str(error))
    else:
        row = _found(job, done)
    return replace(row, seconds=time.monotonic() - began)


def _found(job: SweepJob, done: Optimization) -> SweepRow:
    level = done.validation.levels[0] if done.validation.levels else None
    lost, noun = None, ""
    if level is not None and level.score is not None:
        lost, noun = level.score.drop.value, level.score.name
    elif level is not None and level.loss is not None:
        lost, noun = level.loss.drop.value, level.loss.unit
    return SweepRow(
        number=job.number,
        model=job.options["model"],
        varied=job.varied,
        code=0 if done.held else 1,
        why="; ".join(done.broken),
        passes=str(done.settings.get("passes") or ""),
        bytes=done.bytes,
        latency_ratio=None
        if done.profile is None or done.profile.ratio is None
        else done.profile.ratio.value,
        lost=lost,
        unit=noun,
        output=str(done.output or ""),
    )
