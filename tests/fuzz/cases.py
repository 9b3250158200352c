"""One case of each kind: damage something, run the program on it, and say what is wrong."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from tests.fuzz import archives, files
from tests.fuzz.mutate import Rng, damaged_bytes, damaged_message, pick
from tests.fuzz.outputs import difference
from tests.fuzz.program import Outcome, call
from tests.fuzz.seeds import models

LONG = 8
"""Every so many cases, another command is run on the model, too."""
_LOSSY = (
    "prune{sparsity=0.5}", "quant", "quant-weights", "quant-dynamic", "factorize{max_weights=0.5}",
    "prune-channels{ratio=0.5}", "equalize", "merge-layers", "prune-heads{ratio=0.5}",
    "separable{max_macs=0.7}", "group{max_macs=0.7}", "squeeze{max_macs=0.7}", "entropy{bits=2}",
    "cluster{bits=2}", "codebook", "binarize{planes=2}", "hash", "circulant", "fastfood",
    "random-code", "pack-weights", "prune{sparsity=0.5},cluster{bits=3},pack-weights",
)  # fmt: skip
_LIMIT = ("--timeout", "3")


def rng_of(kind: str, seed: int, number: int) -> Rng:
    """Return what decides everything about a case."""
    return np.random.default_rng([zlib.crc32(kind.encode()), seed, number])


def bytes_case(rng: Rng, number: int, folder: Path, *, quick: bool = False) -> Outcome:
    """Change bytes of a model's file."""
    _, content = pick(rng, models(quick=quick))
    return _through(damaged_bytes(content, rng), rng, number, folder)


def protobuf_case(rng: Rng, number: int, folder: Path, *, quick: bool = False) -> Outcome:
    """Change fields of a model."""
    _, content = pick(rng, models(quick=quick))
    proto = onnx.ModelProto()
    proto.ParseFromString(content)
    damaged_message(proto, rng)
    return _through(proto.SerializeToString(), rng, number, folder)


def files_case(rng: Rng, number: int, folder: Path, *, quick: bool = False) -> Outcome:
    """Change data or settings for a good model."""
    del number, quick
    return files.case(rng, folder)


def archive_case(rng: Rng, number: int, folder: Path, *, quick: bool = False) -> Outcome:
    """Change an archive, and make its checksums anew."""
    del number, quick
    return archives.case(rng, folder)


KINDS: dict[str, Callable[..., Outcome]] = {
    "archive": archive_case,
    "bytes": bytes_case,
    "protobuf": protobuf_case,
    "files": files_case,
}


def _through(content: bytes, rng: Rng, number: int, folder: Path) -> Outcome:
    """Canonicalize a model, compare what both files compute, and now and then do more."""
    source, result = folder / "in.onnx", folder / "out.onnx"
    source.write_bytes(content)
    quiet = ("-q", "--no-profile", *_LIMIT)
    ended = call("optimize", str(source), str(result), "-p", "canonicalize", *quiet)
    if ended.fault:
        return Outcome(ended.fault)
    if ended.code == 0:
        found = difference(source, result, rng)
        if found:
            return Outcome(found)
    elif "diverge" in ended.sentence:
        return Outcome(f"canonicalize changed outputs, and was caught: {ended.sentence}")
    served = ended.code == 0
    if number % LONG:
        return Outcome("", served)
    if number % (4 * LONG) == 0:
        return Outcome(_archived(source, folder), served)
    lines = (
        ("inspect", str(source), *_LIMIT),
        ("profile", str(source), "--seconds", "0.02", *_LIMIT),
        ("validate", str(source), str(result if result.exists() else source), *_LIMIT),
        ("optimize", str(source), str(folder / "lossy.onnx"), "-p", pick(rng, _LOSSY),
         "--synthetic-data", "4", "--allow-slower", "--allow-larger", *quiet),
    )  # fmt: skip
    return Outcome(call(*pick(rng, lines)).fault, served)


def _archived(source: Path, folder: Path) -> str:
    """Pack a file and unpack it; return what is wrong, for one, another file that comes back."""
    archive, back = folder / "in.ocz", folder / "back.onnx"
    packed = call("pack", str(source), str(archive), "-q")
    if packed.fault or packed.code != 0:
        return packed.fault
    unpacked = call("unpack", str(archive), str(back), "-q")
    if unpacked.fault or unpacked.code != 0:
        return unpacked.fault or f"unpack: {unpacked.sentence}"
    same = back.read_bytes() == source.read_bytes()
    return "" if same else "unpack: the file that comes back is another one"
