"""Comparing a quantized model with its float one, value by value down the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ocompress.analysis.paired import Pair, observe_pairs
from ocompress.analysis.quantized import Quantization, QuantizedLayer, is_plumbing
from ocompress.analysis.running import sqnr_db
from ocompress.analysis.shadow import add_shadows
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, Value, query
from ocompress.runtime import Level
from ocompress.validation.layer_result import LayerQuality
from ocompress.validation.value_sum import ValueSum, pair_sums

Progress = Callable[[str, int, int], None]
Sums = Mapping[str, ValueSum]
"""Sums by name of the value in the quantized model."""


def compare_layers(
    reference: Model,
    found: Quantization,
    names: Mapping[str, str],
    candidate: Model,
    data: Dataset,
    progress: Progress,
) -> tuple[LayerQuality, ...]:
    """Compare every value that both models have, and every layer with a float copy of itself.

    Args:
        reference: The float model, in the form whose names fit.
        found: What was read off the candidate.
        names: Names in the reference by name in the candidate, see `match_values`.
        candidate: The quantized model, with types inferred.
        data: Feeds; swept twice.
        progress: Called with what is done, the number of feeds done, and their total.

    Raises:
        DataError: If the feeds do not fit.
        RuntimeFailureError: If ONNX Runtime cannot run a model.
    """
    inner = {o.name for e in found.layers if e.tail for o in e.node.outputs if o is not None}
    sums = {n: _fresh(found, n) for n in names if n not in inner}
    for layer in found.layers:
        counter = pair_sums(layer, found)
        if counter is not None and layer.data[0][1] in sums:
            sums[layer.data[0][1]].pairs[layer.node.label] = counter
    pairs = {Pair(names[n], found.values[n].shown): sums[n] for n in sums}
    _sweep((reference, Level.ALL), candidate, pairs, data, "comparing values", progress)
    shadowed = candidate.clone()
    shadows = add_shadows(shadowed, reference, found, names)
    own = {
        name: _fresh(found, name) if found.values[name].inside else ValueSum() for name in shadows
    }
    pairs = {Pair(shadows[n], found.values[n].shown): own[n] for n in shadows}
    # Optimized further, the runtime would put integer operators into the copied model.
    _sweep((shadowed, Level.BASIC), candidate, pairs, data, "comparing layers", progress)
    return tuple(_qualities(found, names, _filled(sums), _filled(own)))


def match_values(reference: Model, found: Quantization) -> dict[str, str]:
    """Return the name in the float model of each value of the quantized one that it has.

    A Relu or Clip that quantizing made needless stands for the value before it. Folding a
    normalization may leave the name of either end to its output; then the node's name decides.

    Args:
        reference: The float model.
        found: What was read off the quantized one.
    """
    there = {v.name: v for v in float_values(reference)}
    by_node = _renamed(reference, found)
    matched: dict[str, str] = {}
    for name, seen in found.values.items():
        alias = next((a for a in seen.aliases if a in there), by_node.get(name))
        if alias is None or alias not in there or not seen.may_be(there[alias]):
            continue
        reader = query.only_reader(there[alias])
        if seen.grid is not None and seen.grid.low == 0 and reader is not None:
            after = reader.outputs[0] if reader.is_op("Relu", "Clip") else None
            if after is not None and after.name not in found.values:
                alias = after.name
        matched[name] = alias
    return matched


def _renamed(reference: Model, found: Quantization) -> dict[str, str]:
    """Return outputs of nodes that both models have, where neither name is in the other."""
    theirs = {(n.label, n.op_type): n for _, n in reference.nodes() if len(n.outputs) == 1}
    names = {v.name for v in float_values(reference)}
    renamed = {}
    for layer in found.layers:
        other = theirs.get((layer.node.label, layer.node.op_type))
        if other is None or len(layer.node.outputs) != 1:
            continue
        mine, there = layer.node.output.name, other.output.name
        if mine not in names and there not in found.values:
            renamed[mine] = there
    return renamed


def float_values(model: Model) -> Iterator[Value]:
    """Iterate over inputs and computed values that may be of a float type, bodies included."""
    for graph in model.graph.graphs():
        made = [v for n in graph.nodes if not is_plumbing(n) for v in n.outputs if v is not None]
        for value in (*(v for v in graph.inputs if v.data is None), *made):
            if value.dtype is None or value.dtype.is_float:
                yield value


def _sweep(
    reference: tuple[Model, Level],
    candidate: Model,
    sums: Mapping[Pair, ValueSum],
    data: Dataset,
    stage: str,
    progress: Progress,
) -> None:
    observe_pairs(
        reference[0],
        candidate,
        list(sums),
        data,
        lambda pair, left, right: sums[pair].update(left, right),
        lambda done, total: progress(stage, done, total),
        level=reference[1],
    )


def _fresh(found: Quantization, name: str) -> ValueSum:
    return ValueSum(found.values[name].grid, found.values[name].inside)


def _filled(sums: Sums) -> dict[str, ValueSum]:
    return {name: total for name, total in sums.items() if total.numeric.elements}


def _qualities(
    found: Quantization, names: Mapping[str, str], sums: Sums, own: Sums
) -> Iterator[LayerQuality]:
    """Yield the layers; noise passes through nodes whose values could not be matched."""
    noise = {name: _noise(total) for name, total in sums.items()}
    made = {name for layer in found.layers for name in layer.outputs}
    for name, total in sums.items():
        if name not in made and total.grid is not None:
            yield _quality((name, "input", False), names[name], total, 0.0, noise[name])
    for layer in found.layers:
        inherited = max((noise.get(n, 0.0) for _, n in layer.data), default=0.0)
        known = [n for n in layer.outputs if n in sums]
        noise |= {n: inherited for n in layer.outputs if n not in sums}
        if not known:
            continue
        worst = max(known, key=lambda n: noise[n])
        alone = own.get(worst)
        added = _noise(alone) if alone is not None else max(0.0, noise[worst] - inherited)
        called = (layer.node.label, layer.node.op_type, layer.quantized)
        clips = _clips(layer, sums)
        yield _quality(called, names[worst], sums[worst], inherited, added, clips)


def _clips(layer: QuantizedLayer, sums: Sums) -> tuple[int, int]:
    source = sums.get(layer.data[0][1]) if layer.data else None
    counter = source.pairs.get(layer.node.label) if source is not None else None
    return (counter.examined, counter.clipped) if counter is not None else (0, 0)


def _quality(
    called: tuple[str, str, bool],
    value: str,
    total: ValueSum,
    inherited: float,
    added: float,
    clips: tuple[int, int] = (0, 0),
) -> LayerQuality:
    figures, numeric, grid = total.numeric.figures(), total.numeric, total.grid
    node, op_type, quantized = called
    return LayerQuality(
        node=node,
        op_type=op_type,
        value=value,
        quantized=quantized,
        sqnr_db=figures["sqnr_db"],
        inherited_db=sqnr_db(1.0, max(inherited, 0.0)),
        own_db=sqnr_db(1.0, max(added, 0.0)),
        max_abs_error=figures["max_abs_error"],
        low=numeric.low,
        high=numeric.high,
        grid_low=grid.low if grid is not None else None,
        grid_high=grid.high if grid is not None else None,
        clipped=total.outside / numeric.elements if grid is not None else None,
        saturated=total.saturated,
        elements=numeric.elements,
        pair_sums=clips[0],
        pair_clips=clips[1],
    )


def _noise(total: ValueSum) -> float:
    return float(10 ** (-total.numeric.figures()["sqnr_db"] / 10))
