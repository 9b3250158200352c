"""Files of jobs: which models, under which settings.

```toml
[defaults]                       # for all jobs
data = "photos.npz"
max_drop = "1%"

[[job]]
model = ["a.onnx", "zoo/*.onnx"] # a list is one job for each entry, files may have wildcards
passes = ["quant", "prune-channels,quant"]
output = "small/{model}-{number}.onnx"
```

Entries are the arguments of `ocompress.optimize`; names of files are relative to the file of jobs.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ocompress.errors import RecipeError
from ocompress.front.api import optimize
from ocompress.front.sending import FILES
from ocompress.io import is_there

_OURS = ("budget", "instruments", "cache", "workers", "scheduler")
"""Arguments that are objects, a folder of one machine, or what the sweep itself has."""
_MOST = 10_000
"""Jobs of a file."""


@dataclass(frozen=True)
class SweepJob:
    """One optimization.

    Attributes:
        number: Its place in the file, from 1.
        options: What `ocompress.optimize` is called with; files are absolute paths, as texts.
        varied: The entries in which jobs differ, as the file has them.
    """

    number: int
    options: Mapping[str, Any]
    varied: Mapping[str, Any]

    @property
    def is_timed(self) -> bool:
        """Whether it measures time on the machine it runs on."""
        return bool(self.options.get("measure", True)) and self._target == "host"

    @property
    def _target(self) -> str:
        return str(self.options.get("target", "host"))


def read_jobs(path: Path) -> list[SweepJob]:
    """Read a file of jobs.

    Raises:
        RecipeError: If it does not parse, an entry is unknown, a model is missing, or two jobs
            would write the same file.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"jobs {str(path)!r} cannot be read: {reason}"
        raise RecipeError(msg) from error
    defaults, tables = content.pop("defaults", {}), content.pop("job", [])
    if content or not isinstance(tables, list) or not tables or not isinstance(defaults, dict):
        other = f"; unknown entry {next(iter(content))!r}" if content else ""
        msg = f"jobs {str(path)!r} must hold one or more [[job]] tables, and may hold [defaults]"
        raise RecipeError(msg + other)
    found: list[dict[str, Any]] = []
    for number, table in enumerate(tables, 1):
        where = f"jobs {str(path)!r}, job {number}"
        if not isinstance(table, dict):
            msg = f"{where} is no table; write [[job]]"
            raise RecipeError(msg)
        more = _one_each(defaults | table, path.parent, where)
        found += itertools.islice(more, _MOST + 1 - len(found))
        if len(found) > _MOST:
            msg = f"{where}: these are more than {_MOST} jobs; divide the file"
            raise RecipeError(msg)
    return _numbered(found, path)


def _one_each(table: Mapping[str, Any], home: Path, where: str) -> Iterator[dict[str, Any]]:
    """Yield the settings of each job of a table: one for each combination of listed entries."""
    known = [n for n in inspect.signature(optimize).parameters if n not in _OURS]
    for name in table:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            msg = f"{where}: unknown entry {name!r}{hint}"
            raise RecipeError(msg)
    if not table.get("model"):
        msg = f'{where} names no model; add model = "in.onnx"'
        raise RecipeError(msg)
    lists = {name: value if isinstance(value, list) else [value] for name, value in table.items()}
    lists["model"] = _models(lists["model"], home, where)
    for name, given in lists.items():
        if not given:
            msg = f"{where}: {name} is an empty list; leave it out, or fill it"
            raise RecipeError(msg)
    for values in itertools.product(*lists.values()):
        yield dict(zip(lists, values, strict=True))


def _models(names: Sequence[Any], home: Path, where: str) -> list[str]:
    found: list[str] = []
    for name in names:
        if not isinstance(name, str) or not name:
            msg = f"{where}: model {name!r} is no name of a file"
            raise RecipeError(msg)
        matching = sorted(map(str, _matching(home, name)))
        if not matching:
            msg = f"{where}: there is no file {name!r} in {str(home)!r}"
            raise RecipeError(msg)
        found += matching
    return list(dict.fromkeys(found))


def _matching(home: Path, name: str) -> Iterator[Path]:
    """Yield the files that a name with wildcards means."""
    path = home / name
    if is_there(path):
        yield path
        return
    root = Path(path.anchor or ".")
    with contextlib.suppress(OSError, ValueError):  # no name of a file, no pattern either
        yield from (found for found in root.glob(str(path.relative_to(root))) if found.is_file())


def _numbered(found: Sequence[dict[str, Any]], path: Path) -> list[SweepJob]:
    names = dict.fromkeys(name for options in found for name in options)
    differ = [n for n in names if n != "output" and len({repr(o.get(n)) for o in found}) > 1]
    jobs, written = [], dict[str, int]()
    read = {_settled(options, path.parent)["model"] for options in found}
    for number, options in enumerate(found, 1):
        settled = _settled(options, path.parent)
        if "output" in options:
            file = _filled(options["output"], options, number, path)
            settled["output"] = str((path.parent / file).absolute())
            if settled["output"] in read - {settled["model"]}:
                msg = (
                    f"jobs {str(path)!r}: job {number} writes {file!r}, the model of another job; "
                    "choose another name"
                )
                raise RecipeError(msg)
            first = written.setdefault(settled["output"], number)
            if first != number:
                varied = ", ".join(f"{{{n}}}" for n in ("number", *differ))
                msg = (
                    f"jobs {str(path)!r}: jobs {first} and {number} both write {file!r}; put what "
                    f"differs into the name: {varied}"
                )
                raise RecipeError(msg)
        jobs.append(SweepJob(number, settled, {n: options[n] for n in differ if n in options}))
    return jobs


def _settled(options: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Return settings in which files that are there have absolute names."""
    found = dict(options)
    for name in (*FILES, "output"):
        value = found.get(name)
        if isinstance(value, str) and is_there(home / value):
            found[name] = str((home / value).absolute())
    return found


def _filled(pattern: object, options: Mapping[str, Any], number: int, path: Path) -> str:
    """Return the name of an output, each `{entry}` replaced by what the job has there."""
    if not isinstance(pattern, str):
        msg = f"jobs {str(path)!r}: output {pattern!r} is no name of a file"
        raise RecipeError(msg)
    values = {name: _as_name(value) for name, value in options.items()}
    try:
        return pattern.format(**values | {"number": number})
    except (AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        known = ", ".join(f"{{{name}}}" for name in ("number", *values))
        msg = f"jobs {str(path)!r}: output {pattern!r} may hold {known} ({error})"
        raise RecipeError(msg) from error


def _as_name(value: object) -> str:
    """Return a value as a part of a name of a file; of a file its name without the suffix."""
    text = Path(value).stem if isinstance(value, str) and value.endswith(".onnx") else str(value)
    return "".join(c if c.isalnum() or c in "-_.=" else "-" for c in text).strip("-")
