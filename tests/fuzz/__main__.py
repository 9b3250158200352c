"""`python -m tests.fuzz KIND`; see the package."""

from __future__ import annotations

import argparse
import collections
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import worker
from tests.fuzz.cases import KINDS


def main() -> int:
    """Run a round and print what was found; exit with 1 if anything was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60, help="longest that a case may take")
    parser.add_argument("--only", type=int, help="run this one here and keep its folder")
    given = parser.parse_args()
    if given.only is not None:
        folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{given.kind}-{given.only}-"))
        fault = worker.one(given.kind, given.seed, given.only, folder).fault
        sys.stdout.write(f"{folder}\n{fault or 'no fault'}\n")
        return int(bool(fault))
    numbers = range(given.start, given.start + given.cases)
    began, served, found = time.monotonic(), 0, collections.Counter[str]()
    for number, outcome in worker.run(given.kind, given.seed, numbers, given.seconds):
        served += outcome.served
        if fault := outcome.fault:
            found[re.sub(r"\d+|/\S+", "#", fault)[:60]] += 1
            sys.stdout.write(f"{number}: {' '.join(fault.split())[:1200]}\n")
            sys.stdout.flush()
    took = time.monotonic() - began
    sys.stdout.write(
        f"{given.kind}, seed {given.seed}: {len(numbers)} cases, {served} served, "
        f"{sum(found.values())} at fault, {took:.0f} s\n"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
