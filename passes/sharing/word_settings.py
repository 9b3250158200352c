"""Lengths and numbers of words that weights could be made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.lossy.engine import Reason
from ocompress.lossy.layer_weights import LayerWeight
from passes.sharing.common_words import may_share

PER_WORD = 4
"""Blocks to a word at least: fewer save nothing (Stock and others, 2020)."""
_KERNEL = 16
"""Taps up to which the slices of kernels are blocks: of more, no few words say enough."""
_LENGTHS = (4, 5, 3, 2)
"""Lengths of blocks of layers without small kernels; the first that divides the inputs."""
_SEARCHED_LENGTHS = (2, 4, 8)
_SEARCHED_WORDS = (8, 16, 32, 64, 128, 256, 512, 1024)
_WORDS = 256
_SCALE = 2
Settings = Sequence[tuple[int, int]]
"""Lengths and numbers of words."""


@dataclass(frozen=True)
class Asked:
    """What options say.

    Attributes:
        block: `auto`, `kernel` or a number.
        words: Codewords.
        searched: Whether other numbers are tried, too.
        seed: Draws.
        together: Whether layers share words.
    """

    block: str
    words: int
    searched: bool
    seed: int
    together: bool = False


def settings_of(
    weights: Sequence[LayerWeight], sites: Mapping[str, Site], asked: Asked
) -> dict[str, list[tuple[int, int]]]:
    """Return lengths and numbers of words that save something, by name of the weight.

    Args:
        weights: The weights.
        sites: How layers read them, by name.
        asked: What options say; what they ask for comes first.
    """
    lengths = {w.name: _lengths(sites[w.name], asked) for w in weights}
    together: Counter[int] = Counter()
    if asked.together:
        for weight in filter(may_share, weights):
            together.update({n: weight.array.size // n for n in lengths[weight.name]})
    found = {}
    for weight in weights:
        own: list[tuple[int, int]] = []
        shared = asked.together and may_share(weight)
        for length in lengths[weight.name]:
            blocks = together[length] if shared else weight.array.size // length
            most = 1 << int(math.log2(max(blocks // PER_WORD, 1)))
            counts = [asked.words, *(_SEARCHED_WORDS if asked.searched else ())]
            own += [(length, n) for n in dict.fromkeys(min(c, most) for c in counts) if n > 1]
        worth = weight.array.nbytes
        found[weight.name] = [s for s in own if size_of(weight, *s, alone=not shared) < worth]
    return found


def _lengths(site: Site, asked: Asked) -> list[int]:
    """Return lengths of words, what options ask for first."""
    taps = _taps(site)
    if asked.block == "kernel":
        lengths = [taps] if taps > 1 else []
    elif asked.block != "auto":
        lengths = [int(asked.block)]
    else:
        lengths = [taps] if 1 < taps <= _KERNEL else []
        lengths += [n for n in _LENGTHS if site.inputs % n == 0][:1]
        lengths = lengths[:1]
        if asked.searched and not asked.together:
            lengths += [n for n in _SEARCHED_LENGTHS if n not in lengths]
    return [n for n in lengths if site.inputs % n == 0]


def reason_against(weight: LayerWeight, site: Site, asked: Asked) -> Reason:
    """Return why a weight can be made of no words."""
    taps = _taps(site)
    if asked.block == "kernel" and taps == 1:
        return Reason("no-kernel", "it has no kernel whose slices could be words")
    length = taps if asked.block == "kernel" else 0 if asked.block == "auto" else int(asked.block)
    if length and site.inputs % length:
        return Reason("uneven-blocks", f"its {site.inputs} inputs are no multiple of {length}")
    return Reason("few-blocks", f"its {weight.array.size} weights are too few for a codebook")


def _taps(site: Site) -> int:
    return math.prod(site.window.kernel) if site.window is not None else 1


def size_of(weight: LayerWeight, block: int, count: int, *, alone: bool = True) -> int:
    """Return the bytes of codes, and of words where no other layer has them, or else of scales."""
    codes = weight.array.size // block
    own = count * block * _word_bytes(weight) if alone else weight.form.outputs * _SCALE
    return -(-codes * max(1, math.ceil(math.log2(count))) // 8) + own


def _word_bytes(weight: LayerWeight) -> int:
    """Return the bytes of a number of a word: products of units and short numbers are float32."""
    return 1 if weight.array.dtype == np.float32 else 2
