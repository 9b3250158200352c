"""The text form of pipelines: `prune{sparsity=0.5},quant{exclude=[/head/*] per_channel=true}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ocompress.errors import OptionError
from ocompress.pipeline.base import Pass

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<mark>[{}\[\]=,])|(?P<word>[^\s{}\[\]=,"]+))"""
)


def format_pass(item: Pass) -> str:
    """Return `name` or `name{option=value ...}` with the options that differ from defaults."""
    changed = [
        f"{spec.name}={_format(getattr(item, spec.name))}"
        for spec in item.options()
        if getattr(item, spec.name) != spec.default
    ]
    return f"{item.name}{{{' '.join(changed)}}}" if changed else item.name


def _format(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"[{','.join(_format(v) for v in value)}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_format(k)}={_format(v)}" for k, v in value.items()) + "}"
    text = str(value)
    if isinstance(value, str) and (not text or re.search(r'[\s{}\[\]=,"\\]', text)):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return text


def parse(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Split a pipeline text into pass names and their options, values still texts.

    Raises:
        OptionError: Saying at which character the text stops making sense.
    """
    return _Parser(text).pipeline()


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def pipeline(self) -> list[tuple[str, dict[str, Any]]]:
        items: list[tuple[str, dict[str, Any]]] = []
        while self._peek() is not None:
            name = self._word("a pass name")
            given = self._table("}") if self._take("{") else {}
            items.append((name, given))
            if self._peek() is not None and not self._take(","):
                wanted = "',' between passes"
                raise self._error(wanted)
        return items

    def _table(self, closing: str, *, nested: bool = False) -> dict[str, Any]:
        table: dict[str, Any] = {}
        while not self._take(closing):
            key = self._word(f"an option name or {closing!r}")
            if key in table:
                msg = f"option {key!r} is given twice in {self.text!r}"
                raise OptionError(msg)
            if not self._take("="):
                wanted = f"'=' after option {key!r}"
                raise self._error(wanted, _as_list(table, key))
            table[key] = self._value(nested=nested)
            self._take(",")
        return table

    def _value(self, *, nested: bool) -> Any:
        if self._take("["):
            items = []
            while not self._take("]"):
                items.append(self._word("a list item or ']'"))
                self._take(",")
            return items
        if not nested and self._take("{"):  # values of a table are no tables
            return self._table("}", nested=True)
        return self._word("a value")

    def _peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self.text, self.position)

    def _take(self, mark: str) -> bool:
        match = self._peek()
        if match is None or match["mark"] != mark:
            return False
        self.position = match.end()
        return True

    def _word(self, wanted: str) -> str:
        match = self._peek()
        if match is None or match["mark"]:
            raise self._error(wanted)
        self.position = match.end()
        if match["quoted"]:
            return re.sub(r"\\(.)", r"\1", match["quoted"][1:-1])
        return match["word"]

    def _error(self, wanted: str, hint: str = "") -> OptionError:
        rest = self.text[self.position :].strip()[:20]
        found = f"at {rest!r}" if rest else "at the end"
        return OptionError(f"passes {self.text!r}: expected {wanted} {found}{hint}")


def _as_list(table: Mapping[str, Any], word: str) -> str:
    """Return how a list is written, if a word without a value goes on after one."""
    before = next(reversed(list(table.items())), None)
    if before is None or not isinstance(before[1], str):
        return ""
    return f"; a list is written {before[0]}=[{before[1]},{word}]"
