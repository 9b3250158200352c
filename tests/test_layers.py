"""The doors between rooms: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room may import itself, what it names here, and nothing else of the project.
FLOOR = {"errors", "diagnostics", "stopping", "wording"}
ALLOWED = {
    "errors": set(),
    "diagnostics": set(),
    "stopping": {"errors"},
    "wording": set(),
    "blas": set(),
    "memory": set(),
    "coding": set(),
    "archive": FLOOR | {"coding"},
    "ir": FLOOR | {"coding"},
    "io": FLOOR | {"ir", "runtime", "archive"},
    "workers": FLOOR,
    "failures": set(),
    "runtime": FLOOR | {"ir", "failures", "memory"},
    "targets": FLOOR | {"ir", "io", "runtime"},
    "analysis": FLOOR | {"ir", "io", "runtime", "memory"},
    "planning": FLOOR | {"ir", "targets", "analysis", "coding"},
    "pipeline": FLOOR | {"ir", "io", "targets", "analysis", "planning", "coding", "blas"},
}
ALLOWED["training"] = FLOOR | {"ir", "io", "runtime", "analysis", "archive"}
ALLOWED["lossy"] = ALLOWED["pipeline"] | {"pipeline"}
ALLOWED["storage"] = ALLOWED["pipeline"] | {"pipeline"}
ALLOWED["validation"] = ALLOWED["pipeline"] | {"pipeline", "runtime"}
ALLOWED["profiling"] = ALLOWED["validation"]
ALLOWED["auto"] = ALLOWED["validation"] - {"runtime"} | {"validation", "profiling"}
ALLOWED["report"] = ALLOWED["validation"] | {"validation", "profiling", "auto"}
ALLOWED["front"] = ALLOWED["report"] | {"report", "archive", "coding", "workers"}
ALLOWED["cli"] = ALLOWED["front"] | {"front"}

# What passes stand on, ours like anybody's: by room, its modules ("" is the room itself). The short
# list for a lossy pass of a third party is in ocompress/lossy/__init__.py.
PUBLIC = {
    "analysis": "boundary_layers calibrators channels linear_layer linear_rows observe one_layer "
    "padding portions quantized ranges regression running scales second_moments segment_runner "
    "sensitivity shapes spill_store staged statistics weight_form windows work",
    "archive": "cosines fastfood fastfood_rounding grids tied_places",
    "coding": "",
    "diagnostics": "",
    "errors": "",
    "io": "dataset holdout loaded",
    "ir": "clone edit inference joined onnx_api packed query schemas text",
    "lossy": "ablation applying channel_fisher engine feedback fisher input_moments inverses "
    "layer_times layer_weights least_squares refit table_proposal",
    "pipeline": "goals naming unspoken",
    "planning": "partition",
    "profiling": "latency run_time",
    "runtime": "",
    "stopping": "",
    "targets": "",
    "training": "distillation settings",
}

FRAMEWORKS = {
    "onnx": {"ir", "io"},
    "onnxruntime": {"runtime"},
    "onnx_graphsurgeon": {"ir"},
    "threadpoolctl": {"blas"},
    "torch": {"training"},
    "distributed": {"workers"},
}
# Copied to devices and started there by itself: the one other file with a framework, and alone.
SHIPPED = {"ocompress/targets/runner.py": {"onnxruntime"}}
LONGEST = 50
"""Lines that a function has at most, beside its docstring."""
# They take dozens of options, one a line: here the lines of the body alone count.
LISTS_OF_OPTIONS = {
    ("ocompress/cli/optimize.py", "optimize"),
    ("ocompress/cli/plan.py", "plan"),
    ("ocompress/front/api.py", "optimize"),
}
FILES = sorted(p for top in ("ocompress", "passes") for p in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names a file imports, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "ocompress" and len(parts) > 1 else parts[0]


def violations(path: Path) -> list[str]:
    here = room(path)
    shipped = SHIPPED.get(path.relative_to(ROOT).as_posix(), set())
    found = []
    for name in imports(path):
        top, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if top in FRAMEWORKS and here not in FRAMEWORKS[top] and top not in shipped:
            found.append(f"{here} imports {top}")
        if top == "passes" and here != "passes":
            found.append(f"{here} imports the passes")
        if top == "ocompress" and shipped:
            found.append(f"{path.name} is shipped alone and imports {name}")
        inside = top == "ocompress" and here in ALLOWED and there not in ("", "__version__")
        if inside and there != here and there not in ALLOWED[here]:
            found.append(f"{here} imports {there}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_keep_the_doors(path: Path) -> None:
    assert violations(path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def long_functions(path: Path) -> list[str]:
    """Return the functions of a file that are too long, without their docstrings."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0]
        is_options = (path.relative_to(ROOT).as_posix(), node.name) in LISTS_OF_OPTIONS
        start = first.lineno if is_options else node.lineno
        lines = (node.end_lineno or 0) - start + 1
        if ast.get_docstring(node) is not None:
            lines -= (first.end_lineno or 0) - first.lineno + 1
        if lines > LONGEST:
            found.append(f"{node.name} of {lines} lines")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_short(path: Path) -> None:
    assert long_functions(path) == []


def test_a_long_function_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_layers.ROOT", tmp_path)
    source = tmp_path / "long.py"
    docstring = '    """Say it\n' + "    at length.\n" * 60 + '    """\n'
    source.write_text("class A:\n" + "  def f():\n" + "    pass\n" * (LONGEST - 1))
    assert long_functions(source) == []
    source.write_text("def f():\n" + docstring + "    pass\n" * (LONGEST - 1))
    assert long_functions(source) == []
    source.write_text("class A:\n" + "  async def f():\n" + "    pass\n" * LONGEST)
    assert long_functions(source) == [f"f of {LONGEST + 1} lines"]


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_passes_stand_on_the_public_surface() -> None:
    named = {f"ocompress.{room}.{m}" for room, text in PUBLIC.items() for m in text.split()}
    named |= {f"ocompress.{room}" for room in PUBLIC}
    used = {
        name
        for path in FILES
        if room(path) == "passes"
        for name in imports(path)
        if name.startswith("ocompress.") and _is_module(name)
    }
    assert used - named == set()  # a new one is a decision, made in PUBLIC
    assert {name for name in named if name.count(".") == 2} - used == set()


def test_every_room_has_its_doors() -> None:
    rooms = {room(p) for p in FILES} - {"passes", "__init__", "__main__"}
    assert rooms <= set(ALLOWED)


def test_a_forbidden_import_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_layers.ROOT", tmp_path)
    bad = tmp_path / "ocompress" / "ir" / "bad.py"
    bad.parent.mkdir(parents=True)
    bad.write_text("import onnxruntime\nfrom ocompress.pipeline import Pass\nimport passes\n")
    assert violations(bad) == [
        "ir imports onnxruntime",
        "ir imports pipeline",
        "ir imports pipeline",
        "ir imports the passes",
    ]
