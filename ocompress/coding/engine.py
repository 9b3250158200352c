"""How the kernels run: compiled by numba where it is installed, else as plain Python.

Both give the same bytes. numba is imported when something large is coded for the first time, as
the import and loading what it has compiled take longer than a small tensor does.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ocompress.coding import byte_kernel, integer_kernel, kernel

_LARGE = 30_000
"""Steps above which compiled code pays."""
_KERNELS = (kernel, integer_kernel, byte_kernel)
_NEVER_INLINED = ("code_matrix", "code_bytes", "carry", "start", "finish")

_forced: list[bool] = []


@dataclass(frozen=True)
class Engine:
    """One way to run the kernels.

    Attributes:
        compiled: Whether numba has compiled them.
        functions: By name.
    """

    compiled: bool
    functions: dict[str, Callable[..., Any]]

    def numbers(self, content: Sequence[int] | np.ndarray) -> Any:
        """Return integers in the form that the kernels take."""
        if self.compiled:
            return np.array(content, np.int64)
        return content.tolist() if isinstance(content, np.ndarray) else list(content)

    def filled(self, size: int, value: int) -> Any:
        """Return an array of one number."""
        return np.full(size, value, np.int64) if self.compiled else [value] * size

    def room(self, content: bytes | int) -> Any:
        """Return bytes to read, or room for so many."""
        if self.compiled:
            return np.array(np.frombuffer(bytearray(content), np.uint8))
        return bytearray(content)


def engine(steps: int) -> Engine:
    """Return the way to run the kernels that suits the number of steps (values, bytes)."""
    if _forced:
        return _compiled() if _forced[-1] else _plain()
    if not can_compile() or (steps < _LARGE and not _compiled.cache_info().currsize):
        return _plain()
    return _compiled()


def can_compile() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


@contextlib.contextmanager
def forced(*, compiled: bool) -> Iterator[None]:
    """Run the kernels one way, whatever the size."""
    _forced.append(compiled)
    try:
        yield
    finally:
        _forced.pop()


def _sources() -> Iterator[tuple[str, types.FunctionType]]:
    for module in _KERNELS:
        for name, thing in vars(module).items():
            if isinstance(thing, types.FunctionType) and thing.__module__ == module.__name__:
                yield name, thing


@cache
def _plain() -> Engine:
    return Engine(compiled=False, functions=dict(_sources()))


@cache
def _compiled() -> Engine:
    """Compile copies of the functions that call each other's compiled forms."""
    import numba

    jit: Any = numba.njit  # its types know no `_nrt`
    space: dict[str, Any] = {"__name__": kernel.__name__}
    for module in _KERNELS:
        space.update({k: v for k, v in vars(module).items() if not k.startswith("__")})
    stamp = sources_stamp()
    for name, function in _sources():
        copy = types.FunctionType(function.__code__, space, name, function.__defaults__)
        how = "never" if name in _NEVER_INLINED else "always"
        space[name] = jit(inline=how, _nrt=False)(copy)  # nothing is allocated or counted
        _keep(space[name], stamp)
    return Engine(compiled=True, functions={name: space[name] for name, _ in _sources()})


def _keep(dispatcher: Any, stamp: str) -> None:
    """Have numba keep what it compiles for later processes, as long as no kernel changes.

    By itself it looks only at the file of a function, not at those that are inlined into it.
    """
    with contextlib.suppress(RuntimeError, AttributeError):  # no folder, or another numba
        uncached = dispatcher._cache  # noqa: SLF001
        dispatcher.enable_caching()
        files = dispatcher._cache._cache_file  # noqa: SLF001
        if not hasattr(files, "_source_stamp"):
            dispatcher._cache = uncached  # noqa: SLF001
            return
        files._source_stamp = stamp  # noqa: SLF001


def sources_stamp() -> str:
    """Return what tells versions of the kernels apart."""
    digest = hashlib.sha256()
    for module in _KERNELS:
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()
