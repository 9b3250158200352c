"""Running the pass and looking at what ONNX Runtime makes of the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from ocompress.ir import Model, to_proto
from ocompress.pipeline import PassManager, Pipeline, PipelineResult
from ocompress.targets import Target, find
from tests.build import Array, InMemory, feeds

Batches = Sequence[Mapping[str, Array]]


def data_for(model: Model, count: int = 4) -> list[dict[str, Array]]:
    return [feeds(model, seed=i, batch=2) for i in range(count)]


def quantized(
    model: Model,
    text: str = "quant{keep_slower=true}",
    *,
    target: str | Target = "portable",
    batches: Batches | None = None,
) -> PipelineResult:
    data = InMemory(batches if batches is not None else data_for(model))
    aim = find(target) if isinstance(target, str) else target
    return PassManager(target=aim, data=data).run(Pipeline.parse(text), model)


def outputs(model: Model, feed: Mapping[str, Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(a) for a in session.run(None, dict(feed))]


def sqnr(reference: Sequence[Array], other: Sequence[Array]) -> float:
    """Return the signal-to-noise ratio of all outputs together, dB."""
    signal = sum(float((a.astype(np.float64) ** 2).sum()) for a in reference)
    noise = sum(
        float(((a.astype(np.float64) - b) ** 2).sum())
        for a, b in zip(reference, other, strict=True)
    )
    return float("inf") if noise == 0 else 10 * float(np.log10(signal / noise))


def executed(model: Model, folder: Path) -> Counter[str]:
    """Return the operators that ONNX Runtime really runs, bodies included."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(
        to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return _count(onnx.load(folder / "optimized.onnx").graph)


def _count(graph: onnx.GraphProto) -> Counter[str]:
    found: Counter[str] = Counter()
    for node in graph.node:
        found[node.op_type] += 1
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += _count(attribute.g)
    return found
