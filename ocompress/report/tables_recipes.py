"""Recipes for the terminal."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from ocompress.pipeline import Pipeline
from ocompress.report.sheet import Sheet


def described(path: Path) -> dict[str, str]:
    """Return the name of a recipe, its passes and what it is for."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    passes = str(Pipeline.from_recipe(path))
    return {"name": path.stem, "passes": passes, "description": content.get("description", "")}


def listing(recipes: Sequence[Mapping[str, str]]) -> Iterator[RenderableType]:
    """Return one row per recipe."""
    table = Sheet()
    table.add_column("recipe", no_wrap=True)
    for heading in ("passes", "what it is for"):
        table.add_column(heading, overflow="fold")
    for recipe in recipes:
        table.add_row(*(Text(recipe[key]) for key in ("name", "passes", "description")))
    yield table


def one(text: str) -> Iterator[RenderableType]:
    """Return the file as it is."""
    yield Text(text.rstrip("\n"), no_wrap=True, overflow="ignore")
