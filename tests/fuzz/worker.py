"""Runs cases in a forked process, so that a crash, a hang or hunger for memory costs one case."""

from __future__ import annotations

import faulthandler
import multiprocessing
import multiprocessing.connection
import os
import resource
import shutil
import signal
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz.cases import KINDS, rng_of
from tests.fuzz.program import Outcome
from tests.fuzz.seeds import models

MEMORY = 12 << 30
"""Bytes of address space; ONNX Runtime reserves some that it never uses."""

_Pipe = multiprocessing.connection.Connection


def run(
    kind: str, seed: int, numbers: Sequence[int], seconds: float
) -> Iterator[tuple[int, Outcome]]:
    """Run cases and yield the number and the outcome of each.

    Args:
        kind: `archive`, `bytes`, `protobuf` or `files`.
        seed: Of the round.
        numbers: The cases.
        seconds: Longest that a case may take.
    """
    models()  # made once, before the processes that use them
    left = list(numbers)
    while left:
        for number, fault in _one_process(kind, seed, tuple(left), seconds):
            left.remove(number)
            yield number, fault


def _one_process(
    kind: str, seed: int, numbers: Sequence[int], seconds: float
) -> Iterator[tuple[int, Outcome]]:
    """Run cases until one takes the process down or all are done."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(kind, seed, numbers, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        for number in numbers:
            if not ours.poll(seconds):
                yield number, Outcome(f"hangs: not done in {seconds:g} s")
                return
            try:
                yield number, ours.recv()
            except EOFError:
                process.join(10)
                code = process.exitcode or 0
                how = signal.Signals(-code).name if code < 0 else f"exit {code}"
                yield number, Outcome(f"the process dies: {how}")
                return
    finally:
        process.kill()
        process.join(10)
        ours.close()


def _work(kind: str, seed: int, numbers: Sequence[int], results: _Pipe) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the runtime logs what it refuses
    for number in numbers:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            results.send(one(kind, seed, number, folder))
        except Exception:
            results.send(Outcome(f"the fuzzer fails: {traceback.format_exc()[-900:]}"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def one(kind: str, seed: int, number: int, folder: Path, *, quick: bool = False) -> Outcome:
    """Run one case in this process, in a folder that is there and empty."""
    os.chdir(folder)
    return KINDS[kind](rng_of(kind, seed, number), number, folder, quick=quick)
