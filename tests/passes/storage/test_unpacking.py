"""What files compute while they load: the same numbers, and no more elements than it takes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ocompress.archive.fastfood_rounding import few_bits, room, whole
from ocompress.archive.tied_places import buckets_of, hashes, numbers
from ocompress.ir.packed import Recipe
from ocompress.runtime import Session
from passes.storage.counted import Hashed
from passes.storage.fastfood import StoredFastfood
from passes.storage.integers import Integers
from passes.storage.kinds import Half, Plain
from passes.storage.random_numbers import write_hashes, write_numbers
from passes.storage.tied import tied


def made(recipe: Recipe) -> dict[str, np.ndarray]:
    """Return what every node of a recipe makes, by its operator and place; the last is the last."""
    packed = recipe.packed()
    leaves = [numpy_helper.from_array(v.data, v.name) for v in packed.leaves if v.data is not None]
    ends = [onnx.ValueInfoProto(name=node.output[0]) for node in packed.nodes]
    graph = helper.make_graph(packed.nodes, "recipe", [], ends, leaves)
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    found = Session(model.SerializeToString()).run({})
    return {f"{n.op_type} {at}": found[n.output[0]] for at, n in enumerate(packed.nodes)}


def last(every: dict[str, np.ndarray]) -> np.ndarray:
    return list(every.values())[-1]


@pytest.mark.parametrize("count", [1, 2, 4096, 6000, 7919, 65537 * 3])
def test_runtimes_count_out_the_numbers_that_weights_are_found_by(count: int) -> None:
    recipe = Recipe()
    _, (rows, columns) = write_numbers(recipe, count)
    assert rows * columns == count
    np.testing.assert_array_equal(last(made(recipe)).reshape(-1), numbers(count))


def test_remainders_of_all_places_are_taken_twice() -> None:
    recipe = Recipe()
    write_numbers(recipe, 1 << 16)
    taken = [array.size for op, array in made(recipe).items() if op.startswith("Mod")]
    assert sorted(taken) == [256, 256, 1 << 16, 1 << 16]


def test_hashed_halves_are_looked_up_as_halves() -> None:
    count, buckets = 1 << 12, 256
    values = np.random.default_rng(0).standard_normal(buckets).astype(np.float16)
    values[0] = 0
    recipe = Recipe()
    Hashed(Half(values.astype(np.float32)), buckets, count, are_half=True).write(recipe, (64, 64))
    every = made(recipe)
    places, negated = buckets_of(count, buckets)
    wanted = np.where(negated, -values[places], values[places]).astype(np.float32)
    assert last(every).tobytes() == wanted.tobytes()
    looked_up = [array for op, array in every.items() if op.startswith("GatherElements")]
    assert [array.dtype for array in looked_up] == [np.float16]


@pytest.mark.parametrize("count", [1, 4096, 7919, 65537 * 3])
def test_runtimes_hash_places_with_one_sum_each(count: int) -> None:
    recipe, limit = Recipe(), 1000
    _, have = write_hashes(recipe, count, limit)
    every = made(recipe)
    found = last(every)
    assert found.dtype == np.int32
    assert len(found) == have >= count
    assert found.max() < 2 * limit
    np.testing.assert_array_equal(found[:count] % limit, hashes(count) % limit)
    whole = [op.split()[0] for op, array in every.items() if array.size == have]
    assert whole == ["Add", "Reshape"] or have <= 1 << 13


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("count", [50, 1 << 16, (1 << 16) - 1])
def test_integers_are_read_out(bits: int, count: int) -> None:
    values = np.random.default_rng(bits).integers(0, 1 << bits, count)
    recipe = Recipe()
    Integers(values, bits).write(recipe, (count,))
    found = last(made(recipe))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(("bits", "most"), [(3, 1), (5, 1), (6, 1), (7, 1), (11, 3), (13, 3)])
def test_integers_of_several_parts_are_one_or_two_results(bits: int, most: int) -> None:
    count = 1 << 16
    recipe = Recipe()
    Integers(np.random.default_rng(0).integers(0, 1 << bits, count), bits).write(recipe, (count,))
    every = made(recipe).items()
    whole = [op for op, array in every if array.size == count and not op.startswith("Reshape")]
    assert len(whole) <= most


@pytest.mark.parametrize(("size", "most"), [(4, 3), (32, 6), (64, 6)])
def test_little_that_fastfood_makes_is_as_large_as_the_whole(size: int, most: int) -> None:
    rng = np.random.default_rng(0)
    rows, columns = few_bits(rng.uniform(0.5, 1, 128), 6), few_bits(rng.uniform(0.5, 1, 128), 5)
    draws = rng.standard_normal((128 // size, 128 // size, size))
    numbers = draws * room(draws, 128, 128)[:, None, None]
    blocks = whole(rows, numbers, columns)
    (form,) = (f for f in tied(blocks.matrix, Plain) if isinstance(f, StoredFastfood))
    recipe = Recipe()
    form.write(recipe, (128, 128))
    every = made(recipe)
    assert last(every).tobytes() == blocks.matrix.tobytes()
    assert sum(array.size == 128 * 128 for array in every.values()) == most
