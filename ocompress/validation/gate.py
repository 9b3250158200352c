"""The gate: limits a candidate must keep, read from a TOML file.

| key | limit on |
|---|---|
| `min_sqnr_db` | signal over error of each output, decibels |
| `min_cosine` | cosine of each output with the reference's |
| `max_abs_error` | largest absolute error of each output |
| `max_mean_abs_error` | mean absolute error of each output |
| `max_relative_error` | mean absolute error over mean absolute reference of each output |
| `min_agreement` | share of samples with the same decision, each output, 0 to 1 |
| `max_drop` | loss of the metric if one is given, else of accuracy if all samples have labels, else of each output in its unit (expected accuracy, boxes, texts, masks, cosine, variance) |
| `min_level_sqnr_db` | the candidate unoptimized against itself optimized by ONNX Runtime, each output |
| `max_size_ratio` | bytes of the candidate over bytes of the reference |
| `max_latency_ratio` | median latency of the candidate over the reference's |
| `max_bytes` | bytes of the candidate's file, external data included: `4_000_000`, `"4 MB"`, `"4 MiB"` |
| `max_latency_ms` | median time of one run of the candidate, milliseconds |
| `max_memory` | peak memory of a process that loads the candidate and runs it once, above that of the bare runtime: bytes, or text as for `max_bytes` |
| `allowed_domains` | operator domains beside `ai.onnx`; by default those the reference uses and `ai.onnx.ml` |
| `min_opset`, `max_opset` | version of the standard operator set |

A table `[outputs.NAME]` overrides the limits "of each output" for one output. Every limit must hold
at every optimization level that was compared. A limit whose value was not measured does not hold. A
gate must have at least one limit.

Latency and memory are measured on this machine with the first feed of the data (random numbers without
data) and as many threads as are asked for; limits in milliseconds and bytes of memory therefore belong
to one kind of machine, while ratios carry over. Units of bytes are decimal (kB, MB, GB) or binary (KiB,
MiB, GiB).
"""  # noqa: E501

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocompress.errors import RecipeError

