"""Rendered text for the OCR nets: lines for recognition, pages for detection. Seeded.

The functions are data sources of the form `module:function`, e.g. `--data
benchmarks.rendered:lines_to_calibrate` from the project's root. Fonts are every TrueType font found
under /usr/share/fonts, else the one that Pillow brings.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HEIGHT = 48
TEXT = (
    "the quick brown fox jumps over a lazy dog while network compression engine pipeline weight "
    "tensor Invoice Total Amount Date Street Road 2024 1,299.00 #42 Order No. Paris London Berlin "
    "hello world value kernel Integer float 07:45 (c) e-mail user@host.org 50% A/B x=3 [ok] Zug"
)
WORDS = TEXT.split()
Feed = dict[str, np.ndarray]


@cache
def _fonts() -> tuple[str, ...]:
    found = sorted(str(p) for p in Path("/usr/share/fonts").rglob("*.ttf"))
    return tuple(f for f in found if not any(w in f.lower() for w in ("emoji", "symbol", "math")))


def _font(rng: random.Random, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    fonts = _fonts()
    return ImageFont.truetype(rng.choice(fonts), size) if fonts else ImageFont.load_default(size)


def _colour(rng: random.Random, low: int, high: int) -> tuple[int, int, int]:
    return (rng.randint(low, high), rng.randint(low, high), rng.randint(low, high))


def line(seed: int) -> tuple[str, np.ndarray]:
    """Render one noisy line of text.

    Returns:
        The text, and the image as the recognition net wants it: BGR in [-1, 1], float32
        [1, 3, 48, width], width a multiple of 8.
    """
    rng = random.Random(seed)
    text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 5)))
    font = _font(rng, rng.randint(24, 36))
    box = ImageDraw.Draw(Image.new("RGB", (8, 8))).textbbox((0, 0), text, font=font)
    size = (int(box[2]) + 16, int(box[3]) + 14)
    image = Image.new("RGB", size, _colour(rng, 180, 255))
    ImageDraw.Draw(image).text((8, 5), text, fill=_colour(rng, 0, 90), font=font)
    noise = np.random.default_rng(seed).standard_normal((size[1], size[0], 1))
    pixels = np.asarray(image, np.float32) + noise * rng.uniform(0, 12)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    width = max(32, round(size[0] * HEIGHT / size[1] / 8) * 8)
    pixels = np.asarray(image.resize((width, HEIGHT), Image.Resampling.BILINEAR), np.float32)
    planes = (pixels[:, :, ::-1] / 255 - 0.5) / 0.5
    return text, np.ascontiguousarray(planes.transpose(2, 0, 1)[None], np.float32)


def page(seed: int, height: int, width: int) -> np.ndarray:
    """Render a page of text as the detection net wants it: float32 [1, 3, height, width]."""
    rng = random.Random(seed)
    image = Image.new("RGB", (width, height), _colour(rng, 200, 255))
    draw, top = ImageDraw.Draw(image), 8
    while top < height - 30:
        text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 8)))
        font = _font(rng, rng.randint(14, 30))
        draw.text((rng.randint(5, 60), top), text, fill=_colour(rng, 0, 90), font=font)
        top += rng.randint(34, 60)
    planes = np.asarray(image, np.float32)[:, :, ::-1] / 255
    planes = (planes - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return np.ascontiguousarray(planes.transpose(2, 0, 1)[None], np.float32)


def lines_to_calibrate() -> list[Feed]:
    """Return 64 lines."""
    return [{"x": line(10_000 + i)[1]} for i in range(64)]


def lines_to_evaluate() -> list[Feed]:
    """Return 300 other lines."""
    return [{"x": line(i)[1]} for i in range(300)]


def pages_to_calibrate() -> list[Feed]:
    """Return 16 pages of three sizes."""
    sizes = [(320, 480), (480, 480), (640, 320)]
    return [{"x": page(100 + i, *sizes[i % 3])} for i in range(16)]


def pages_to_evaluate() -> list[Feed]:
    """Return 16 other pages of four sizes."""
    sizes = [(320, 480), (480, 480), (640, 640), (352, 736)]
    return [{"x": page(i, *sizes[i % 4])} for i in range(16)]
