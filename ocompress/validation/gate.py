"""The gate: limits a candidate must keep, read from a TOML file.

| key | limit on |
|---|---|
| `min_sqnr_db` | signal over error of each output, decibels |
| `min_cosine` | cosine of each output with the reference's |
| `max_abs_error` | largest absolute error of each output |
| `max_mean_abs_error` | mean absolute error of each output |
| `max_relative_error` | mean absolute error over mean absolute reference of each output |
| `min_agreement` | share of samples with the same decision, each output, 0 to 1 |
| `max_drop` | loss of the metric if one is given, else of accuracy if the data have labels, else 1 - agreement |
| `min_level_sqnr_db` | the candidate unoptimized against itself optimized by ONNX Runtime, each output |
| `max_size_ratio` | bytes of the candidate over bytes of the reference |
| `max_latency_ratio` | median latency of the candidate over the reference's |
| `allowed_domains` | operator domains beside `ai.onnx`; by default those the reference uses and `ai.onnx.ml` |
| `min_opset`, `max_opset` | version of the standard operator set |

A table `[outputs.NAME]` overrides the limits "of each output" for one output. Every limit must hold
at every optimization level that was compared. A limit whose value was not measured does not hold.
"""  # noqa: E501

from __future__ import annotations

import dataclasses
import difflib
import math
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
_RANGES = {"min_agreement": (0, 1), "min_cosine": (-1, 1)}
"""Outside these a limit would always or never hold, as a percentage for a share would."""


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
    allowed_domains: tuple[str, ...] | None = None
    min_opset: int | None = None
    max_opset: int | None = None
    outputs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    source: str = ""

    @classmethod
    def load(cls, path: Path) -> Gate:
        """Read a gate file.

        Raises:
            RecipeError: If it cannot be read, is not TOML, or has an unknown key or a value of
                the wrong type or out of range.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
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
        except tomllib.TOMLDecodeError as error:
            msg = f"gate file {source!r} is not TOML: {error}"
            raise RecipeError(msg) from error
        kinds = {f.name: str(f.type) for f in dataclasses.fields(cls) if f.name != "source"}
        values: dict[str, Any] = {}
        for key, value in table.items():
            _known(source, key, list(kinds))
            values[key] = _value(source, key, kinds[key], value)
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
        return self.max_latency_ratio is not None


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
    if kind.startswith("tuple"):
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise RecipeError(_wrong(source, key, "a list of texts", value))
        return tuple(value)
    if kind.startswith("int"):
        if isinstance(value, bool) or not isinstance(value, int):
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
        result[output] = {k: _number(source, f"outputs.{output}.{k}", v) for k, v in table.items()}
    return result


def _number(source: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise RecipeError(_wrong(source, key, "a number", value))
    low, high = _RANGES.get(key.rpartition(".")[2], (-math.inf, math.inf))
    if not low <= value <= high:
        raise RecipeError(_wrong(source, key, f"within {low} to {high}", value))
    return float(value)


def _wrong(source: str, key: str, wanted: str, value: Any) -> str:
    return f"gate file {source!r}: {key} must be {wanted}, not {value!r}"
