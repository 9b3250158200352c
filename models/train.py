"""Trains the small nets on Fashion-MNIST and exports them to ONNX.

The recipe, the same for all nets: each image of the training part is moved by at most a pixel,
mirrored and (for ResNet and VGG) partly erased at random; cross-entropy with label smoothing;
a one-cycle learning rate that ends at zero; SGD with momentum for the convolutional nets, AdamW
for the others; arithmetic in bfloat16 where PyTorch's autocast allows it, weights in float32. The
net that is exported holds the running average of the weights at the end of the last epoch. The
number of epochs and all other settings are fixed beforehand; the test part takes no part in any
choice and is looked at once, through ONNX Runtime, when the ONNX file is written.
`--holdout N` keeps the last N training images out and reports the accuracy on them instead: that
is the way to try other settings.

    python models/train.py                  # the data files and all nets
    python models/train.py --net resnet8    # one net
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import dataset
import export
import manifest
import nets

LICENCE = "MIT"
DATA_ORIGIN = "Fashion-MNIST, Zalando SE, Debian package dataset-fashion-mnist"
NET_ORIGIN = "trained by train.py on the training part of Fashion-MNIST"
DATA_NOTES = {
    "fashion_calib": "unlabelled images drawn from the training part with a fixed seed",
    "fashion_test": "the whole test part with labels",
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one net is made.

    Attributes:
        build: Makes the untrained net.
        epochs: Passes over the training images.
        rate: The highest learning rate.
        opset: Opset of the ONNX file.
        decay: Weight decay.
        adam: Whether AdamW is used instead of SGD with momentum.
        shift: The most pixels an image is moved.
        erase: Side of the square that is erased in each image.
        keep_bn: Whether the ONNX file keeps its BatchNormalization nodes.
        dynamo: Whether the newer PyTorch exporter writes the file; it keeps no BatchNormalization.
    """

    build: Callable[[], nn.Module]
    epochs: int
    rate: float
    opset: int
    decay: float = 5e-4
    adam: bool = False
    shift: int = 1
    erase: int = 0
    keep_bn: bool = False
    dynamo: bool = False


RECIPES = {
    "lenet-300-100": Recipe(nets.lenet_300_100, 40, 2e-3, 17, 0.02, adam=True, shift=0),
    "lenet5": Recipe(nets.lenet5, 30, 0.05, 17),
    "resnet8": Recipe(nets.resnet8, 19, 0.2, 17, erase=6, keep_bn=True),
    "mobilenet": Recipe(nets.mobilenet, 16, 0.15, 18, 1e-4),
    "vgg": Recipe(nets.vgg, 15, 0.1, 18, erase=6, keep_bn=True),
    "transformer": Recipe(nets.Transformer, 18, 2e-3, 20, 0.05, adam=True, dynamo=True),
}
BATCH = 128
SMOOTHING = 0.05
AVERAGE = 0.998  # share of the old average that each step keeps
SEED = 7


