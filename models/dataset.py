"""Fashion-MNIST: reading the original idx files, the committed npz files, and augmentation."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import torch

DEBIAN_DIR = Path("/usr/share/datasets/fashion-mnist")
CALIB_IMAGES = 1024
CALIB_SEED = 2024
MEAN = 0.2860  # of the pixels of the training images, in [0, 1]
STD = 0.3530


def read_idx(path: Path) -> np.ndarray:
    """Reads one gzip-compressed idx file of unsigned bytes.

    Args:
        path: The file, for example `train-images-idx3-ubyte.gz`.

    Returns:
        The array with the shape that the header tells.

    Raises:
        ValueError: The file is no idx file of unsigned bytes.
    """
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an idx file of unsigned bytes")
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images and labels of one part of Fashion-MNIST.

    Args:
        folder: The folder with the four idx files.
        part: `train` or `t10k`.

    Returns:
        The images as uint8 [N,1,28,28] and the labels as int64 [N].
    """
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    return images[:, None], labels.astype(np.int64)


def to_unit(images: np.ndarray) -> np.ndarray:
    """Turns bytes into float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an npz file whose bytes depend on nothing but the arrays.

    The members are packed with bzip2, which `numpy.load` reads and which is both smaller and
    faster than LZMA for pixels held as float32.

    Args:
        path: The file to write.
        arrays: The arrays by key.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_BZIP2
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, buffer.getvalue())


def write_data(folder: Path, out: Path) -> list[Path]:
    """Writes the calibration images and the test set that the repository ships.

    Args:
        folder: The folder with the four idx files.
        out: The folder to write into.

    Returns:
        The two files.
    """
    out.mkdir(parents=True, exist_ok=True)
    images, _ = read_part(folder, "train")
    pick = np.random.RandomState(CALIB_SEED).permutation(len(images))[:CALIB_IMAGES]
    calib = out / "fashion_calib.npz"
    write_npz(calib, {"image": to_unit(images[pick])})
    images, labels = read_part(folder, "t10k")
    test = out / "fashion_test.npz"
    write_npz(test, {"image": to_unit(images), "label": labels})
    return [calib, test]


def augment(batch: torch.Tensor, shift: int, erase: int, rng: torch.Generator) -> torch.Tensor:
    """Moves, mirrors and partly erases each image of a batch at random.

    Args:
        batch: Images [N,1,H,W].
        shift: The most pixels an image moves in each direction; the gap is filled with zeros.
        erase: The side of the square set to zero in each image; 0 erases nothing.
        rng: The source of randomness.

    Returns:
        A new batch of the same shape.
    """
    count, _, height, width = batch.shape
    moves = torch.randint(-shift, shift + 1, (count, 2, 1), generator=rng)
    flips = torch.randint(0, 2, (count, 1), generator=rng) == 1
    rows = torch.arange(height) + moves[:, 0] + shift
    cols = torch.arange(width).expand(count, width)
    cols = torch.where(flips, width - 1 - cols, cols) + moves[:, 1] + shift
    padded = torch.nn.functional.pad(batch[:, 0], (shift,) * 4)
    out = padded[torch.arange(count)[:, None, None], rows[:, :, None], cols[:, None, :]]
    if erase:
        corner = torch.randint(-erase // 2, height - erase // 2, (count, 2, 1), generator=rng)
        hit_y = (torch.arange(height) >= corner[:, 0]) & (
            torch.arange(height) < corner[:, 0] + erase
        )
        hit_x = (torch.arange(width) >= corner[:, 1]) & (torch.arange(width) < corner[:, 1] + erase)
        out = out.masked_fill(hit_y[:, :, None] & hit_x[:, None, :], 0.0)
    return out[:, None]
