"""Write docs/passes.md from the registered passes; `--check` only says whether it is stale."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from ocompress.pipeline import Family, Pass, all_passes

TARGET = Path(__file__).parent / "passes.md"

_CODES = (
    "Where no choice of a lossy pass holds a limit, all stays as it is: `too-lossy`, `too-slow`, "
    "`larger` (any choice makes the file larger), or `no-longer-runs` (with any choice the model "
    "could not be run)."
)


def manual() -> str:
    """Return the whole page."""
    listed = [cls for cls in all_passes() if _is_ours(cls) and not cls.internal]
    lines = ["# Passes", "", "Made by `make docs` from the passes themselves; do not edit.", ""]
    lines += ["| pass | numerics | data | what it does |", "|---|---|---|---|"]
    lines += [_row(cls) for cls in listed]
    lines += ["", _CODES]
    for cls in listed:
        lines += ["", *_section(cls)]
    return "\n".join(lines) + "\n"


def _is_ours(cls: type[Pass]) -> bool:
    return cls.__module__.startswith("passes.")


def _row(cls: type[Pass]) -> str:
    data = "needs calibration data" if cls.needs_data else ""
    return f"| [`{cls.name}`](#{cls.name}) | {cls.numerics} | {data} | {_summary(cls)} |"


def _summary(cls: type[Pass]) -> str:
    return inspect.getdoc(cls).partition("\n")[0]  # type: ignore[union-attr]


def _section(cls: type[Pass], level: str = "##") -> Iterator[str]:
    yield f"{level} {cls.name}"
    yield ""
    summary, _, body = (inspect.getdoc(cls) or "").partition("\n")
    yield summary
    if body.strip():
        yield from ("", "```text", body.strip("\n"), "```")
    yield from _options(cls)
    if cls.after:
        names = ", ".join(f"`{n}`" for n in cls.after)
        yield from ("", f"Must not come before {names} in a pipeline.")
    if issubclass(cls, Family):
        by_name = {c.name: c for c in all_passes()}
        for member in dict.fromkeys(cls.members):
            yield ""
            if _home(member) is cls:
                yield from _section(by_name[member], level + "#")
            else:
                yield f"{level}# {member}"
                yield f"\nThe same as in [`{_home(member).name}`](#{_home(member).name})."


def _home(member: str) -> type[Family]:
    """Return the first family that a pass is a part of."""
    families = [cls for cls in all_passes() if issubclass(cls, Family)]
    return next(cls for cls in families if member in cls.members)


def _options(cls: type[Pass]) -> Iterator[str]:
    specs = cls.options()
    if not specs:
        return
    yield from ("", "| option | type | default | range | meaning |", "|---|---|---|---|---|")
    for spec in specs:
        default = "" if spec.default in ((), {}, None) else f"`{spec.default}`"
        kind = spec.type_name.replace("|", "\\|")
        text = spec.info.help.replace("|", "\\|")
        yield f"| `{spec.name}` | {kind} | {default} | {spec.range} | {text} |"


def main() -> int:
    """Write or check the page; return the exit code."""
    fresh = manual()
    if "--check" in sys.argv[1:]:
        stale = not TARGET.exists() or TARGET.read_text(encoding="utf-8") != fresh
        if stale:
            sys.stderr.write("docs/passes.md is stale: run make docs\n")
        return int(stale)
    TARGET.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