OUTPUT_LIMITS = (
    "min_sqnr_db",
    "min_cosine",
    "max_abs_error",
    "max_mean_abs_error",
    "max_relative_error",
    "min_agreement",
    "min_level_sqnr_db",
)
"""The limits that hold for each output and that `[outputs.NAME]` may override."""
FOOTPRINT_LIMITS = (
    "max_size_ratio",
    "max_latency_ratio",
    "max_bytes",
    "max_latency_ms",
    "max_memory",
)
"""The limits on fields of `Footprint`, by their names."""
_RANGES = {
    "min_agreement": (0, 1),
    "min_cosine": (-1, 1),
    "max_drop": (0, math.inf),
    "max_size_ratio": (0, math.inf),
    "max_latency_ratio": (0, math.inf),
    "max_latency_ms": (0, math.inf),
}
"""Outside these a limit would always or never hold, as a percentage for a share would."""
_MOST = 1 << 63
"""Whole numbers are below this: more bytes has no file, and a float can hold it."""
_SIZES = ("max_bytes", "max_memory")
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20}
_UNITS |= {"GiB": 1 << 30}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKMG]i?B|B)\s*")
_EXAMPLE = "min_agreement = 0.99"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Limits; None is no limit. The module's docstring says what each one means."""

    min_sqnr_db: float | None = None
    min_cosine: float | None = None
    max_abs_error: float | None = None
    max_mean_abs_error: float | None = None
    max_relative_error: float | None = None
    min_agreement: float | None = None
    max_drop: float | None = None
    min_level_sqnr_db: float | None = None
    max_size_ratio: float | None = None
    max_latency_ratio: float | None = None
    max_bytes: int | None = None
    max_latency_ms: float | None = None
    max_memory: int | None = None
    allowed_domains: tuple[str, ...] | None = None
    min_opset: int | None = None
    max_opset: int | None = None
    outputs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    source: str = ""

    @classmethod
    def load(cls, path: Path) -> Gate:
        """Read a gate file.

        Raises:
            RecipeError: If it cannot be read, is not TOML, sets no limit, or has an unknown key
                or a value of the wrong type or out of range.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            msg = f"gate file {str(path)!r} cannot be read: {reason}"
            raise RecipeError(msg) from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, source: str = "gate") -> Gate:
        """Parse the text of a gate file; `source` is what errors call it.

        Raises:
            RecipeError: As `load`.
        """
        try:
            table = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            msg = f"gate file {source!r} is not TOML: {error}"
            raise RecipeError(msg) from error
        kinds = {f.name: str(f.type) for f in dataclasses.fields(cls) if f.name != "source"}
        values: dict[str, Any] = {}
        for key, value in table.items():
            _known(source, key, list(kinds))
            values[key] = _value(source, key, kinds[key], value)
        if not any(value if key == "outputs" else True for key, value in values.items()):
            msg = (
                f"gate file {source!r} sets no limit, so everything would pass; set at least "
                f"one, such as {_EXAMPLE} (known: {', '.join(kinds)})"
            )
            raise RecipeError(msg)
        lowest, highest = values.get("min_opset", 0), values.get("max_opset", math.inf)
        if lowest > highest:
            msg = f"gate file {source!r}: min_opset {lowest} is above max_opset {highest}"
            raise RecipeError(msg)
        return cls(**values, source=source)

    def limit(self, name: str, output: str) -> float | None:
        """Return a limit as it holds for one output."""
        own: float | None = getattr(self, name)
        return self.outputs.get(output, {}).get(name, own)

    @property
    def needs_data(self) -> bool:
        """Whether a limit can only be judged by running the models."""
        names = (*OUTPUT_LIMITS, "max_drop")
        return bool(self.outputs) or any(getattr(self, n) is not None for n in names)

    @property
    def needs_latency(self) -> bool:
        """Whether a limit is on latency, which the caller must measure."""
        return self.max_latency_ratio is not None or self.max_latency_ms is not None

    @property
    def needs_memory(self) -> bool:
        """Whether a limit is on memory, which the caller must measure."""
        return self.max_memory is not None


def _known(source: str, key: str, known: list[str]) -> None:
    if key in known:
        return
    near = difflib.get_close_matches(key.replace("-", "_"), known, 1, 0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    msg = f"gate file {source!r} has the unknown key {key!r}{hint} (known: {', '.join(known)})"
    raise RecipeError(msg)


def _value(source: str, key: str, kind: str, value: Any) -> Any:
    if key == "outputs":
        return _overrides(source, value)
    if key in _SIZES:
        return _bytes(source, key, value)
    if kind.startswith("tuple"):
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise RecipeError(_wrong(source, key, "a list of texts", value))
        return tuple(value)
    if kind.startswith("int"):
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _MOST:
            raise RecipeError(_wrong(source, key, "a whole number", value))
        return value
    return _number(source, key, value)


def _overrides(source: str, value: Any) -> dict[str, dict[str, float]]:
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        raise RecipeError(_wrong(source, "outputs", "a table of tables, [outputs.NAME]", value))
    result: dict[str, dict[str, float]] = {}
    for output, table in value.items():
        for key in table:
            _known(source, key, list(OUTPUT_LIMITS))
        if table:
            result[output] = {
                k: _number(source, f"outputs.{output}.{k}", v) for k, v in table.items()
            }
    return result


def _bytes(source: str, key: str, value: Any) -> int:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is not None and found[2] in _UNITS:
        value = float(found[1]) * _UNITS[found[2]]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MOST:
        wanted = 'a number of bytes above 0, or text with a unit such as "4 MB" or "4 MiB"'
        raise RecipeError(_wrong(source, key, wanted, value))
    return int(value)


def _number(source: str, key: str, value: Any) -> float:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # an integer that no float can hold
            number = float(value)
    if math.isnan(number):
        raise RecipeError(_wrong(source, key, "a number", value))
    low, high = _RANGES.get(key.rpartition(".")[2], (-math.inf, math.inf))
    if not low <= number <= high:
        raise RecipeError(_wrong(source, key, f"within {low} to {high}", value))
    return number


def _wrong(source: str, key: str, wanted: str, value: Any) -> str:
    return f"gate file {source!r}: {key} must be {wanted}, not {value!r}"
