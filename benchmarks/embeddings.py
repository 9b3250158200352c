"""How much of a sentence encoder's embeddings is left after compression.

    python benchmarks/embeddings.py REFERENCE CANDIDATE

Prints the mean and smallest cosine between the two nets' embeddings (the mean over tokens, as
sentence-transformers pools) of the sentences to evaluate, and how often the nearest other sentence
is the same one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.sentences import to_evaluate


def embeddings(path: Path) -> np.ndarray:
    """Return an embedding of length one for each sentence, shape [sentences, width]."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    net = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    pooled = np.stack([net.run(None, feed)[0][0].mean(axis=0) for feed in to_evaluate()])
    found: np.ndarray = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    return found


def likeness(reference: Path, candidate: Path) -> float:
    """Return the mean cosine between the embeddings of two nets."""
    return float((embeddings(reference) * embeddings(candidate)).sum(axis=1).mean())


def nearest(rows: np.ndarray) -> np.ndarray:
    """Return the index of the nearest other row of each row."""
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -1)
    found: np.ndarray = likeness.argmax(axis=1)
    return found


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("reference", type=Path)
    parser.add_argument("candidate", type=Path)
    given = parser.parse_args()
    before, after = embeddings(given.reference), embeddings(given.candidate)
    cosines = (before * after).sum(axis=1)
    same = (nearest(before) == nearest(after)).mean()
    print(f"cosine: mean {cosines.mean():.4f}, least {cosines.min():.4f}; same nearest {same:.3f}")


if __name__ == "__main__":
    main()
