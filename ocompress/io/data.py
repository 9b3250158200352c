"""From what a user names to a dataset that fits the model."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ocompress.errors import DataError
from ocompress.io import feeds, pictures
from ocompress.io.arrays import ArraySource, HeldArray, open_npy, open_npz
from ocompress.io.batch_limit import narrowed
from ocompress.io.batches import ArrayDataset
from ocompress.io.batching import batched, first_that_runs, makes_one_result
from ocompress.io.dataset import Dataset
from ocompress.io.held import as_labels, held
from ocompress.io.implied import implied_extents
from ocompress.io.inputs import InputSpec, expected, input_specs, turned_specs
from ocompress.io.joined import join
from ocompress.io.labels import KEYS, from_archive, load_labels
from ocompress.io.named import is_there
from ocompress.io.synthetic import SYNTHETIC, synthetic_choices
from ocompress.ir import DType, Model
from ocompress.wording import counted

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

Specs = tuple[InputSpec, ...]


def load_data(
    spec: str | Path,
    model: Model,
    *,
    labels: str | Path | None = None,
    samples: int | None = None,
    preprocess: str | Path | None = None,
) -> Dataset:
    """Open data for a model; nothing is read but headers, and the first rows to see what runs.

    Args:
        spec: A `.npz` (keys are input names), a `.npy` (for a model with one input), a folder of
            either, a folder of the model zoo's `test_data_set_N` or of their `input_N.pb`, a folder
            of images, or `module:function`.
        model: Whose inputs they must fit.
        labels: A file of labels; by default `labels` or `label` in the archive.
        samples: Use only the first so many.
        preprocess: The table for images; by default `preprocess.toml` in their folder.

    Raises:
        DataError: If the data do not fit, in one sentence that names the culprit.
    """
    _check_samples(samples)
    specs = tuple(input_specs(model))
    given = load_labels(Path(labels)) if labels is not None else None
    if isinstance(spec, str) and _FUNCTION.fullmatch(spec) and not is_there(spec):
        _refuse_table(spec, preprocess)
        return batched(feeds.from_function(spec, specs, given, samples), model)
    path = Path(spec)
    if not is_there(path):
        msg = f"data {str(spec)!r} do not exist; name a .npz, a .npy, a folder or module:function"
        raise DataError(msg)
    if path.is_dir():
        return _folder(path, model, given, samples, preprocess)
    if path.suffix not in (".npz", ".npy"):
        msg = (
            f"data {str(spec)!r}: give a .npz or .npy file, a folder, or module:function "
            "(see the README for what each may hold)"
        )
        raise DataError(msg)
    _refuse_table(path, preprocess)
    return _arrays(str(path), _open(path, specs), model, given, samples)


def as_dataset(
    data: object,
    model: Model,
    *,
    labels: object = None,
    samples: int | None = None,
    preprocess: str | Path | None = None,
) -> Dataset:
    """Make a dataset of what a Python caller has.

    Args:
        data: Anything `load_data` takes, a dataset, arrays by input name, an array for a model
            with one input, or a list of feeds.
        model: Whose inputs they must fit.
        labels: A file, or an array with one label a sample.
        samples: Use only the first so many.
        preprocess: The table for a folder of images.

    Raises:
        DataError: If the data do not fit.
    """
    _check_samples(samples)
    if isinstance(data, os.PathLike):
        data = Path(data)
    named = isinstance(labels, str | Path)
    if isinstance(data, str | Path):
        if labels is not None and not named:
            msg = "labels in memory go with data in memory; name a file of labels instead"
            raise DataError(msg)
        path = labels if isinstance(labels, str | Path) else None
        return load_data(data, model, labels=path, samples=samples, preprocess=preprocess)
    if isinstance(data, Dataset):
        return data if samples is None else data.take(samples)
    specs = tuple(input_specs(model))
    given = None
    if labels is not None:
        given = load_labels(Path(str(labels))) if named else as_labels(labels)
    found = held(data, specs)
    if isinstance(found, dict):
        arrays = {name: HeldArray(array) for name, array in found.items()}
        return _arrays("arrays in memory", arrays, model, given, samples)
    given_feeds = feeds.FeedDataset("feeds in memory", specs, lambda: found, given, samples)
    return batched(given_feeds, model)


def synthetic_data(
    model: Model,
    samples: int,
    *,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Dataset:
    """Make random feeds of the right types and shapes; they say nothing about accuracy.

    Free extents become 1 for axis 0, what weights that read them fix, 224 for the two last axes of
    a rank 4 input, else 16. Where the model does not run on that, axis 0 becomes the least number
    that it does run on, and then the others something else.

    Args:
        model: Whose inputs they fit.
        samples: How many samples.
        seed: Makes them repeatable.
        shapes: Shape of one whole feed by input name, where the guess would be wrong.

    Raises:
        DataError: If a shape names no input or contradicts the model.
    """
    specs = tuple(input_specs(model))
    given = shapes or {}
    made = (
        ArrayDataset(SYNTHETIC, specs, dict(arrays))
        for arrays in synthetic_choices(specs, samples, seed, given, implied_extents(model))
    )
    first = next(made)
    if all(s.name in given or s.is_fixed for s in specs):
        return first
    return first_that_runs(model, itertools.chain([first], made)) or first


def _open(path: Path, specs: Specs) -> dict[str, ArraySource]:
    if path.suffix == ".npz":
        return dict(open_npz(path))
    required = [s.name for s in specs if s.required]
    if len(required) != 1:
        msg = (
            f"data {str(path)!r} hold one array but the model wants {expected(specs)}; "
            "use a .npz with the inputs' names as keys"
        )
        raise DataError(msg)
    return {required[0]: open_npy(path)}


def _arrays(
    source: str,
    arrays: Mapping[str, ArraySource],
    model: Model,
    given: np.ndarray | None,
    samples: int | None,
) -> ArrayDataset:
    data = batched(_unlabelled(source, arrays, tuple(input_specs(model))), model)
    if given is None:
        given = _own_labels(arrays, data)
    return narrowed(replace(data, given_labels=given, limit=samples), model)


def _unlabelled(source: str, arrays: Mapping[str, ArraySource], specs: Specs) -> ArrayDataset:
    inputs = {s.name for s in specs}
    return ArrayDataset(
        source, specs, {n: a for n, a in arrays.items() if n in inputs or n not in KEYS}
    )


def _own_labels(arrays: Mapping[str, ArraySource], data: ArrayDataset) -> np.ndarray | None:
    return from_archive(arrays, {s.name for s in data.specs})


def _folder(
    path: Path,
    model: Model,
    given: np.ndarray | None,
    samples: int | None,
    preprocess: str | Path | None,
) -> Dataset:
    specs = tuple(input_specs(model))
    sets = sorted(p for p in path.glob("test_data_set_*") if p.is_dir())
    sets.sort(key=lambda p: (len(p.name), p.name))
    if not sets and any(path.glob("input_*.pb")):
        sets = [path]
    if sets:
        _refuse_table(path, preprocess)
        return batched(feeds.from_zoo(path, sets, specs, given, samples), model)
    files = sorted(p for p in path.iterdir() if p.suffix in (".npz", ".npy"))
    if files:
        _refuse_table(path, preprocess)
        return _files(path, files, model, given, samples)
    images = tuple(sorted(p for p in path.rglob("*") if p.suffix.lower() in pictures.SUFFIXES))
    if images:
        return _images(path, images, model, given, samples, preprocess)
    msg = f"data folder {str(path)!r} holds no .npz, .npy, test_data_set_N or image"
    raise DataError(msg)


def _check_samples(samples: int | None) -> None:
    if samples is not None and samples < 1:
        msg = f"samples {samples} must be at least 1"
        raise DataError(msg)


def _refuse_table(spec: str | Path, preprocess: str | Path | None) -> None:
    if preprocess is not None:
        table = f"so the preprocessing table {str(preprocess)!r} does not apply; leave it out"
        msg = f"data {str(spec)!r} are not a folder of images, {table}"
        raise DataError(msg)


def _files(
    path: Path,
    files: Sequence[Path],
    model: Model,
    given: np.ndarray | None,
    samples: int | None,
) -> Dataset:
    """Join files that are alike; else each is batches, or one feed, of its own."""
    specs = tuple(input_specs(model))
    opened = [_open(f, specs) for f in files]
    joined = join(opened)
    if joined is not None and not _stands_alone(str(files[0]), opened[0], model):
        try:
            return _arrays(str(path), joined, model, given, samples)
        except DataError:
            _unlabelled(str(files[0]), opened[0], specs)  # what is wrong with one says more
            raise
    parts = [_unlabelled(str(f), arrays, specs) for f, arrays in zip(files, opened, strict=True)]
    chain = batched(feeds.ChainDataset(str(path), parts), model)
    cut = [part for part in chain.parts if isinstance(part, ArrayDataset)]
    if given is None:
        labels = [_own_labels(a, p) for a, p in zip(opened, cut, strict=True)]
    elif len(given) == chain.samples:
        ends = np.cumsum([part.samples for part in cut])
        labels = list(np.split(given, ends[:-1]))
    else:
        have = f"{counted(chain.samples, 'sample')} but {counted(len(given), 'label')}"
        msg = f"data {str(path)!r} have {have}; give one label a sample"
        raise DataError(msg)
    told = [replace(p, given_labels=own) for p, own in zip(cut, labels, strict=True)]
    chain = replace(chain, parts=told)
    return chain if samples is None else chain.take(samples)


def _stands_alone(source: str, arrays: Mapping[str, ArraySource], model: Model) -> bool:
    """Whether files are not joined along axis 0: what has no batch, as a graph, or it elsewhere."""
    specs = tuple(input_specs(model))
    try:
        data = _unlabelled(source, arrays, specs)
    except DataError:  # too few for a batch, say: all together may do
        return False
    if any(turned_specs(specs)):
        data = batched(data, model)
    whole = data.plan.loose or not data.plan.cut or bool(data.axes)
    return whole or makes_one_result(data, model)


def _images(
    path: Path,
    images: tuple[Path, ...],
    model: Model,
    given: np.ndarray | None,
    samples: int | None,
    preprocess: str | Path | None,
) -> Dataset:
    table = pictures.Preprocess.read(Path(preprocess) if preprocess else path / pictures.TABLE)
    specs = tuple(input_specs(model))
    required = [s for s in specs if s.required]
    if len(required) != 1:
        msg = f"a folder of images serves models with one input; this one wants {expected(specs)}"
        raise DataError(msg)
    spec = required[0]
    dtype = spec.dtype.numpy if spec.dtype is not DType.STRING else np.dtype(np.float32)
    array = pictures.ImageArray(images, table, dtype)
    return _arrays(str(path), {spec.name: array}, model, given, samples)
