"""An ordered list of passes: from text or TOML, and the order constraints checked."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocompress.errors import OptionError, RecipeError
from ocompress.pipeline.base import Pass
from ocompress.pipeline.registry import find
from ocompress.pipeline.textform import parse

FIRST = "canonicalize"
"""The pass every pipeline starts with."""


@dataclass(frozen=True)
class Pipeline:
    """Passes in the order they run; `canonicalize` is put first if it is not there.

    Attributes:
        passes: The passes.
        fixed: Whether passes do what their options say and nothing else: limits and this machine's
            clock judge what they made, and choose nothing. So the same bytes come out whatever the
            machine is busy with.
    """

    passes: tuple[Pass, ...]
    fixed: bool = False

    @staticmethod
    def of(passes: Sequence[Pass], *, fixed: bool = False) -> Pipeline:
        """Make a pipeline.

        Args:
            passes: The passes.
            fixed: Whether limits and clocks choose nothing.

        Raises:
            OptionError: If a pass stands before one that must not come later.
        """
        items = list(passes)
        if not items or items[0].name != FIRST:
            items.insert(0, _first(items))
        for position, item in enumerate(items):
            for later in items[position + 1 :]:
                if later.name in item.after:
                    better = ",".join(str(i) for i in _ordered(items) if i.name != FIRST)
                    msg = f"pass {later.name!r} must come before {item.name!r}; say {better!r}"
                    raise OptionError(msg)
        return Pipeline(tuple(items), fixed)

    @staticmethod
    def parse(text: str) -> Pipeline:
        """Make a pipeline from its text form, `prune{sparsity=0.5},quant`.

        Raises:
            UsageError: For bad syntax, an unknown pass or option, or a bad value.
        """
        return Pipeline.of(Pipeline.items(text))

    @staticmethod
    def items(text: str) -> list[Pass]:
        """Return the passes of a text alone, in any order and without `canonicalize` before them.

        Raises:
            UsageError: As `parse`.
        """
        return [find(name).from_options(given) for name, given in parse(text)]

    @staticmethod
    def from_recipe(path: Path) -> Pipeline:
        """Read a TOML recipe: one `[[pass]]` table per pass, `name` and its options; and `fixed`.

        Raises:
            RecipeError: If the file does not parse or has other entries.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            msg = f"recipe {path} cannot be read: {error}"
            raise RecipeError(msg) from error
        tables = content.pop("pass", [])
        content.pop("description", None)
        fixed = content.pop("fixed", False)
        if not isinstance(fixed, bool):
            msg = f"recipe {path}: fixed is true or false, not {fixed!r}"
            raise RecipeError(msg)
        if content or not isinstance(tables, list) or not tables:
            other = f"; unknown entry {next(iter(content))!r}" if content else ""
            msg = f"recipe {path} must hold one or more [[pass]] tables{other}"
            raise RecipeError(msg)
        return Pipeline.of([_from_table(path, t) for t in tables], fixed=fixed)

    def to_recipe(self, description: str = "") -> str:
        """Return the pipeline as a recipe, every option written out."""
        lines = [f"description = {_toml(description)}"] if description else []
        lines += ["fixed = true"] if self.fixed else []
        for item in self.passes:
            lines += ["", "[[pass]]", f"name = {_toml(item.name)}"]
            given = {key: value for key, value in item.settings().items() if value is not None}
            lines += [f"{key} = {_toml(value)}" for key, value in given.items()]
        return "\n".join(lines).lstrip("\n") + "\n"

    def domains(self) -> frozenset[str]:
        """Return the operator domains that the passes may bring into a model."""
        return frozenset[str]().union(*(item.domains() for item in self.passes))

    def __str__(self) -> str:
        """Return the text form."""
        return ",".join(str(item) for item in self.passes)


def _ordered(items: Sequence[Pass]) -> list[Pass]:
    """Return passes in an order that is allowed, as near to the given one as can be."""
    left, result = list(items), list[Pass]()
    while left:
        free = [i for i in left if not any(o.name in i.after for o in left if o is not i)]
        result.append(free[0] if free else left[0])
        left.remove(result[-1])
    return result


def _first(items: Sequence[Pass]) -> Pass:
    """Return the first pass, which brings models to the opset that others need, if it can."""
    cls = find(FIRST)
    wanted = max((item.lowest_opset() for item in items), default=0)
    spec = next((s for s in cls.options() if s.name == "opset"), None)
    if spec is None or wanted <= spec.default or wanted > (spec.info.at_most or wanted):
        return cls()
    return cls.from_options({"opset": wanted})


def _toml(value: object) -> str:
    """Return the value of an option as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):  # the escapes of JSON are all TOML's
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _from_table(path: Path, table: object) -> Pass:
    given = dict(table) if isinstance(table, Mapping) else {}
    name = given.pop("name", None)
    if not isinstance(name, str):
        msg = f"recipe {path}: a [[pass]] table has no 'name'"
        raise RecipeError(msg)
    return find(name).from_options(given)
