"""The nets that `benchmarks/auto.py` looks for plans of, and what is lost on data of their own.

Those of models/ lose accuracy on the labelled test images. Public ones (`models/fetch.py`) lose
what their users would miss: characters read, text boxes found, likeness of embeddings, or, on
photos that are given, agreement with the original.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ocompress

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.embeddings import likeness
from benchmarks.measures import agreement, outputs
from benchmarks.ocr import box_hmean, read_right
from ocompress.io import load_data, load_model

MODELS = Path(__file__).parents[1] / "models"
CALIBRATION, TEST = (MODELS / "data" / f"fashion_{part}.npz" for part in ("calib", "test"))
PHOTOS = "efficientnet-lite0"


@dataclass(frozen=True)
class Net:
    """A net.

    Attributes:
        path: Its file.
        data: What plans are fitted to and judged on.
        lost: Returns the share that a model's file lost, on other data.
    """

    path: Path
    data: Path | str
    lost: Callable[[Path], float]


def net_of(name: str, photos: tuple[Path, Path] | None) -> Net:
    """Return a net by its name.

    Args:
        name: A file of models/ or models/real, without its ending.
        photos: For EfficientNet-Lite0, .npz files with photos to calibrate and to evaluate on.
    """
    path, real = MODELS / f"{name}.onnx", MODELS / "real" / f"{name}.onnx"
    if path.exists():
        return Net(path, CALIBRATION, lambda candidate: _inaccuracy(path, candidate))
    if name == PHOTOS:
        if photos is None:
            sys.exit(f"{PHOTOS} needs --photos CALIBRATION.npz EVALUATION.npz")
        fit, test = photos
        return Net(real, fit, lambda candidate: _disagreement(real, candidate, test))
    known = {
        "ppocrv4-det": ("rendered:pages_to_calibrate", box_hmean),
        "ppocrv4-rec": ("rendered:lines_to_calibrate", _read),
        "minilm": ("sentences:to_calibrate", likeness),
    }
    if name not in known:
        sys.exit(f"there is no {path}, and {name!r} is none of {', '.join((*known, PHOTOS))}")
    data, kept = known[name]
    return Net(real, f"benchmarks.{data}", lambda candidate: 1 - kept(real, candidate))


def _inaccuracy(path: Path, candidate: Path) -> float:
    found = ocompress.validate(path, candidate, data=TEST).levels[0].accuracy
    assert found is not None
    return float(found.drop.value)


def _disagreement(path: Path, candidate: Path, test: Path) -> float:
    data = load_data(str(test), load_model(path))
    return 1 - agreement(outputs(path, data), outputs(candidate, data))


def _read(path: Path, candidate: Path) -> float:
    return 1 - (read_right(path) - read_right(candidate))
