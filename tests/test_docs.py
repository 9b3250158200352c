"""The manual is made from the passes; a stale one fails here."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from ocompress.pipeline import all_passes

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_manual_is_fresh(generator: ModuleType) -> None:
    page = (ROOT / "docs" / "passes.md").read_text(encoding="utf-8")
    assert page == generator.manual(), "run `make docs`"


def test_manual_names_every_option(generator: ModuleType) -> None:
    page = generator.manual()
    for cls in all_passes():
        for spec in cls.options():
            assert f"| `{spec.name}` |" in page, cls.name


PAGES = ["README.md", "CHANGELOG.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
