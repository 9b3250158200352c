"""int8 on every net at hand, ours beside other tools: one table and one plot.

    python benchmarks/run.py [--photos DIR] [--rivals PYTHON] [--only NAME ...] [--write]

Every tool gets the same model and the same calibration feeds, in a process of its own; everything
is measured in this run, latency interleaved with the float model. Nets of models/ use the
Fashion-MNIST files beside them; real nets (`make models`) use rendered text (OCR), sentences
(MiniLM) and, for EfficientNet-Lite0, `--photos`: a folder of 224x224 RGB images, every third of
which calibrates while the others evaluate, with `photo_labels.json` beside the folder naming the
right classes of some. NNCF runs if `--rivals` names a Python that has it. `--write` puts table and
plot into docs/; with `--only`, rows of other nets stay as they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import embeddings, measures, ocr  # noqa: E402
from benchmarks.rival_tools import TOOLS  # noqa: E402
from benchmarks.table import Row, known, report  # noqa: E402
from ocompress.io import Dataset, load_data, load_model  # noqa: E402

FASHION = ("models/data/fashion_calib.npz", "models/data/fashion_test.npz")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CALIBRATE = 128
Task = Callable[[Path], float]


@dataclass(frozen=True)
class Case:
    """A net with its data.

    Attributes:
        calibrate: Source of calibration data.
        evaluate: Source of evaluation data, disjoint from it.
        task: What the score of the task is called; empty if there is none.
        score: Gives it for a model.
        decides: Whether the largest entry of the last axis means anything.
    """

    calibrate: str
    evaluate: str
    task: str = ""
    score: Task | None = None
    decides: bool = True


def photos(folder: Path, work: Path) -> Case:
    """Pack photos for EfficientNet-Lite0."""
    names = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".png"))
    parts = {"calibrate": names[::3], "evaluate": [n for i, n in enumerate(names) if i % 3]}
    for part, chosen in parts.items():
        pixels = [np.asarray(Image.open(n).convert("RGB"), np.float32) / 255 for n in chosen]
        planes = (np.stack(pixels) - MEAN) / DEVIATION
        np.savez(work / part, image=planes.transpose(0, 3, 1, 2).astype(np.float32))
    files = [str(work / f"{part}.npz") for part in parts]
    labels = folder.parent / "photo_labels.json"
    if not labels.exists():
        return Case(files[0], files[1])
    right = {Path(k).name: v for k, v in json.loads(labels.read_text(encoding="utf-8")).items()}
    known = [(i, right[n.name]) for i, n in enumerate(parts["evaluate"]) if n.name in right]

    def top1(path: Path) -> float:
        with np.load(files[1]) as arrays:
            images = arrays["image"]
        net = measures.session(path, threads=2)
        said = [int(net.run(None, {"image": images[i : i + 1]})[0].argmax()) for i, _ in known]
        return float(np.mean([s in np.ravel(k) for s, (_, k) in zip(said, known, strict=True)]))

    return Case(files[0], files[1], f"top-1 of {len(known)}", top1)


def accuracy(path: Path) -> float:
    """Return the test accuracy on Fashion-MNIST."""
    data = load_data(FASHION[1], load_model(path))
    said = np.concatenate([o.argmax(-1) for o in measures.outputs(path, data)])
    assert data.labels is not None
    return float((said == data.labels).mean())


def cases(folder: Path | None, work: Path) -> dict[Path, Case]:
    """Return every net that is there with its data."""
    fashion = Case(*FASHION, "accuracy", accuracy)
    found = dict.fromkeys(sorted((ROOT / "models").glob("*.onnx")), fashion)
    real = ROOT / "models" / "real"
    rec, det, mini = (real / f"{n}.onnx" for n in ("ppocrv4-rec", "ppocrv4-det", "minilm"))
    text = "benchmarks.rendered:{}_to_{}".format
    known = {
        rec: Case(
            text("lines", "calibrate"), text("lines", "evaluate"), "characters", ocr.read_right
        ),
        det: Case(
            text("pages", "calibrate"),
            text("pages", "evaluate"),
            "boxes, hmean",
            lambda path: ocr.box_hmean(det, path),
            decides=False,
        ),
        mini: Case(
            "benchmarks.sentences:to_calibrate",
            "benchmarks.sentences:to_evaluate",
            "mean cosine",
            lambda path: embeddings.likeness(mini, path),
            decides=False,
        ),
    }
    found |= {path: case for path, case in known.items() if path.exists()}
    if folder is not None and (real / "efficientnet-lite0.onnx").exists():
        found[real / "efficientnet-lite0.onnx"] = photos(folder, work)
    return found


def store(data: Dataset, folder: Path) -> None:
    """Write feeds for tools that know nothing of ours.

    Batches that differ in their first extent alone are cut into samples: some tools want every
    batch alike.
    """
    folder.mkdir()
    feeds = [{n: np.asarray(a) for n, a in feed.items()} for feed in data]
    shapes = {tuple(a.shape for a in feed.values()) for feed in feeds}
    if len(shapes) > 1 and len({tuple(s[1:] for s in shape) for shape in shapes}) == 1:
        feeds = [
            {n: a[i : i + 1] for n, a in feed.items()}
            for feed in feeds
            for i in range(len(next(iter(feed.values()))))
        ]
    for number, feed in enumerate(feeds):
        np.savez(folder / f"{number:05}.npz", **feed)


def make(tool: str, model: Path, result: Path, feeds: Path, python: str) -> Row:
    """Let a tool do its work in a process of its own."""
    command = [python, str(ROOT / "benchmarks" / "rival_tools.py"), tool]
    command += [str(model), str(result), str(feeds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return Row(model.stem, tool, error=(lines or ["no reason given"])[-1][:100])
    return Row(model.stem, tool, **json.loads(done.stdout.splitlines()[-1]))


def compare(path: Path, case: Case, tools: dict[str, str], work: Path) -> list[Row]:
    """Run every tool on one net and measure what comes out."""
    model = load_model(path)
    store(load_data(case.calibrate, model, samples=CALIBRATE), work / path.stem)
    evaluation = load_data(case.evaluate, model)
    reference = measures.outputs(path, evaluation)
    rows = [Row(path.stem, "float", score=case.score(path) if case.score else None)]
    rows[0].task = case.task
    for number, (tool, python) in enumerate(tools.items()):
        result = work / f"{path.stem}-{number}.onnx"
        row = make(tool, path, result, work / path.stem, python)
        rows.append(row)
        if not row.error:
            try:
                got = measures.outputs(result, evaluation)
            except Exception as error:
                row.error = f"cannot be loaded: {str(error).strip().splitlines()[-1][:80]}"
        if row.error:
            print(f"{path.stem}: {tool}: {row.error}", file=sys.stderr)
            continue
        row.size = result.stat().st_size / path.stat().st_size
        row.sqnr_db = measures.sqnr(reference, got)
        row.agreement = measures.agreement(reference, got) if case.decides else None
        row.score = case.score(result) if case.score else None
        for threads in (1, 2):
            before, after = measures.latencies([path, result], evaluation, threads, 0.7)
            setattr(row, f"latency_{threads}", after / before)
        print(row.text(), flush=True)
    return rows


def main() -> None:
    """Compare everything; print and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="folder of 224x224 photos")
    parser.add_argument("--rivals", help="a Python that has nncf")
    parser.add_argument("--only", nargs="*", help="names of nets")
    parser.add_argument("--write", action="store_true", help="put table and plot into docs/")
    given = parser.parse_args()
    tools = {t: sys.executable for t in TOOLS if not t.startswith("NNCF")}
    if given.rivals:
        tools |= {t: given.rivals for t in TOOLS if t.startswith("NNCF")}
    where = ROOT / ("docs" if given.write else "benchmarks/out")
    where.mkdir(exist_ok=True)
    rows = known(where) if given.only else []
    with tempfile.TemporaryDirectory() as folder:
        for path, case in cases(given.photos, Path(folder)).items():
            if not given.only or path.stem in given.only:
                mine = dict(tools)
                if path.stem not in ("minilm", "transformer"):
                    mine.pop("ocompress, dynamic")
                rows = [r for r in rows if r.model != path.stem]
                rows += compare(path, case, mine, Path(folder))
                report(rows, where)  # what is done stays if the rest is cut short


if __name__ == "__main__":
    main()
