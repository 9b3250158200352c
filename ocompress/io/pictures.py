"""Folders of images, prepared as a table says; needs the extra `images` (pillow)."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ocompress.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
TABLE = "preprocess.toml"
_MODES = {"RGB": "RGB", "BGR": "RGB", "GRAY": "L"}
_MOST_PIXELS = 1 << 27
"""Pixels that an image may have on its way to the model; pillow opens no larger ones either."""
_LARGEST_NUMBER = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """What to do with each image, in this order: resize, crop, scale, normalize, lay out.

    Attributes:
        size: Height and width that the model gets, pixels.
        crop: Fraction of the resized image that the central crop keeps: the shorter side becomes
            `size / crop`. None stretches the image to `size` without cropping.
        color: `RGB`, `BGR` or `GRAY`.
        layout: `NCHW` or `NHWC`.
        scale: Factor applied to pixel values 0 to 255.
        mean: Per channel, subtracted after scaling.
        std: Per channel, divided by after that.
        interpolation: `bilinear`, `bicubic`, `lanczos` or `nearest`.
    """

    size: tuple[int, int]
    crop: float | None = None
    color: str = "RGB"
    layout: str = "NCHW"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    interpolation: str = "bilinear"

    @staticmethod
    def read(path: Path) -> Preprocess:
        """Read the table.

        Raises:
            DataError: If it is missing, does not parse, or holds something unknown.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            msg = (
                f"a folder of images needs a preprocessing table: write {str(path)!r} with at "
                "least size = [height, width]"
            )
            raise DataError(msg) from error
        except (OSError, ValueError, RecursionError) as error:
            msg = f"preprocessing table {str(path)!r} cannot be read: {error}"
            raise DataError(msg) from error
        known = [f.name for f in fields(Preprocess)]
        unknown = [k for k in table if k not in known]
        if unknown or "size" not in table:
            wrong = f"has unknown entry {unknown[0]!r}" if unknown else "lacks 'size'"
            msg = f"preprocessing table {str(path)!r} {wrong} (known: {', '.join(known)})"
            raise DataError(msg)
        entries: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in table.items()
        }
        made = Preprocess(**entries)
        made._check(path)
        return made

    def _check(self, path: Path) -> None:
        channels = 1 if self.color == "GRAY" else 3
        rules = {
            "size": _is_size(self.size),
            "crop": self.crop is None or (_is_number(self.crop) and 0 < self.crop <= 1),
            "color": self.color in tuple(_MODES),
            "layout": self.layout in ("NCHW", "NHWC"),
            "scale": _is_number(self.scale),
            "mean": len(_numbers(self.mean)) in (1, channels),
            "std": len(_numbers(self.std)) in (1, channels) and 0 not in self.std,
            "interpolation": self.interpolation in ("bilinear", "bicubic", "lanczos", "nearest"),
        }
        for name, right in rules.items():
            if not right:
                msg = f"preprocessing table {str(path)!r}: bad {name} {getattr(self, name)!r}"
                raise DataError(msg)


def _is_number(value: object) -> bool:
    """Whether an entry of a table is a number that a float32 can hold; NaN and infinity are not."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER
    )


def _is_size(value: object) -> bool:
    """Whether an entry is a height and a width of an image that can be held."""
    listed = _numbers(value)
    if len(listed) != 2 or not all(isinstance(v, int) and v > 0 for v in listed):
        return False
    return math.prod(listed) <= _MOST_PIXELS


def _numbers(value: object) -> tuple[float, ...]:
    """Return the numbers that an entry lists, nothing if it lists anything else."""
    listed = value if isinstance(value, tuple) else ()
    return listed if all(_is_number(v) for v in listed) else ()


@dataclass(frozen=True)
class ImageArray:
    """Images as an array of N samples, decoded when they are read."""

    files: tuple[Path, ...]
    table: Preprocess
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents, in the table's layout."""
        channels = 1 if self.table.color == "GRAY" else 3
        height, width = self.table.size
        inner = (
            (channels, height, width) if self.table.layout == "NCHW" else (height, width, channels)
        )
        return (len(self.files), *inner)

    def whole(self) -> np.ndarray:
        """Decode all images."""
        return next(self.rows(len(self.files), len(self.files)))

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        """Decode the first `stop` images, `group` at a time."""
        for start in range(0, stop, group):
            files = self.files[start : min(start + group, stop)]
            yield np.stack([self._decode(f) for f in files])

    def picked(self, keep: np.ndarray) -> ImageArray:
        """Return some of the images; `keep` says which, bool [images]."""
        chosen = tuple(f for f, kept in zip(self.files, keep, strict=False) if kept)
        return replace(self, files=chosen)

    def _decode(self, path: Path) -> np.ndarray:
        image_module = _pillow()
        try:
            with image_module.open(path) as file:
                image = file.convert(_MODES[self.table.color])
                pixels = np.asarray(_resize(image, self.table, image_module), np.float32)
        except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
            msg = f"image {str(path)!r} cannot be decoded: {error}"
            raise DataError(msg) from error
        pixels = pixels.reshape(*self.table.size, -1)
        if self.table.color == "BGR":
            pixels = pixels[:, :, ::-1]
        scaled = pixels * np.float32(self.table.scale)
        mean, std = np.array(self.table.mean, np.float32), np.array(self.table.std, np.float32)
        scaled = (scaled - mean) / std
        if self.table.layout == "NCHW":
            scaled = scaled.transpose(2, 0, 1)
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            scaled = np.clip(np.rint(scaled), limits.min, limits.max)
        return np.ascontiguousarray(scaled.astype(self.dtype))


def _resize(image: Any, table: Preprocess, module: Any) -> Any:
    method = getattr(module.Resampling, table.interpolation.upper())
    height, width = table.size
    if table.crop is None:
        return image.resize((width, height), method)
    factor = max(height / table.crop / image.height, width / table.crop / image.width)
    wide, high = round(image.width * factor), round(image.height * factor)
    if wide * high > _MOST_PIXELS:
        msg = f"with crop {table.crop:g} it would be resized to {wide} x {high} pixels"
        raise ValueError(msg)
    left, top = (wide - width) // 2, (high - height) // 2
    return image.resize((wide, high), method).crop((left, top, left + width, top + height))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        msg = "reading images needs pillow; install it with: pip install 'ocompress[images]'"
        raise DataError(msg) from error
    return Image
