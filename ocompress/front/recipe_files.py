"""Recipes that come with the package, and where they are."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ocompress import io
from ocompress.errors import RecipeError


def find_recipe(text: str) -> Path:
    """Return the file of a recipe: a path, or the name of one in the package.

    Raises:
        RecipeError: Naming the recipes there are.
    """
    if io.is_file(text):
        return Path(text)
    known = {path.stem: path for path in known_recipes()}
    if text in known:
        return known[text]
    msg = f"recipe {text!r} is not a file nor one of {', '.join(known)}"
    raise RecipeError(msg)


def known_recipes() -> list[Path]:
    """Return the recipes that come with the package, by name."""
    folder = Path(str(resources.files("ocompress") / "recipes"))
    return sorted(folder.glob("*.toml"))
