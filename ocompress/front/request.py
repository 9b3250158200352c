"""Everything an optimization is asked for, checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ocompress import targets
from ocompress.errors import DataError, OptionError
from ocompress.front.budget import Budget
from ocompress.front.recipe_files import find_recipe
from ocompress.front.sizing import sized
from ocompress.front.students import Student, students
from ocompress.io import Dataset, data_files, model_files, module_files
from ocompress.io.archives import SUFFIX as ARCHIVE
from ocompress.pipeline import Pass, Pipeline, find
from ocompress.runtime import MOST_THREADS
from ocompress.stopping import RUN_SECONDS, check_limit
from ocompress.targets import Target

Data: TypeAlias = str | Path | Dataset | Mapping[str, object] | np.ndarray | Sequence[object]
"""What data can be made of; see `ocompress.io.held` for what is in memory."""


STORAGES = ("plain", "packed", "auto")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The settings of one optimization.

    Attributes:
        passes: Text form (`prune{sparsity=0.5},quant`), a pipeline, or passes.
        recipe: A TOML recipe instead of `passes`: a file, or the name of one that comes with
            the package.
        student: What the model is turned into before those passes: a form (`separable`,
            `width=0.5`), another ONNX file, or passes, see `ocompress.front.students`.
        data: Calibration data: a file, a folder, `module:function`, arrays by input name, feeds.
        labels: A file of labels, or an array with one label a sample; a negative one is unknown.
        eval_data: Other data that results are judged on; passes then see all of `data`.
        held_out: Without them, the share of `data` that passes never see and results are judged
            on; 0 judges on what was fitted to. None takes a fifth, 5,000 at most.
        preprocess: The table for a folder of images.
        samples: Use only the first so many samples.
        synthetic: Without data, calibrate on so many random samples.
        target: What the result will run on, see `ocompress.targets`.
        budget: What it may cost.
        seed: Makes everything random repeatable.
        threads: Threads within an operator when measuring; 0 takes all cores.
        batch: Samples in a call that is timed; a batch that the model fixes stays.
        timeout: Seconds that one run of the model may take; 0 is no limit.
        cache: A folder that keeps what is measured of models, for later runs.
        measure: Whether to measure latency at the end.
        external_data: Whether weights go to a file of their own; by default only if they must.
        strict: Whether it is a failure if a pass changes nothing.
        storage: How weights are stored: `plain`, as passes leave them; `packed`, in the smallest
            form that stock operators restore to the bit; `auto`, packed but in archives.
        archive: Whether the result becomes an archive, so that limits in bytes are of that.
        original_bytes: Of the file that a ratio of sizes compares with, None while that is not
            known.
        on_fail: What becomes of the best result there was where a budget fails: `keep` writes it,
            dated before its inputs so that build tools make it again; `discard` writes nothing.
        touch: Whether an output that has these bytes already gets a new time of change.
    """

    passes: str | Pipeline | Sequence[Pass] = ""
    recipe: str | Path | None = None
    student: str | Path | None = None
    data: Data | None = None
    labels: object = None
    eval_data: Data | None = None
    held_out: float | None = None
    preprocess: str | Path | None = None
    samples: int | None = None
    synthetic: int = 0
    target: str | Target = "host"
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    threads: int = 1
    batch: int = 1
    timeout: float = RUN_SECONDS
    cache: Path | None = None
    measure: bool = True
    external_data: bool | None = None
    strict: bool = False
    storage: str = "plain"
    archive: bool = False
    original_bytes: int | None = None
    on_fail: str = "keep"
    touch: bool = True

    def __post_init__(self) -> None:
        """Check what can be checked without reading a file.

        Raises:
            OptionError: If options contradict each other or are out of range.
        """
        contradictions = {
            "passes and a recipe are mutually exclusive; give one": self.passes and self.recipe,
            "data and synthetic data are mutually exclusive; give one": (
                self.data is not None and self.synthetic
            ),
            "evaluation data need data to fit to; give some with --data": (
                self.eval_data is not None and self.data is None
            ),
            "labels need data; give some with --data": (
                self.labels is not None and self.data is None
            ),
            "a limit on samples needs data; give some with --data": (
                self.samples is not None and self.data is None
            ),
            "a preprocessing table needs a folder of images; give one with --data": (
                self.preprocess is not None and self.data is None
            ),
            "synthetic data cannot show a drop of a metric; give real data with --data": (
                self.synthetic and self.budget.max_drop is not None
            ),
        }
        ranges = {
            f"samples {self.samples} must be at least 1": (
                self.samples is not None and self.samples < 1
            ),
            f"synthetic data {self.synthetic} must be at least 1": self.synthetic < 0,
            f"batch {self.batch} must be at least 1": self.batch < 1,
            f"threads {self.threads} must be 0 to {MOST_THREADS}": (
                not 0 <= self.threads <= MOST_THREADS
            ),
            f"seed {self.seed} must not be negative": self.seed < 0,
            f"on-fail {self.on_fail!r} is neither keep nor discard": (
                self.on_fail not in ("keep", "discard")
            ),
            f"storage {self.storage!r} is none of {', '.join(STORAGES)}": (
                self.storage not in STORAGES
            ),
            f"held out {self.held_out} must be at least 0 and below 1": (
                self.held_out is not None and not 0 <= self.held_out < 1
            ),
        }
        check_limit(self.timeout)
        for msg, wrong in {**contradictions, **ranges}.items():
            if wrong:
                raise OptionError(msg)

    @cached_property
    def pipeline(self) -> Pipeline:
        """The passes to run.

        Raises:
            UsageError: If there are none, or one is unknown.
        """
        if self.storage == "plain":
            most = self.budget.most_bytes(self.original_bytes) if self.archive else None
            return sized(self._given, most)
        packing = find("pack-weights")()
        if not self.passes and self.recipe is None and self.student is None:
            return Pipeline.of([packing])
        given = self._given.passes
        known = {p.name for p in given}
        fixed = self._given.fixed
        return Pipeline(given if packing.name in known else (*given, packing), fixed)

    @cached_property
    def _given(self) -> Pipeline:
        given = self._named
        if self.student is None:
            return given
        canonical, *rest = given.passes
        return Pipeline.of([canonical, *students(str(self.student)), *rest], fixed=given.fixed)

    @property
    def _named(self) -> Pipeline:
        if isinstance(self.passes, Pipeline):
            return self.passes
        if self.recipe is not None:
            return Pipeline.from_recipe(find_recipe(str(self.recipe)))
        if not self.passes or (isinstance(self.passes, str) and not self.passes.strip()):
            pack = "; ocompress pack archives a model as it is" if self.archive else ""
            msg = f"no passes given; name them, such as --passes prune,quant{pack}"
            raise OptionError(msg)
        if isinstance(self.passes, str):
            return Pipeline.parse(self.passes)
        return Pipeline.of(self.passes)

    @cached_property
    def limits(self) -> Budget:
        """The budget, without its default for the latency if options of a pass allow for slower."""
        slower = any(p.accepts_slower for p in self.pipeline.passes)
        if slower and self.budget.max_latency_ratio == 1.0:
            return replace(self.budget, max_latency_ratio=None)
        return self.budget

    @property
    def allow_slower(self) -> bool:
        """Whether the user takes results that are slower."""
        limits = self.limits
        free = limits.max_latency_ratio is None and limits.max_latency_ms is None
        return free and self.measure

    @cached_property
    def device(self) -> Target:
        """The target.

        Raises:
            UsageError: If there is none of that name.
        """
        return self.target if isinstance(self.target, Target) else targets.find(self.target)

    @property
    def files(self) -> list[Path]:
        """The files it reads beside the model; results must not replace them."""
        named = (self.data, self.eval_data, self.labels, self.preprocess, self.recipe)
        found = [path for spec in named for path in data_files(spec)]
        named_passes = self.passes or self.recipe or self.student
        passes = self.pipeline.passes if named_passes else ()
        files = [Path(p.file) for p in passes if isinstance(p, Student)]
        found += [part for file in files for part in model_files(file)]
        return [*found, *module_files(self.data, self.eval_data, self.budget.metric)]

    def check(self) -> None:
        """Find the passes, the target and the metric.

        Raises:
            UsageError: If one is unknown, or a pass needs data and there are none.
        """
        needy = [p.name for p in self.pipeline.passes if p.needs_data]
        if needy and self.data is None and not self.synthetic:
            msg = (
                f"pass {needy[0]!r} needs calibration data; give some with --data, or "
                "--synthetic-data N to calibrate on random numbers"
            )
            raise DataError(msg)
        _ = self.device
        self.budget.user_metric()
        if self.data is None:
            self.budget.check_data(None)

    def settings(self, *, planned: bool = False) -> dict[str, Any]:
        """Return the resolved settings, JSON-able, for people and reports.

        Args:
            planned: Whether the passes are still to be found.
        """
        budget = self.budget if planned else self.limits
        return {
            "passes": None if planned else str(self.pipeline),
            "recipe": str(self.recipe) if self.recipe is not None else None,
            "student": str(self.student) if self.student is not None else None,
            "data": _name(self.data) if self.data is not None else _synthetic(self.synthetic),
            "eval_data": _name(self.eval_data),
            "labels": _name(self.labels),
            "samples": self.samples,
            "target": self.device.name,
            "features": sorted(self.device.features),
            "max_drop": budget.max_drop,
            "confidence": budget.confidence,
            "metric": budget.metric,
            "max_latency_ratio": budget.max_latency_ratio if self.device.is_host else None,
            "max_size_ratio": budget.max_size_ratio,
            "max_latency_ms": budget.max_latency_ms if self.device.is_host else None,
            "max_bytes": budget.max_bytes,
            "seed": self.seed,
            "threads": self.threads,
            "batch": self.batch,
            "storage": self.storage,
        }


def in_archive(output: Path | None) -> bool:
    """Return whether an output is an archive, by its name."""
    return output is not None and output.suffix == ARCHIVE


def storage_for(storage: str, output: Path | None) -> str:
    """Return how weights are stored in an output: `auto` packs them, but not for an archive.

    Archives code what they find, and find more in plain weights.
    """
    if storage != "auto":
        return storage
    return "plain" if in_archive(output) else "packed"


def _name(source: object) -> str | None:
    if source is None:
        return None
    if isinstance(source, str | Path):
        return str(source)
    return source.source if isinstance(source, Dataset) else "in memory"


def _synthetic(samples: int) -> str | None:
    return f"synthetic ({samples} samples)" if samples else None
