"""Plans whose models are built by workers: processes of this machine, or of a cluster.

What workers open is what the plan opened: the request, the data, the model, so that each judges by
the same samples. It goes to each worker once, and what a worker has found out about the model stays
there for its next call.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ocompress.auto import Chain, Made, Workshop
from ocompress.auto.families import FamilyKind
from ocompress.errors import DataError
from ocompress.front.bench import Bench
from ocompress.front.choosing import Choice
from ocompress.front.measuring import clock
from ocompress.front.plans import Planning
from ocompress.front.request import Request
from ocompress.front.running import Ending, at
from ocompress.front.sending import parcels_of
from ocompress.io import load_model, model_from, save_model
from ocompress.ir import Model, to_proto
from ocompress.pipeline import all_passes
from ocompress.stopping import folder_for, time_limit
from ocompress.workers import Parcel, Workers, unpacked

Clock = Callable[[Any], float | None]


@dataclass(frozen=True)
class Errand:
    """What workers open before they build anything.

    Attributes:
        request: What was asked, but for files that come as parcels.
        planning: What the plan is for.
        model: Where the model lies; empty if it comes as a parcel.
        measured: Where workers of this machine keep what they measured for each other; None
            elsewhere.
        names: The settings whose files come as parcels.
    """

    request: Request
    planning: Planning
    model: str
    measured: Path | None = None
    names: tuple[str, ...] = ()


class Team:
    """Builders on workers."""

    def __init__(self, pool: Workers, bench: Bench, planning: Planning) -> None:
        """Pack what they need.

        Args:
            pool: The workers.
            bench: The original, and what was asked.
            planning: What the plan is for.

        Raises:
            DataError: If the data cannot be sent.
        """
        self.count = pool.count
        self._pool, self._timed = pool, bench.timed is not None
        self._folder = folder_for(self)
        model = bench.path
        if model is None:
            model = self._folder / "model.onnx"
            save_model(bench.original, model)
        request = replace(bench.request, target=bench.request.device)  # not the worker's own
        parcels = [] if pool.here else parcels_of({**vars(request), "model": model})
        names = tuple(name for name, _ in parcels)
        if not pool.here:
            absent: dict[str, Any] = dict.fromkeys(set(names) - {"model"})
            request = replace(request, cache=None, **absent)
        alone = replace(planning, workers=1, scheduler="", compare=())
        path, measured = (str(model), self._folder / "measured") if pool.here else ("", None)
        errand = Errand(request, alone, path, measured, names)
        packed = self._packed(errand)
        self._given: list[Any] = [str(packed) if pool.here else Parcel.of(packed)]
        self._given += [parcel for _, parcel in parcels]
        for number in range(pool.count):  # while there is nothing to build side by side
            pool.submit(open_there, *self._given, near=[f"opening {number}"])

    def begin(self, chain: Chain, seconds: float) -> Future[Made]:
        """Have a worker build a chain; those with the same first passes go to the same one."""
        near = in_common(chain)
        return self._pool.submit(build_there, chain, seconds, self._timed, *self._given, near=near)

    def clock(self, here: Clock | None) -> Clock | None:
        """Return what times models that came back: workers of a cluster that may, or else `here`.

        Args:
            here: Times them in this process; None where nothing is timed.
        """
        if here is None:
            return None
        if self._pool.here or not self._pool.timers:
            return lambda proto: here(model_from(proto))
        return lambda proto: self._pool.submit(time_there, proto, *self._given, timed=True).result()

    def _packed(self, errand: Errand) -> Path:
        file = self._folder / "errand.pickle"
        try:
            file.write_bytes(pickle.dumps(errand))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            msg = (
                f"the data cannot be sent to workers ({error}); give a file, a folder, arrays or "
                "module:function, or build in one process"
            )
            raise DataError(msg) from error
        return file


def awaken(pool: Workers) -> None:
    """Have processes of this machine begin and load what they will need."""
    if pool.here and pool.count > 1:
        for number in range(pool.count):
            pool.submit(load_there, near=[f"loading {number}"])


def in_common(chain: Chain) -> list[str]:
    """Return what decides how much of a chain others know, for `Workers.submit`.

    Most of it is all that its last lever works on; the rest is the model that this works on.
    """
    shaped = [s for s in chain.steps if s.family.kind is not FamilyKind.NUMBERS] or chain.steps
    if not shaped:
        return [""]
    first = [*map(str, shaped[:-1])]
    return [",".join((*first, shaped[-1].family.item)), ",".join(first)]


# -- on workers ---------------------------------------------------------------------------


@dataclass
class _Place:
    """What a worker has opened; one call at a time uses it."""

    bench: Bench
    workshop: Workshop
    ending: Ending
    clock: Clock | None
    lock: threading.Lock = field(default_factory=threading.Lock)


_opening = threading.Lock()
_open: dict[str, _Place] = {}
"""What this process has opened last, by what it was given."""


def load_there() -> None:
    """Load passes; who is to call this loads this module before, and all that it needs."""
    all_passes()


def open_there(errand: str | Parcel, *parcels: Parcel) -> None:
    """Open what is needed for building."""
    _place(errand, parcels)


def build_there(
    chain: Chain, seconds: float, wanted: bool, errand: str | Parcel, *parcels: Parcel
) -> Made:
    """Build and measure a chain, on whatever machine this is.

    Args:
        chain: What to build.
        seconds: Time that there is.
        wanted: Whether the model itself goes back.
        errand: The file of what to open, or a parcel of it.
        parcels: The files that it is about.

    Raises:
        OutOfTimeError: If the time is over.
        OcompressError: If what it is about cannot be opened.
    """
    until = time.monotonic() + seconds
    place = _place(errand, parcels)
    with place.lock, time_limit(place.bench.request.timeout):
        place.ending.is_over = at(until)
        made = place.workshop.build(chain)
    back = to_proto(made.model) if wanted and made.model is not None else None
    return replace(made, model=back)


def time_there(proto: Any, errand: str | Parcel, *parcels: Parcel) -> float | None:
    """Return the time of a model over the original's, on whatever machine this is."""
    place = _place(errand, parcels)
    with place.lock, time_limit(place.bench.request.timeout):
        return None if place.clock is None else place.clock(model_from(proto))


def _place(errand: str | Parcel, parcels: tuple[Parcel, ...]) -> _Place:
    key = errand if isinstance(errand, str) else errand.key
    with _opening:
        if key not in _open:
            _open.clear()
            _open[key] = _opened(errand, parcels)
        return _open[key]


def _opened(errand: str | Parcel, parcels: tuple[Parcel, ...]) -> _Place:
    file = Path(errand) if isinstance(errand, str) else unpacked(errand)
    asked: Errand = pickle.loads(file.read_bytes())  # written by who calls
    here = {name: unpacked(p) for name, p in zip(asked.names, parcels, strict=True)}
    path = here.pop("model", None) or Path(asked.model)
    given: dict[str, Any] = {name: str(path) for name, path in here.items()}
    request = replace(asked.request, **given)
    original: Model = load_model(path)
    with time_limit(request.timeout):
        bench = Bench(request, original, path, (), lossy=True)
        ending = Ending()
        return _Place(
            bench,
            Choice(bench, asked.planning).workshop([ending], asked.measured),
            ending,
            clock(bench),
        )
