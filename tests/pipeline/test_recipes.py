"""Every recipe that ships can be read and says what it is for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import ocompress
from ocompress.errors import UsageError
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
    named = {"int8", "sparse-int8", "clean", "smallest"}
    shared = {"deep-compression", "bit-goes-down", "smallest-stock"}
    assert {p.stem for p in RECIPES} >= named | shared


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must hold one or more"),
        ("pass = 3", "must hold one or more"),
        ("pass = [3]", "has no 'name'"),
        ("[[pass]]\nname = 3", "has no 'name'"),
        (f"seed = {'9' * 5000}", "cannot be read"),
        (f"pass = {'[' * 5000}", "cannot be read"),
        ("[[pass]]\nname = 'prune'\nsmallest = inf", "smallest=inf is not a int"),
        (f"[[pass]]\nname = 'prune'\nsparsity = {'9' * 400}", "is not a float"),
    ],
)
def test_a_bad_recipe_is_refused_with_a_sentence(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        Pipeline.from_recipe(path)


def test_a_pipeline_written_as_a_recipe_is_the_same(tmp_path: Path) -> None:
    text = 'prune{sparsity=0.5 exclude=["a \\"b\\"", "/x\\\\y"]},cluster{layers={"/a/*"=3}},quant'
    written = Pipeline.of(Pipeline.parse(text).passes, fixed=True)
    path = tmp_path / "plan.toml"
    path.write_text(written.to_recipe('As "planned".'))
    assert Pipeline.from_recipe(path) == written
    table = tomllib.loads(path.read_text())["pass"][-1]
    assert table["noise_price"] == 0.06  # every option is written out
    assert not Pipeline.parse(text).fixed


def test_fixed_is_true_or_false(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("fixed = 3\n[[pass]]\nname = 'quant'\n")
    with pytest.raises(UsageError, match="fixed is true or false, not 3"):
        Pipeline.from_recipe(path)
