"""How much text an OCR net still reads after compression.

    python benchmarks/ocr.py rec REFERENCE CANDIDATE
    python benchmarks/ocr.py det REFERENCE CANDIDATE

`rec` prints the share of characters read right on 300 rendered lines, by both nets; `det` the
harmonic mean of precision and recall of the candidate's text boxes, those of the reference taken as
true (boxes: connected regions over 0.3; a match is an overlap of at least half the union).
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.rendered import line, pages_to_evaluate

Box = tuple[int, int, int, int]


def session(path: Path) -> ort.InferenceSession:
    """Load a net."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def characters(path: Path) -> list[str]:
    """Return the character table that the net carries in its metadata."""
    entries = {p.key: p.value for p in onnx.load(path).metadata_props}
    return ["", *entries["character"].splitlines(), " "]


def decode(scores: np.ndarray, table: list[str]) -> str:
    """Read scores [time, characters]: the best each time, repetitions and blanks dropped (CTC)."""
    best = scores.argmax(1)
    kept = [b for i, b in enumerate(best) if b and (i == 0 or b != best[i - 1])]
    return "".join(table[b] for b in kept)


def read_right(path: Path) -> float:
    """Return the share of characters of the lines that the net reads."""
    net, table = session(path), characters(path)
    right = total = 0
    for seed in range(300):
        text, image = line(seed)
        said = decode(net.run(None, {"x": image})[0][0], table)
        blocks = difflib.SequenceMatcher(None, text, said, autojunk=False).get_matching_blocks()
        right, total = right + sum(b.size for b in blocks), total + len(text)
    return right / total


def boxes(heat: np.ndarray, threshold: float = 0.3, smallest: int = 12) -> list[Box]:
    """Return the bounding boxes of connected regions of a map [height, width]."""
    left = {(int(y), int(x)) for y, x in np.argwhere(heat > threshold)}
    found = []
    while left:
        start = left.pop()
        region, border = [start], [start]
        while border:
            y, x = border.pop()
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.remove(near)
                    region.append(near)
                    border.append(near)
        if len(region) >= smallest:
            rows, columns = zip(*region, strict=True)
            found.append((min(rows), min(columns), max(rows) + 1, max(columns) + 1))
    return found


def overlap(a: Box, b: Box) -> float:
    """Return intersection over union."""
    height = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return height * width / (areas - height * width)


def box_hmean(reference: Path, candidate: Path) -> float:
    """Return the harmonic mean of precision and recall of boxes."""
    nets = session(reference), session(candidate)
    true = made = matched = 0
    for feed in pages_to_evaluate():
        wanted, got = (boxes(net.run(None, feed)[0][0, 0]) for net in nets)
        true, made = true + len(wanted), made + len(got)
        matched += sum(any(overlap(w, g) >= 0.5 for g in got) for w in wanted)
    return 2 * matched / (true + made)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("net", choices=("rec", "det"))
    parser.add_argument("reference", type=Path)
    parser.add_argument("candidate", type=Path)
    given = parser.parse_args()
    if given.net == "rec":
        before, after = read_right(given.reference), read_right(given.candidate)
        print(f"characters right: {before:.4f} -> {after:.4f}")
    else:
        print(f"boxes, hmean: {box_hmean(given.reference, given.candidate):.4f}")


if __name__ == "__main__":
    main()