def optimiser(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Makes the optimiser; vectors (biases, norms) get no weight decay."""
    params = list(net.parameters())
    groups = [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.adam:
        return torch.optim.AdamW(groups, lr=recipe.rate)
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=0.9, nesterov=True)


def update_average(average: dict[str, torch.Tensor], net: nn.Module, keep: float) -> None:
    """Moves the running average of weights and statistics towards the net."""
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1.0 - keep)
        else:
            average[name].copy_(value)


def fit(recipe: Recipe, images: torch.Tensor, labels: torch.Tensor, tell: str) -> nn.Module:
    """Trains a net.

    Args:
        recipe: How.
        images: Training images as float32 in [0, 1].
        labels: Their classes.
        tell: The name to print before each epoch's line.

    Returns:
        The net with averaged weights, in evaluation mode.
    """
    torch.manual_seed(SEED)
    rng = torch.Generator().manual_seed(SEED)
    net = recipe.build().to(memory_format=torch.channels_last)
    steps = len(images) // BATCH
    chooser = optimiser(net, recipe)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        chooser, recipe.rate, recipe.epochs * steps, pct_start=0.2, final_div_factor=1e4
    )
    lossf = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    average = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    for epoch in range(recipe.epochs):
        began, total = time.monotonic(), 0.0
        order = torch.randperm(len(images), generator=rng)
        for step in range(steps):
            pick = order[step * BATCH : (step + 1) * BATCH]
            batch = dataset.augment(images[pick], recipe.shift, recipe.erase, rng)
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(batch.to(memory_format=torch.channels_last))
            loss = lossf(logits.float(), labels[pick])
            chooser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            chooser.step()
            rate.step()
            update_average(average, net, AVERAGE if epoch else 0.9)
            total += loss.item()
        spent = time.monotonic() - began
        print(
            f"{tell} {epoch + 1}/{recipe.epochs} loss {total / steps:.4f} {spent:.1f}s", flush=True
        )
    net.load_state_dict(average)
    return net.eval()


def share_right(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Measures the accuracy of a net in PyTorch."""
    with torch.no_grad():
        parts = [net(part).argmax(1) for part in images.split(500)]
    return float((torch.cat(parts) == labels).float().mean())


def make_net(name: str, folder: Path, out: Path, holdout: int) -> None:
    """Trains, exports and measures one net, and puts it into the manifest.

    Args:
        name: The name of the net.
        folder: The folder with the idx files.
        out: The folder to write into.
        holdout: Training images to keep out; above zero the net is measured, not exported.
    """
    recipe = RECIPES[name]
    pixels, classes = dataset.read_part(folder, "train")
    images, labels = torch.from_numpy(dataset.to_unit(pixels)), torch.from_numpy(classes)
    used = len(images) - holdout
    net = fit(recipe, images[:used], labels[:used], name)
    if holdout:
        print(f"{name}: {share_right(net, images[used:], labels[used:]):.4f} on {holdout} held out")
        return
    path = out / f"{name}.onnx"
    export.export(
        net, path, (1, 28, 28), recipe.opset, keep_bn=recipe.keep_bn, dynamo=recipe.dynamo
    )
    result = export.accuracy(path, out / "data" / "fashion_test.npz")
    fields = {
        "origin": NET_ORIGIN,
        "licence": LICENCE,
        "opset": recipe.opset,
        "parameters": export.parameters(path),
        "test_accuracy": result,
    }
    manifest.record("net", path, fields, out / "manifest.toml")
    print(f"{name}: {result:.4f} on the test part, {path.stat().st_size} bytes")


def make_data(folder: Path, out: Path) -> None:
    """Writes the two data files and puts them into the manifest."""
    for path in dataset.write_data(folder, out / "data"):
        fields = {"origin": f"{DATA_ORIGIN}: {DATA_NOTES[path.stem]}", "licence": LICENCE}
        manifest.record("data", path, fields, out / "manifest.toml")


def main() -> int:
    """Reads the command line and does what it asks."""
    parser = argparse.ArgumentParser(description="Train the small Fashion-MNIST nets.")
    parser.add_argument("--net", choices=[*RECIPES, "data"], help="only this (default: all)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    parser.add_argument("--fashion-mnist", type=Path, default=dataset.DEBIAN_DIR, metavar="DIR")
    parser.add_argument("--holdout", type=int, default=0, help="training images to measure on")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    if not (args.fashion_mnist / "train-images-idx3-ubyte.gz").is_file():
        print(
            f"no Fashion-MNIST in {args.fashion_mnist}: give --fashion-mnist DIR", file=sys.stderr
        )
        return 2
    shipped = args.out / "data" / "fashion_test.npz"
    if (args.net in (None, "data") or not shipped.exists()) and not args.holdout:
        make_data(args.fashion_mnist, args.out)
    for name in RECIPES:
        if args.net in (None, name):
            make_net(name, args.fashion_mnist, args.out, args.holdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
