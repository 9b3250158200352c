"""`ocompress recipes`, and where files for other programs are."""

from __future__ import annotations

from typing import Annotated

import typer

from ocompress.cli import exits
from ocompress.cli import outputs as o
from ocompress.cli.console import Printer

Name = Annotated[str, typer.Argument(help="Recipe whose file to print.", show_default=False)]


def recipes(name: Name = "", as_json: o.Json = False, no_color: o.NoColor = False) -> int:
    """List the recipes that come with ocompress, or print one to start your own from."""
    from ocompress.front.recipe_files import find_recipe, known_recipes
    from ocompress.pipeline import Pipeline
    from ocompress.report import document, tables_recipes

    printer = Printer(as_json=as_json, color=not no_color)
    if name:
        text = find_recipe(name).read_text(encoding="utf-8")
        passes = str(Pipeline.from_recipe(find_recipe(name)))
        body = {"recipe": {"name": name, "passes": passes, "text": text}}
        printer.answer(tables_recipes.one(text), document("recipes", {"name": name}, body))
        return exits.DONE
    known = [tables_recipes.described(path) for path in known_recipes()]
    printer.answer(tables_recipes.listing(known), document("recipes", {}, {"recipes": known}))
    return exits.DONE


def cmake_dir() -> int:
    """Print the folder that a CMakeLists.txt adds to CMAKE_MODULE_PATH for include(ocompress)."""
    from ocompress.front.files import cmake_folder

    typer.echo(str(cmake_folder()))
    return exits.DONE
