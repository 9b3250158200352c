"""Options of passes: declared once as fields, read from Python, text, TOML and the shell."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ocompress.errors import OptionError

_META = "ocompress"


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """What is known of one option beside its type and default."""

    help: str
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()


def option(
    default: Any,
    *,
    help: str,  # noqa: A002  (the word users of argparse, click and typer know)
    at_least: float | None = None,
    at_most: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """Declare a field of a pass as an option.

    Args:
        default: Value when none is given; a dict is copied per instance.
        help: One sentence with unit and consequence.
        at_least: Smallest number allowed.
        at_most: Largest number allowed.
        choices: The words allowed, for a text option.
    """
    info = OptionInfo(help, at_least, at_most, tuple(choices))
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata={_META: info})
    return dataclasses.field(default=default, metadata={_META: info})


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option of a pass, as help texts and documents show it."""

    name: str
    type: Any
    default: Any
    info: OptionInfo

    @property
    def type_name(self) -> str:
        """The type in words: `float`, `text`, `list`, `list of integers`, `table`, or choices."""
        if self.info.choices:
            return "|".join(self.info.choices)
        kind, optional = _strip_optional(self.type)
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            word = "|".join(kind)
        else:
            origin = typing.get_origin(kind)
            word = {str: "text", tuple: "list", dict: "table"}.get(
                origin or kind, getattr(kind, "__name__", str(kind))
            )
            if origin is tuple and typing.get_args(kind)[0] is int:
                word = "list of integers"
        return f"{word} or none" if optional else word

    @property
    def range(self) -> str:
        """The numbers allowed, empty when any is."""
        low, high = self.info.at_least, self.info.at_most
        if low is None and high is None:
            return ""
        return f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"


def specs(cls: type) -> list[OptionSpec]:
    """Return the options of a pass class, in order of declaration."""
    hints = typing.get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        info = field.metadata.get(_META)
        if info is None:
            continue
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        found.append(OptionSpec(field.name, hints[field.name], default, info))
    return found


def coerce(owner: str, known: list[OptionSpec], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check names and turn texts into the declared types.

    Raises:
        OptionError: For an unknown name, naming the known ones and the nearest spelling, or a
            value of the wrong type.
    """
    by_name = {spec.name: spec for spec in known}
    result = {}
    for raw, value in given.items():
        name = raw.replace("-", "_")
        if name not in by_name:
            raise OptionError(_unknown(owner, raw, list(by_name)))
        result[name] = _coerce(owner, by_name[name], value)
    return result


def check(owner: str, known: list[OptionSpec], instance: object) -> None:
    """Check ranges and choices of an instance's options.

    Raises:
        OptionError: Naming the option, the value and what is allowed.
    """
    for spec in known:
        value = getattr(instance, spec.name)
        info = spec.info
        if info.choices and value is not None:
            for one in value if isinstance(value, tuple) else (value,):
                _check_choice(f"{owner}: {spec.name}={one!r}", one, info.choices)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        low = info.at_least is not None and not value >= info.at_least
        high = info.at_most is not None and not value <= info.at_most
        if low or high:
            msg = f"{owner}: {spec.name}={value!r} is outside {spec.range}"
            raise OptionError(msg)


def _check_choice(what: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        msg = f"{what} is not one of {', '.join(choices)}{hint}"
        raise OptionError(msg)


def _unknown(owner: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.replace("-", "_"), known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listing = f"it has {', '.join(known)}" if known else "it has none"
    return f"{owner} has no option {name!r}{hint} ({listing})"


def _strip_optional(kind: Any) -> tuple[Any, bool]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [m for m in typing.get_args(kind) if m is not type(None)]
        if len(members) == 1:
            return members[0], True
    return kind, False


def _coerce(owner: str, spec: OptionSpec, value: Any) -> Any:
    kind, optional = _strip_optional(spec.type)
    if optional and (value is None or value == "none"):
        return None
    try:
        return _convert(kind, value)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"{owner}: {spec.name}={value!r} is not a {spec.type_name}"
        raise OptionError(msg) from error


def _convert(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if kind is bool:
        return _to_bool(value)
    if kind in (int, float):
        if isinstance(value, bool):
            raise TypeError
        number = kind(value)
        if kind is int and isinstance(value, float) and value != number:
            raise ValueError
        return number
    if kind is str:
        if not isinstance(value, str | int | float):
            raise TypeError
        return str(value)
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(typing.get_args(kind)[0], item) for item in items)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise TypeError
        return {str(k): _convert(typing.get_args(kind)[1], v) for k, v in value.items()}
    return kind(value)


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError
