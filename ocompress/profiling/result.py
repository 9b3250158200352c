"""What profiling measured; plain data that reports format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ocompress.analysis.cost import Cost
from ocompress.diagnostics import Finding


@dataclass(frozen=True, slots=True)
class Latency(Finding):
    """Wall time of one run, milliseconds.

    Attributes:
        runs: Timed runs.
        p50_ms: Median.
        p90_ms: 90th percentile.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        min_ms: Fastest run.
        max_ms: Slowest run.
        mean_ms: Mean.
        std_ms: Standard deviation over the runs.
        samples: Samples in a run.
    """

    derived: ClassVar[tuple[str, ...]] = ("throughput",)

    runs: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    min_ms: float
    max_ms: float
    mean_ms: float
    std_ms: float
    samples: int = 1

    @property
    def throughput(self) -> float:
        """Samples per second, one run after the other."""
        return 1000.0 * self.samples / self.mean_ms if self.mean_ms else 0.0


@dataclass(frozen=True, slots=True)
class Ratio(Finding):
    """Median latency of the model over that of the reference; below 1 is faster.

    Attributes:
        value: Ratio of the medians.
        low: Lower end of the 95 % interval (bootstrap over interleaved blocks).
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TimeShare(Finding):
    """Time of one operator kind or one layer.

    Attributes:
        name: Operator kind or name of the layer.
        op_type: Operator that ran; for a layer the kernel's, which fusion may have changed.
        calls: Calls in one run.
        ms: Median over the runs of its milliseconds in one, bodies of control flow not counted
            twice.
        share: Part of all nodes' time, 0 to 1.
    """

    name: str
    op_type: str
    calls: float
    ms: float
    share: float


@dataclass(frozen=True, slots=True)
class Memory(Finding):
    """Memory of a fresh process that loads the file and runs it once, bytes.

    Attributes:
        peak: Highest resident memory above the bare runtime's.
        loaded: Resident memory above the bare runtime's once the session stands.
        baseline: Resident memory of the process before it loads the model.
    """

    peak: int
    loaded: int
    baseline: int


@dataclass(frozen=True, slots=True)
class InputChoice(Finding):
    """One input the model was run with.

    Attributes:
        name: Name of the input.
        dtype: Element type, as ONNX names it in lower case.
        shape: Shape used.
        origin: `data`, `given` (by the user), `declared` (by the model) or `guessed`.
        guessed: The extents that were guessed, in words: `batch=1`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    origin: str
    guessed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment(Finding):
    """The machine and the runtime that were measured.

    Attributes:
        cpu: Model name of the processor.
        isa: Instruction-set features that matter to the kernels.
        cores: Cores this process may use.
        threads: Threads within an operator.
        provider: Execution provider.
        runtime: Version of ONNX Runtime.
        system: Operating system and architecture.
        python: Version of Python.
    """

    cpu: str
    isa: tuple[str, ...]
    cores: int
    threads: int
    provider: str
    runtime: str
    system: str
    python: str


@dataclass(frozen=True, slots=True)
class ModelProfile(Finding):
    """One model's figures.

    Attributes:
        latency: Wall times.
        cost: Counts from the graph.
        bytes: Size on disk with external data; of the serialized model when it has no file.
        memory: Memory of a fresh process; None when it was not measured.
        by_op: Time by operator kind, largest first; empty unless asked for.
        by_layer: Time by layer, largest first; empty unless asked for.
    """

    latency: Latency
    cost: Cost
    bytes: int
    memory: Memory | None = None
    by_op: tuple[TimeShare, ...] = ()
    by_layer: tuple[TimeShare, ...] = ()


@dataclass(frozen=True, slots=True)
class ProfileResult(Finding):
    """Everything a profiling run measured.

    Attributes:
        model: The model asked about.
        against: The reference, None without one.
        ratio: Latency of the model over the reference's.
        inputs: What both were run with.
        environment: Where.
        remarks: What was guessed or left out and why, one sentence each.
    """

    model: ModelProfile
    inputs: tuple[InputChoice, ...]
    environment: Environment
    against: ModelProfile | None = None
    ratio: Ratio | None = None
    remarks: tuple[str, ...] = ()
