"""Where plans keep trials and proposals for later runs, and what these depend on."""

from __future__ import annotations

import functools
import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import ocompress
from ocompress.analysis.store import digest_of
from ocompress.auto import Ledger
from ocompress.front.bench import Bench
from ocompress.front.budget import Budget
from ocompress.front.request import Request
from ocompress.io import CacheFiles, Dataset, Split
from ocompress.ir import fingerprint
from ocompress.pipeline import ProposalMemo, all_passes
from ocompress.profiling.environment import environment
from ocompress.runtime import VERSION
from ocompress.targets.sysroot import cache_folder
from ocompress.validation import is_own

_TRIALS, _PROPOSALS = 64 << 20, 2 << 30
"""Bytes of the files of both, at most."""


def ledger(bench: Bench, budget: Budget, split: Split) -> Ledger:
    """Return where trials are remembered, by all that their figures depend on.

    Limits are not among that: trials are judged again. A metric of the user's own may change at any
    time, so nothing is remembered with one.

    Args:
        bench: The original, and what was asked.
        budget: How a drop is measured.
        split: The samples that passes see, and those that plans are chosen on.
    """
    if is_own(budget.metric):
        return Ledger(None)
    request, parts = bench.request, (split.fit, split.held_out)
    labels = [None if d.labels is None else np.asarray(d.labels).tolist() for d in parts]
    job = (
        _code(),
        fingerprint(bench.original),
        [digest_of(data) for data in parts],
        labels,
        request.device.name,
        request.seed,
        (budget.metric, budget.confidence),
        (environment(request.threads), request.batch) if bench.timed is not None else None,
    )
    return Ledger(CacheFiles(_folder(request) / "plans", ".json", _TRIALS), repr(job))


def judges(bench: Bench) -> str:
    """Return what tells the samples that results are judged on from others."""
    data = bench.samples.judged_on
    if data is None:
        return ""
    labels = None if data.labels is None else np.asarray(data.labels).tolist()
    return f"{digest_of(data)} {labels}"


def proposals(request: Request, data: Dataset | None) -> ProposalMemo:
    """Return where what passes proposed is remembered.

    Args:
        request: What was asked.
        data: The samples that passes see.
    """
    if data is None:
        return ProposalMemo()
    device = request.device
    target = replace(device, features=frozenset()), sorted(device.features)  # sets have no order
    whose = (_code(), VERSION, digest_of(data), target, request.threads)
    return ProposalMemo(
        CacheFiles(_folder(request) / "proposals", ".pickle", _PROPOSALS), repr(whose)
    )


def _folder(request: Request) -> Path:
    return request.cache if request.cache is not None else cache_folder()


@functools.cache
def _code() -> str:
    """Return a digest of the program and its passes: what they make changes with them."""
    modules = {cls.__module__.partition(".")[0] for cls in all_passes()}
    files = [getattr(sys.modules.get(name), "__file__", None) for name in ("ocompress", *modules)]
    folders = sorted({Path(file).parent for file in files if file})
    found = hashlib.sha256(ocompress.__version__.encode())
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            known = path.stat()
            found.update(f"{path} {known.st_size} {known.st_mtime_ns}".encode())
    return found.hexdigest()
