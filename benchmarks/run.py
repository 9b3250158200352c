"""int8 on every net at hand, ours beside ONNX Runtime's: one table.

    python benchmarks/run.py [--photos DIR] [--only NAME]

Nets of models/ use the Fashion-MNIST files beside them. Real nets (`make models`) use rendered text
(OCR) and, for EfficientNet-Lite0, `--photos`: a folder of 224x224 RGB images, every third of which
calibrates while the others evaluate. The table also goes to benchmarks/out/rivals.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
FASHION = ("models/data/fashion_calib.npz", "models/data/fashion_test.npz")
COLUMNS = ("model", "tool", "bytes", "sqnr_db", "agreement", "latency_ratio", "seconds")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photos(folder: Path, work: Path) -> tuple[str, str]:
    """Pack photos for EfficientNet-Lite0; return the files to calibrate and to evaluate with."""
    names = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".png"))
    parts = {"calibrate": names[::3], "evaluate": [n for i, n in enumerate(names) if i % 3]}
    for part, chosen in parts.items():
        pixels = [np.asarray(Image.open(n).convert("RGB"), np.float32) / 255 for n in chosen]
        planes = (np.stack(pixels) - MEAN) / DEVIATION
        np.savez(work / part, image=planes.transpose(0, 3, 1, 2).astype(np.float32))
    return str(work / "calibrate.npz"), str(work / "evaluate.npz")


def cases(folder: Path | None, work: Path) -> dict[Path, tuple[str, str]]:
    """Return calibration and evaluation data for every net that is there."""
    found = dict.fromkeys(sorted((ROOT / "models").glob("*.onnx")), FASHION)
    source = "benchmarks.rendered:{}_to_{}".format
    texts = {"ppocrv4-rec": "lines", "ppocrv4-det": "pages"}
    for path in sorted((ROOT / "models" / "real").glob("*.onnx")):
        if path.stem in texts:
            kind = texts[path.stem]
            found[path] = (source(kind, "calibrate"), source(kind, "evaluate"))
        elif path.stem == "efficientnet-lite0" and folder is not None:
            found[path] = photos(folder, work)
        else:
            print(f"{path.name}: no data for it, left out", file=sys.stderr)
    return found


def compare(model: Path, data: tuple[str, str]) -> list[dict[str, object]]:
    """Run the comparison for one net and return its rows."""
    command = [sys.executable, "benchmarks/quant_rivals.py", str(model), "--json"]
    command += ["--data", data[0], "--eval", data[1]]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main() -> None:
    """Compare everything; print and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="folder of 224x224 photos")
    parser.add_argument("--only", help="name of one net")
    given = parser.parse_args()
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as work:
        for model, data in cases(given.photos, Path(work)).items():
            if given.only not in (None, model.stem):
                continue
            for row in compare(model, data):
                cells = [str(row.get(c, "")) for c in COLUMNS]
                if "error" in row:
                    cells[2] = f"fails: {row['error']}".replace("|", "/")
                lines.append("| " + " | ".join(cells) + " |")
                print(lines[-1], flush=True)
    out = ROOT / "benchmarks" / "out"
    out.mkdir(exist_ok=True)
    (out / "rivals.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
