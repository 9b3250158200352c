"""ONNX Runtime: sessions, their options, and its errors. The only file that imports it."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from ocompress import memory, stopping
from ocompress.errors import (
    DataError,
    OcompressError,
    OptionError,
    RuntimeFailureError,
    RuntimeFaultError,
    TimeLimitError,
)
from ocompress.failures import Failure
from ocompress.ir import DType, Model, Shape, Value, to_proto
from ocompress.ir.aliases import with_clean_names
from ocompress.ir.stubs import WEIGHTS_FILE, into_file
from ocompress.stopping import WatchedRun

ort.set_default_logger_severity(4)  # what ORT has to say reaches users through our errors

VERSION: str = ort.__version__
MOST_THREADS = 256
"""More would only take memory and get in each other's way."""
_LARGE = 1 << 30
"""Bytes of weights above which they go through a temporary file that the runtime maps."""
_THRIFTY = {"session.disable_prepacking": "1"}
"""Keeps the runtime from holding a second copy of large weights in the layout it likes best."""

_ELEMENT_TYPES = {
    "float": DType.FLOAT,
    "double": DType.DOUBLE,
    "float16": DType.FLOAT16,
    "bfloat16": DType.BFLOAT16,
    "string": DType.STRING,
    "bool": DType.BOOL,
    **{f"{s}int{b}": DType[f"{s}int{b}".upper()] for s in ("", "u") for b in (4, 8, 16, 32, 64)},
}
_RARE = {
    DType.BFLOAT16: "the model computes in bfloat16, for which the runtime has hardly any kernels "
    "on a CPU: export it in float32; weights may stay bfloat16 in the file, each behind a Cast to "
    "float32",
    DType.DOUBLE: "the model computes in float64, for which the runtime lacks kernels on a CPU, "
    "those of convolutions among them: export it in float32",
}
"""What to do about types of which the runtime lacks kernels."""


class Level(StrEnum):
    """How far ONNX Runtime optimizes the graph it loads."""

    ALL = "all"
    BASIC = "basic"
    DISABLED = "disabled"


