"""What `tune` recovers of nets of models/, and what a step takes beside PyTorch written by hand.

    python benchmarks/tuning.py                    # on the 1,024 calibration images
    python benchmarks/tuning.py --train FOLDER     # on 60,000 images, unlabelled, in about an hour
    python benchmarks/tuning.py --speed            # milliseconds of a step, one thread

FOLDER holds Fashion-MNIST's `train-images-idx3-ubyte.gz`. The passes are fixed beforehand; the test
images are looked at once for each line. `--speed` needs PyTorch only, the rest ONNX Runtime too.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pruning import images

from ocompress import load
from ocompress.io import as_dataset
from ocompress.ir import Model
from ocompress.pipeline import PassManager, Pipeline
from ocompress.runtime import Session
from ocompress.targets import find
from ocompress.training.network import Network

MODELS = Path(__file__).parents[1] / "models"
CASES = {
    "lenet-300-100": ("prune{sparsity=0.95}", "prune{sparsity=0.95},tune"),
    "lenet5": ("prune{sparsity=0.97}", "prune{sparsity=0.97},tune"),
    "transformer": ("prune{sparsity=0.8}", "prune{sparsity=0.8},tune"),
}
HAND = {"lenet-300-100": "lenet_300_100", "lenet5": "lenet5", "resnet8": "resnet8"}
BATCH, ROUNDS, CHUNK = 128, 12, 500


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--train", type=Path, help="folder with Fashion-MNIST's training images")
    parser.add_argument("--speed", action="store_true", help="time steps instead")
    parser.add_argument("--nets", nargs="*", default=[], help="only these")
    given = parser.parse_args()
    if given.speed:
        speed(given.nets or HAND)
    else:
        recovery(given.nets or CASES, given.train)


def recovery(nets: Collection[str], train: Path | None) -> None:
    """Print accuracy before and after tuning."""
    print("| net | passes | points lost | seconds of tune |\n|---|---|---|---|")
    test = dict(np.load(MODELS / "data" / "fashion_test.npz"))
    data: object = MODELS / "data" / "fashion_calib.npz"
    if train is not None:
        data = {"image": images(train, 60_000)}
    for net in (n for n in CASES if n in nets):
        model = load(MODELS / f"{net}.onnx")
        before = _accuracy(model, test)
        for passes in CASES[net]:
            manager = PassManager(target=find("portable"), data=as_dataset(data, model))
            result = manager.run(Pipeline.parse(passes), model)
            lost = 100 * (before - _accuracy(result.model, test))
            seconds = sum(r.seconds for r in result.records if r.name == "tune")
            print(f"| {net} | `{passes}` | {lost:.2f} | {seconds:.0f} |", flush=True)


def _accuracy(model: Model, test: dict[str, np.ndarray]) -> float:
    session, right = Session(model), 0
    for start in range(0, len(test["label"]), CHUNK):
        part = slice(start, start + CHUNK)
        (scores,) = session.run({"image": test["image"][part]}).values()
        right += int((scores.argmax(1) == test["label"][part]).sum())
    return right / len(test["label"])


def speed(nets: Collection[str]) -> None:
    """Print the time of a step forward and backward, and of the same net written by hand."""
    sys.path.insert(0, str(MODELS))
    import nets as written

    torch.set_num_threads(1)
    print("| net | milliseconds | by hand | ratio |\n|---|---|---|---|")
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.random((BATCH, 1, 28, 28), np.float32))
    for net in (n for n in HAND if n in nets):
        twin = getattr(written, HAND[net])().eval()
        hand = partial(_step, partial(twin, image), list(twin.parameters()))
        times = _interleaved(_ours(load(MODELS / f"{net}.onnx"), image), hand)
        ratio = times[0] / times[1]
        print(f"| {net} | {times[0]:.1f} | {times[1]:.1f} | {ratio:.2f} |", flush=True)


def _ours(model: Model, image: torch.Tensor) -> Callable[[], None]:
    network = Network(model, {"image": image.numpy()}, threads=1)
    values = {n: v.requires_grad_() for n, v in network.initial().items()}
    output = model.graph.outputs[0].name
    return partial(_step, lambda: network.run({"image": image}, values)[output], values.values())


def _step(run: Callable[[], torch.Tensor], leaves: Iterable[torch.Tensor]) -> None:
    score = torch.log_softmax(run(), -1)[:, 0].mean()
    torch.autograd.grad(score, list(leaves), allow_unused=True)


def _interleaved(*steps: Callable[[], None]) -> list[float]:
    """Return the shortest time of each, in milliseconds."""
    found: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS):
        for at, step in enumerate(steps):
            begun = time.perf_counter()
            step()
            found[at].append(1000 * (time.perf_counter() - begun))
    return [min(times) for times in found]


if __name__ == "__main__":
    main()
