"""What `inspect` found, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ocompress.analysis.cost import Cost
from ocompress.diagnostics import Finding, Remark
from ocompress.ir import Dim


@dataclass(frozen=True, kw_only=True)
class Tensor(Finding):
    """An input or output of a model.

    Attributes:
        name: Its name.
        dtype: Element type in lower case, empty if it is not a tensor.
        shape: Declared extents; a text or None is free.
    """

    name: str
    dtype: str
    shape: list[Dim] | None


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What one pass would do.

    Attributes:
        name: Pass name.
        problem: Why it could not be tried, empty if it could.
        counts: What it would do how often.
        declined: What it would leave alone, by code.
        nodes: Number of nodes before and after.
        weight_bytes: Bytes of constants before and after.
        remarks: What it says about single nodes.
        needs_data: Whether it needs data that were not given.
    """

    name: str
    problem: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    declined: Mapping[str, int] = field(default_factory=dict)
    nodes: tuple[int, int] = (0, 0)
    weight_bytes: tuple[int, int] = (0, 0)
    remarks: tuple[Remark, ...] = ()
    needs_data: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return JSON types only, remarks left out."""
        return {
            "name": self.name,
            "problem": self.problem,
            "needs_data": self.needs_data,
            "counts": dict(self.counts),
            "declined": dict(self.declined),
            "nodes": list(self.nodes),
            "weight_bytes": list(self.weight_bytes),
        }


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What is in a model and what passes would do to it.

    Attributes:
        source: File name, empty for a model in memory.
        bytes: Size on disk with external data.
        ir_version: Version of the file format.
        producer: Who wrote the file.
        opsets: Version of each operator set by domain.
        metadata: The file's `metadata_props`.
        functions: Model-local functions.
        inputs: Formal inputs.
        outputs: Formal outputs.
        cost: Parameters, operators and multiply-accumulates.
        dtypes: Elements of constants by type.
        prospects: What each pass would do, `canonicalize` first.
    """

    source: str
    bytes: int
    ir_version: int
    producer: str
    opsets: Mapping[str, int]
    metadata: Mapping[str, str]
    functions: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    cost: Cost
    dtypes: Mapping[str, int]
    prospects: tuple[Prospect, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the body of the JSON report."""
        return {
            "file": self.source,
            "bytes": self.bytes,
            "ir_version": self.ir_version,
            "producer": self.producer,
            "opsets": dict(self.opsets),
            "metadata": dict(self.metadata),
            "functions": list(self.functions),
            "inputs": [t.to_json() for t in self.inputs],
            "outputs": [t.to_json() for t in self.outputs],
            "cost": self.cost.to_json(),
            "dtypes": dict(self.dtypes),
            "passes": [p.to_json() for p in self.prospects],
        }