_LEVELS = {
    Level.ALL: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    Level.BASIC: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    Level.DISABLED: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output as the runtime sees it; `dtype` is None if it is not a tensor."""

    name: str
    dtype: DType | None
    shape: Shape


class Session:
    """A model loaded into ONNX Runtime on the CPU."""

    def __init__(
        self,
        model: Model | Path | bytes,
        *,
        threads: int = 1,
        level: Level = Level.ALL,
        extra_outputs: Iterable[Value] = (),
        profile_to: Path | None = None,
        save_to: Path | None = None,
        config: Mapping[str, str] | None = None,
        as_deployed: bool = False,
    ) -> None:
        """Load a model.

        Args:
            model: A model, the path of a file, or a serialized model without external data.
            threads: Threads within an operator; 0 takes all cores.
            level: Graph optimization level.
            extra_outputs: Values of the main graph to return beside the outputs (only for a
                `Model`).
            profile_to: Prefix of the file for ORT's per-node profile; see `end_profiling`.
            save_to: File for the model as ORT runs it at this level.
            config: Session configuration entries (`session.…`).
            as_deployed: Keep memory between runs, as sessions do by default: for what is timed.

        Raises:
            OptionError: If the number of threads makes no sense.
            RuntimeFailureError: If ONNX Runtime cannot load it.
            RuntimeFaultError: If it can without optimizing it.
        """
        memory.give_back()
        extra = list(extra_outputs)
        self._level, self._as_deployed = level, as_deployed
        self._unoptimized: Callable[[], Session] | None = None
        if level is not Level.DISABLED and not isinstance(model, bytes):
            plain = functools.partial(Session, model, threads=threads, level=Level.DISABLED)
            self._unoptimized = functools.partial(plain, extra_outputs=extra)
        large = isinstance(model, Model) and model.loaded_bytes >= _LARGE
        entries = {**_THRIFTY, **(config or {})} if large else config or {}
        options = _options(threads, level, profile_to, entries)
        # an array that is held would hold all that the session's arena ever took
        options.enable_cpu_mem_arena = as_deployed
        if save_to is not None:
            options.optimized_model_filepath = str(save_to)
        self._aliases: dict[str, str] = {}
        try:
            source = self._source(model, extra, large=large)
            with WatchedRun(functools.partial(options.set_load_cancellation_flag, True)):
                self._session = ort.InferenceSession(
                    source, options, providers=["CPUExecutionProvider"]
                )
            real = {alias: name for name, alias in self._aliases.items()}
            self.inputs = [_spec(i, real) for i in self._session.get_inputs()]
            self.outputs = [_spec(o, real) for o in self._session.get_outputs()]
        except TimeLimitError:
            raise
        except Exception as error:
            raise self._unloadable(error, model) from error

    def run(
        self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Run once.

        Args:
            feeds: An array per input.
            outputs: Names of the outputs wanted; all by default.

        Returns:
            The outputs by name.

        Raises:
            DataError: If the feeds do not fit the inputs, or an operator refuses what becomes of
                them.
            RuntimeFailureError: If an operator fails.
            RuntimeFaultError: If one fails that does not without optimizations.
            TimeLimitError: If it takes longer than it may.
        """
        names = list(outputs) if outputs is not None else [o.name for o in self.outputs]
        alias = self._aliases
        given = {alias.get(n, n): a for n, a in feeds.items()} if alias else dict(feeds)
        wanted = [alias.get(n, n) for n in names] if alias else names
        options = ort.RunOptions()
        try:
            with WatchedRun(functools.partial(setattr, options, "terminate", True)):
                results = self._session.run(wanted, given, options)
        except TimeLimitError:
            raise
        except Exception as error:
            raise self._failure(error, feeds, names) from error
        if not self._as_deployed:
            memory.made(sum(r.nbytes for r in results if isinstance(r, np.ndarray)))
        return dict(zip(names, results, strict=True))

    @property
    def raw(self) -> ort.InferenceSession:
        """The runtime's own session; with names that are no text it has other ones."""
        return self._session

    def end_profiling(self) -> Path:
        """Finish profiling and return the path of the trace file."""
        return Path(self._session.end_profiling())

    def _unloadable(self, error: Exception, model: Model | Path | bytes) -> RuntimeFailureError:
        """Say why the model cannot be loaded, and whose fault that is."""
        failure = Failure.of(error)
        with contextlib.suppress(DataError, RuntimeFailureError):
            if self._unoptimized is not None:
                self._unoptimized()
                return RuntimeFaultError(failure.unloadable(VERSION, self._level))
        advice = ""
        if isinstance(model, Model) and failure.lacks_kernel:
            advice = _advice(model, failure.why)
        return RuntimeFailureError(failure.unloadable(VERSION, advice=advice))

    def _failure(
        self, error: Exception, feeds: Mapping[str, np.ndarray], names: Sequence[str]
    ) -> OcompressError:
        """Say in which node a run failed, and whether inputs, model or runtime are at fault."""
        failure = Failure.of(error)
        if not failure.is_of_inputs:
            with contextlib.suppress(DataError, RuntimeFailureError):
                if self._unoptimized is not None:
                    self._unoptimized().run(feeds, names)
                    return RuntimeFaultError(failure.broken(VERSION, self._level))
        if failure.refused:
            return DataError(failure.misfit())
        return RuntimeFailureError(failure.broken(VERSION))

    def _source(
        self, model: Model | Path | bytes, extra: Iterable[Value], *, large: bool
    ) -> str | bytes:
        if isinstance(model, bytes):
            return model
        if isinstance(model, Path):
            return str(model)
        model, extra, self._aliases = with_clean_names(model, extra)
        if not large:
            return bytes(to_proto(model, extra_outputs=extra, packed=False).SerializeToString())
        return str(_spill(model, extra, stopping.folder_for(self)))


def _advice(model: Model, why: str) -> str:
    """Say what to do about the types of the node that a message names."""
    nodes = [node for _, node in model.nodes()]
    named = [node for node in nodes if node.name and f"'{node.name}'" in why]
    values = (v for n in named or nodes for v in (*n.inputs, *n.outputs) if v is not None)
    kinds = {value.dtype for value in values}
    return next((advice for kind, advice in _RARE.items() if kind in kinds), "")


def _spill(model: Model, extra: Iterable[Value], folder: Path) -> Path:
    """Write a model with its weights outside, which the runtime then maps instead of copying."""
    with (folder / WEIGHTS_FILE).open("wb") as file:
        proto = to_proto(model, into_file(file), extra_outputs=extra, packed=False)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def has_operator(op_type: str, domain: str, opset: int) -> bool:
    """Whether the runtime has an operator of its own; it takes that rather than a function.

    Args:
        op_type: Name of the operator.
        domain: Its domain; `""` is standard ONNX.
        opset: Version of the domain that the model imports.
    """
    since = _operators().get((domain, op_type))
    return since is not None and since <= opset


@functools.cache
def _operators() -> dict[tuple[str, str], int]:
    """Return the version in which each operator of the runtime first appeared."""
    found: dict[tuple[str, str], int] = {}
    for schema in ort_state.get_all_operator_schema():
        key = schema.domain, schema.name
        found[key] = min(schema.since_version, found.get(key, schema.since_version))
    return found


def host_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _options(
    threads: int, level: Level, profile_to: Path | None, config: Mapping[str, str]
) -> ort.SessionOptions:
    if not 0 <= threads <= MOST_THREADS:
        msg = f"threads {threads} must be 0 to {MOST_THREADS}"
        raise OptionError(msg)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or host_cores()
    options.inter_op_num_threads = 1
    options.graph_optimization_level = _LEVELS[level]
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    for key, text in config.items():
        options.add_session_config_entry(key, text)
    if profile_to is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_to)
    return options


def _spec(arg: ort.NodeArg, real: Mapping[str, str]) -> TensorSpec:
    kind = arg.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(d if isinstance(d, int) else (d or None) for d in arg.shape)
    return TensorSpec(real.get(arg.name, arg.name), _ELEMENT_TYPES.get(kind), shape)
