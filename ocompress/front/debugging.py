"""Finding where a quantized model loses quality."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ocompress import targets
from ocompress.analysis import quantized
from ocompress.analysis.one_layer import layer_edits
from ocompress.analysis.quantized import Quantization
from ocompress.analysis.sensitivity import SAMPLES, Sensitivity, sensitivity
from ocompress.errors import DataError, OptionError
from ocompress.front.files import as_model
from ocompress.front.reference import blamed_on_the_model
from ocompress.front.request import Data
from ocompress.io import Dataset, as_dataset
from ocompress.io.dataset import notes_of
from ocompress.ir import Model, onnx_api
from ocompress.pipeline import PassManager, Pipeline
from ocompress.validation.layer_result import QuantReport
from ocompress.validation.layers import Progress, compare_layers, float_values, match_values

_SAMPLES = 128
_LEAST_KNOWN = 0.4
"""Share of the quantized values below which it is not the float model they came from."""


@dataclass(frozen=True)
class _Form:
    """The float model in one form, its names of the quantized one's values.

    Attributes:
        model: The model.
        canonical: Whether it is canonicalized.
        names: Names in it by name in the quantized one.
        labels: Nodes of the canonical form.
        strangers: Nodes that only one of the two models has.
    """

    model: Model
    canonical: bool
    names: dict[str, str]
    labels: frozenset[str]
    strangers: int


@blamed_on_the_model()
def debug_quantization(
    reference: Model | str | Path,
    candidate: Model | str | Path,
    data: Data | None,
    *,
    samples: int | None = None,
    preprocess: str | Path | None = None,
    measure_sensitivity: bool = False,
    progress: Progress = lambda *_: None,
) -> QuantReport:
    """Compare a quantized model with its float one, layer by layer.

    Args:
        reference: The float model.
        candidate: The quantized model, in QDQ form.
        data: Feeds for both.
        samples: Use only the first so many; 128 by default.
        preprocess: The table for a folder of images.
        measure_sensitivity: Whether to quantize one layer at a time too, on at most 32 samples.
        progress: Called with what is done, the number of steps done, and their total.

    Raises:
        UsageError: If there are no data, the candidate is not quantized, or it was not made from
            the reference.
        ModelError: If a file is not a model, or ONNX Runtime cannot run it.
    """
    if data is None:
        msg = "comparing values needs data to run both models on; give some with --data"
        raise DataError(msg)
    (float_model, _), (given, _) = as_model(reference), as_model(candidate)
    given = given.clone()
    onnx_api.infer_types(given)
    found = quantized.read(given)
    _check(float_model, given, found)
    opened = as_dataset(data, float_model, samples=samples or _SAMPLES, preprocess=preprocess)
    form = _fitting(float_model, found)
    layers = compare_layers(form.model, found, form.names, given, opened, progress)
    edits = layer_edits(found, form.names) if measure_sensitivity else {}
    stage = functools.partial(progress, "quantizing one layer at a time")
    one_by_one = sensitivity(form.model, edits, opened, stage) if edits else {}
    matched = set(form.names.values())
    return QuantReport(
        layers=tuple(replace(e, excludable=e.node in form.labels) for e in layers),
        missing=tuple(v.name for v in float_values(form.model) if v.name not in matched),
        extra=tuple(n for n in found.values if n not in form.names),
        sensitivity=tuple(sorted(one_by_one.values(), key=lambda s: s.sqnr_db)),
        canonical=form.canonical,
        samples=opened.samples,
        source=opened.source,
        remarks=tuple(_remarks(found, opened, {e.node for e in layers}, [*edits], one_by_one)),
    )


def _check(reference: Model, candidate: Model, found: Quantization) -> None:
    for what, left, right in (
        ("inputs", reference.graph.inputs, candidate.graph.inputs),
        ("outputs", reference.graph.outputs, candidate.graph.outputs),
    ):
        names = [{v.name for v in side if v.data is None} for side in (left, right)]
        if names[0] != names[1]:
            ours, theirs = (", ".join(sorted(n)) or "none" for n in names)
            msg = (
                f"the two models do not match: the {what} of the float one are {ours}, "
                f"those of the quantized one {theirs}"
            )
            raise OptionError(msg)
    if any(layer.quantized for layer in found.layers):
        return
    others = sorted({n.op_type for _, n in candidate.nodes() if n.op_type in _OTHER_FORMS})
    hint = "give the float model first and the quantized one second"
    if others:
        hint = f"its operators {', '.join(others)} are not in QDQ form"
    msg = f"no layer of the candidate is quantized by QuantizeLinear and DequantizeLinear; {hint}"
    raise OptionError(msg)


_OTHER_FORMS = (
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "QLinearAdd",
    "ConvInteger",
    "MatMulInteger",
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulNBits",
)


def _fitting(reference: Model, found: Quantization) -> _Form:
    """Return the float model as it is or canonicalized, whichever is nearer to the other."""
    manager = PassManager(target=targets.find("portable"))
    canonical = manager.run(Pipeline.of([]), reference).model
    raw = reference.clone()
    onnx_api.infer_types(raw)
    labels = frozenset(n.label for _, n in canonical.nodes())
    forms = [_form(canonical, found, labels, True), _form(raw, found, labels, False)]
    best = min(forms, key=lambda form: form.strangers)
    rounded = [n for layer in found.layers if layer.quantized for n in layer.outputs]
    known = sum(name in best.names for name in rounded)
    if known < _LEAST_KNOWN * len(rounded):
        msg = (
            f"the two models do not match: of {len(rounded)} values that quantized "
            f"layers make, the float model has {known}; give the model that it was made from"
        )
        raise OptionError(msg)
    return best


def _form(model: Model, found: Quantization, labels: frozenset[str], canonical: bool) -> _Form:
    ours = {(n.label, n.op_type) for _, n in model.nodes()}
    theirs = {(e.node.label, e.node.op_type) for e in found.layers}
    theirs |= {(e.tail.label, e.tail.op_type) for e in found.layers if e.tail is not None}
    return _Form(model, canonical, match_values(model, found), labels, len(ours ^ theirs))


def _remarks(
    found: Quantization,
    data: Dataset,
    shown: set[str],
    tried: Sequence[str],
    measured: Mapping[str, Sensitivity],
) -> list[str]:
    remarks = notes_of(data)
    hidden = [e.node.label for e in found.layers if e.quantized and e.node.label not in shown]
    if hidden:
        remarks.append(
            f"of quantized nodes, {len(hidden)} could not be compared, such as {hidden[0]!r}: the "
            "float model has no value of that name, or it cannot be seen"
        )
    failed = [name for name in tried if name not in measured]
    if failed:
        remarks.append(
            f"sensitivity of {len(failed)} could not be measured, such as {failed[0]!r}: the float "
            "model has no such node on the same inputs"
        )
    if measured and data.samples > SAMPLES:
        remarks.append(f"sensitivity was measured on the first {SAMPLES} samples")
    return remarks
