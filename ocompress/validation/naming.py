"""What `--metric` may say: a unit for all outputs, or one for each output by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ocompress.errors import DataError, OptionError
from ocompress.validation.measures import LossUnit, Measure

NAMES: tuple[str, ...] = ("auto", *(unit.value for unit in LossUnit), "accuracy")
"""Metrics with a name; others are `OUTPUT=NAME`, or `module:function`."""


@dataclass(frozen=True)
class Wanted:
    """Units that somebody asked for.

    Attributes:
        unit: The unit of all outputs that can be counted in it, others do not count; None leaves
            it to the outputs.
        by_output: Units of single outputs, by name.
    """

    unit: LossUnit | None = None
    by_output: Mapping[str, LossUnit] = field(default_factory=dict)

    def check(self, outputs: Mapping[str, object]) -> None:
        """See that the outputs which are named are there.

        Raises:
            DataError: Naming the first that is not.
        """
        for name, unit in self.by_output.items():
            if name not in outputs:
                msg = (
                    f"metric '{name}={unit}': the model has no output {name!r} "
                    f"(it has {', '.join(outputs)})"
                )
                raise DataError(msg)


AUTO = Wanted()
"""Nobody asked for anything: outputs tell."""


def is_own(metric: str) -> bool:
    """Whether a metric is the user's own, `module:function`; names of outputs may have colons."""
    return ":" in metric and "=" not in metric


def wanted_by(metric: str) -> Wanted | None:
    """Return the units that a text asks for, None for accuracy.

    Args:
        metric: `auto`, `iou`, or `boxes=boxes,mask=iou`.

    Raises:
        OptionError: If it is none of that.
    """
    if metric == "accuracy":
        return None
    if "=" not in metric:
        if metric in NAMES:
            return AUTO if metric == "auto" else Wanted(LossUnit(metric))
        known = ", ".join(NAMES)
        msg = f"metric {metric!r} is none of {known}, nor OUTPUT=NAME, nor module:function"
        raise OptionError(msg)
    found: dict[str, LossUnit] = {}
    for item in metric.split(","):
        output, _, unit = item.strip().rpartition("=")
        if not output or unit not in list(LossUnit):
            msg = (
                f"metric {item.strip()!r} must be OUTPUT=NAME, where NAME is one of "
                f"{', '.join(LossUnit)}"
            )
            raise OptionError(msg)
        found[output] = LossUnit(unit)
    return Wanted(by_output=found)


def fit(wanted: Wanted, found: Mapping[str, Measure], guessed: Mapping[str, Measure]) -> None:
    """See that what somebody asked for can be counted so.

    Args:
        wanted: What that is.
        found: How outputs are counted for it.
        guessed: How they would be counted otherwise.

    Raises:
        DataError: Saying of which output it cannot, and what would fit.
    """
    failed = [n for n in wanted.by_output if not found[n].counts and not _is_with(n, found)]
    if not failed and any(m.counts for m in found.values()):
        return
    kinds = ", ".join(f"{name}: {m.unit}" for name, m in guessed.items() if m.counts)
    named = f"{failed[0]}={wanted.by_output[failed[0]]}" if failed else f"{wanted.unit}"
    what = "the output" if failed else "no output of the model"
    does = "does not fit" if failed else "fits"
    msg = f"metric {named!r} {does} {what} ({kinds}); leave --metric out, or give module:function"
    raise DataError(msg)


def _is_with(name: str, found: Mapping[str, Measure]) -> bool:
    """Whether an output is counted with another one."""
    return any(name in m.joined for m in found.values() if m.counts)
