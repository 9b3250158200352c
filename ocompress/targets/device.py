"""Running models on another machine: the host's side of the runner."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ocompress.diagnostics import Finding
from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io import Feeds, save_model
from ocompress.ir import Model
from ocompress.runtime import Level
from ocompress.stopping import temporary_folder
from ocompress.targets.transport import JOB, RESULT, RUNNER, Progress, Transport, silent

FORMAT = 1
"""Version of the job and result files; the runner's must be the same."""


@dataclass(frozen=True, slots=True)
class MachineFacts(Finding):
    """What a device said about itself.

    Attributes:
        machine: Processor family, as `platform.machine()` says.
        system: Operating system.
        features: Instruction-set features that Linux lists.
        cores: Cores that may be used.
        threads: Threads that operators used.
        python: Version of Python.
        numpy: Version of numpy.
        onnxruntime: Version of ONNX Runtime.
    """

    machine: str
    system: str
    features: tuple[str, ...]
    cores: int
    threads: int
    python: str
    numpy: str
    onnxruntime: str


@dataclass(frozen=True)
class Planned:
    """A model to run.

    Attributes:
        name: A short name, fit for a file (`candidate`).
        model: The model.
        level: Graph optimization level.
    """

    name: str
    model: Model
    level: Level = Level.ALL


@dataclass(frozen=True)
class ModelRun:
    """How one model fared on a device.

    Attributes:
        name: Name in the job.
        error: Why it could not be loaded or run, empty if it could.
        wrong_data: Whether that was because the feeds do not fit.
        skipped: Outputs that are no tensors.
        load_seconds: Time to load.
        seconds: Time of each feed.
    """

    name: str
    error: str = ""
    wrong_data: bool = False
    skipped: tuple[str, ...] = ()
    load_seconds: float = 0.0
    seconds: tuple[float, ...] = ()
    _folder: Path = field(default=Path(), repr=False)
    _archives: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    def require(self) -> None:
        """Say so if the model did not run.

        Raises:
            DataError: If the feeds did not fit.
            RuntimeFailureError: If the model could not be loaded or run.
        """
        if self.error:
            raise DataError(self.error) if self.wrong_data else RuntimeFailureError(self.error)

    def outputs(self) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over the outputs by name, one feed at a time, as often as wanted.

        Raises:
            DataError: If the feeds did not fit.
            RuntimeFailureError: If the model could not be loaded or run.
        """
        self.require()
        for archive in self._archives:
            with np.load(self._folder / archive["file"], allow_pickle=False) as arrays:
                yield {name: arrays[str(i)] for i, name in enumerate(archive["names"])}


@dataclass(frozen=True)
class DeviceRun:
    """What a device did with a job; its files last as long as the context of `run_on`.

    Attributes:
        device: What reports call the device.
        timed: Whether the times mean anything.
        facts: What the device is.
        models: How each model fared, by name.
    """

    device: str
    timed: bool
    facts: MachineFacts
    models: Mapping[str, ModelRun]


@contextlib.contextmanager
def run_on(
    transport: Transport,
    planned: Sequence[Planned],
    feeds: Iterable[Feeds],
    *,
    threads: int = 1,
    config: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Iterator[DeviceRun]:
    """Run models over feeds on a device, all in one job.

    Args:
        transport: The way there.
        planned: The models; one that is planned twice is sent once.
        feeds: What to run them on; gone through once and stored in a temporary folder.
        threads: Threads within an operator; 0 takes all cores of the device.
        config: Session configuration entries.
        progress: Told after each run.

    Raises:
        RuntimeFailureError: If the runner cannot be started, dies, or answers nonsense. A model
            that fails says so in its `ModelRun`.
    """
    with temporary_folder() as folder:
        shutil.copyfile(Path(__file__).with_name(RUNNER), folder / RUNNER)
        job = {
            "format": FORMAT,
            "models": list(_pack_models(folder, planned)),
            "feeds": list(_pack_feeds(folder, feeds)),
            "options": {"threads": threads, "config": dict(config or {})},
        }
        (folder / JOB).write_text(json.dumps(job), encoding="utf-8")
        transport.execute(folder, progress)
        yield _unpack(transport, folder)


def _pack_models(folder: Path, planned: Sequence[Planned]) -> Iterator[dict[str, str]]:
    files: dict[int, str] = {}
    for one in planned:
        if id(one.model) not in files:
            files[id(one.model)] = f"{one.name}.onnx"
            save_model(one.model, folder / files[id(one.model)])
        yield {"name": one.name, "file": files[id(one.model)], "level": one.level.value}


def _pack_feeds(folder: Path, feeds: Iterable[Feeds]) -> Iterator[dict[str, Any]]:
    (folder / "feeds").mkdir()
    for number, feed in enumerate(feeds):
        arrays = [np.asarray(a) for a in feed.values()]
        plain: dict[str, Any] = {
            str(i): a.astype(np.str_) if a.dtype.kind == "O" else a for i, a in enumerate(arrays)
        }
        file = f"feeds/{number}.npz"
        with (folder / file).open("wb") as stream:
            np.savez(stream, **plain)
        yield {"file": file, "names": list(feed)}


def _unpack(transport: Transport, folder: Path) -> DeviceRun:
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        facts = result["facts"]
        return DeviceRun(
            device=transport.name,
            timed=transport.timed,
            facts=MachineFacts(**{**facts, "features": tuple(facts["features"])}),
            models={m["name"]: _model_run(folder, transport.name, m) for m in result["models"]},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"the runner for {transport.name} left a result that cannot be read: {error}"
        raise RuntimeFailureError(msg) from error


def _model_run(folder: Path, device: str, model: Mapping[str, Any]) -> ModelRun:
    error = model["error"] and (
        f"ONNX Runtime on {device} cannot run the {model['name']}: {_clean(model['error'])}"
    )
    return ModelRun(
        name=model["name"],
        error=error,
        wrong_data=model["wrong_data"],
        skipped=tuple(model["skipped"]),
        load_seconds=model["load_seconds"],
        seconds=tuple(model["seconds"]),
        _folder=folder,
        _archives=tuple(model["outputs"]),
    )


def _clean(error: str) -> str:
    """Return the first line of what ONNX Runtime said without its error code and place."""
    line = next((text.strip() for text in error.splitlines() if text.strip()), error)
    return line.split(" : ")[-1] if line.startswith("[ONNXRuntimeError]") else line
