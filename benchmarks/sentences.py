"""English sentences for sentence encoders, as token ids.

The text is the language reference that comes with Python (`pydoc_data.topics`); words are cut into
pieces greedily, as BERT's vocabulary means it. `MINILM_VOCAB` names the vocabulary file, by default
the one that `models/fetch.py` leaves beside the net. Data sources for `--data`:
`benchmarks.sentences:to_calibrate` and `benchmarks.sentences:to_evaluate`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

VOCAB = Path(__file__).parents[1] / "models" / "real" / "minilm-vocab.txt"
COUNT, LONGEST = 128, 64
Feed = dict[str, np.ndarray]


@cache
def _vocabulary() -> dict[str, int]:
    path = Path(os.environ.get("MINILM_VOCAB", VOCAB))
    return {word: i for i, word in enumerate(path.read_text(encoding="utf-8").splitlines())}


def _pieces(word: str) -> Iterator[int]:
    known, start = _vocabulary(), 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in known:
                yield known[piece]
                start = end
                break
        else:
            yield known["[UNK]"]
            return


def sentences() -> list[str]:
    """Return the sentences of the text, in order."""
    text = " ".join(topics[name] for name in sorted(topics))
    found = re.findall(r"(?:^|(?<=\. ))[A-Z][a-z][^.:*`|]{40,240}\.", re.sub(r"\s+", " ", text))
    return list(dict.fromkeys(found))


def feed(sentence: str) -> Feed:
    """Return one call of the encoder: ids and mask, int64 of shape [1, length]."""
    known = _vocabulary()
    words = re.findall(r"[a-z]+|[0-9]+|[^\sa-z0-9]", sentence.lower())
    ids = [i for word in words for i in _pieces(word)][: LONGEST - 2]
    row = np.array([[known["[CLS]"], *ids, known["[SEP]"]]], np.int64)
    return {"input_ids": row, "attention_mask": np.ones_like(row)}


def to_calibrate() -> list[Feed]:
    """Return sentences to calibrate with."""
    return [feed(s) for s in sentences()[0 : 2 * COUNT : 2]]


def to_evaluate() -> list[Feed]:
    """Return other sentences to evaluate with."""
    return [feed(s) for s in sentences()[1 : 2 * COUNT : 2]]
