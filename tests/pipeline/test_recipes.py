"""Every recipe that ships can be read and says what it is for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import ocompress
from ocompress.pipeline import Pipeline

RECIPES = sorted((Path(ocompress.__file__).parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipe_is_read(path: Path) -> None:
    content = tomllib.loads(path.read_text())
    assert content["description"].endswith(".")
    names = [item.name for item in Pipeline.from_recipe(path).passes]
    assert names[0] == "canonicalize"
    assert names[-1] == content["pass"][-1]["name"]


def test_some_recipes_ship() -> None:
    assert {p.stem for p in RECIPES} >= {"int8", "sparse-int8", "clean"}
