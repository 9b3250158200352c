"""Sweeping over data for gradients: forward, seeds, backward, feed by feed."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ocompress.analysis.gradients.concrete import lengths_vary
from ocompress.analysis.gradients.program import Loaded, Program
from ocompress.analysis.gradients.seeds import Currency, Joined, Seeding, choose, fits
from ocompress.analysis.gradients.sizes import sized
from ocompress.analysis.observe import has_free_batch, pieces_of
from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Dataset, Feeds, cut_at
from ocompress.io.feeds import samples_of
from ocompress.ir import Model
from ocompress.ir.onnx_api import infer_types

MOST_BYTES = 64 << 20
"""Bytes of activations and gradients held at once, if the feeds can be cut along the batch."""
_LOOKED_AT = 16
"""Samples that show how far outputs spread, before any seed is drawn."""
_MOST_PROGRAMS = 4
"""Sessions for so many shapes of feeds are kept."""

Update = Callable[[str, np.ndarray, np.ndarray], None]
"""Takes a name, the activation, and the gradient of the same shape, float32."""


def sweep_gradients(
    model: Model,
    names: Sequence[str],
    data: Dataset,
    update: Update,
    progress: Callable[[int, int], None],
    *,
    seed: int = 0,
    draws: int = 1,
    currencies: Mapping[str, Currency] | None = None,
) -> dict[str, str]:
    """Run a model forward and backward over data and hand over activations with gradients.

    What is differentiated is a random scalar per sample, drawn so that the mean of `g g'` over
    draws is the Fisher information of the model's own outputs: `(g . dy)^2 / 2`, with the product
    taken over all elements of a sample and the mean over draws and samples, estimates what a small
    change `dy` costs, summed over the outputs, each in its currency (see `seeds`).

    Row `i` of a gradient belongs to sample `i` as long as the model does not mix its samples.

    The sequence of updates is fixed by the model, the data and the seed: feeds in order, large
    ones in pieces along the batch, within each the draws, within each the names in the order
    given.

    Args:
        model: A float model; not changed.
        names: Values of the main graph, inputs and outputs of the model included.
        data: Feeds.
        update: Called for every piece of a feed, draw and name that a gradient reaches.
        progress: Called with the number of feeds done and their total.
        seed: Start of the random numbers.
        draws: Random scalars for every sample.
        currencies: What divergence is counted in, by output; chosen from the model and the first
            feed where an output is not named.

    Returns:
        For each name that the whole of the gradient does not reach, why, in one sentence; a name
        that some shapes of feeds reach and others do not is in it, too.

    Raises:
        DataError: If the feeds do not fit the model's inputs.
        RuntimeFailureError: If ONNX Runtime cannot run the model or its derivative.
    """
    sweep = _Sweep(model, names, currencies or {}, cut_at(data))
    sweep.look(data)
    missing: dict[str, str] = {}
    total = len(data)
    for number, feeds in enumerate(data):
        for at, piece in enumerate(pieces_of(feeds, sweep.pieces(feeds), sweep.unit)):
            part = sweep.program(piece)
            missing |= part.missing
            sweep.run(part, piece, update, [(seed, number, at, draw) for draw in range(draws)])
        progress(number + 1, total)
    return missing


class _Sweep:
    """A model, typed, with its programs by shapes of feeds."""

    def __init__(
        self, model: Model, names: Sequence[str], currencies: Mapping[str, Currency], unit: int
    ) -> None:
        self.unit = unit
        self._model = model.clone()
        self._model.sort()
        infer_types(self._model)
        self._names = list(dict.fromkeys(names))
        self._currencies = currencies
        self._programs: OrderedDict[tuple[object, ...], Program] = OrderedDict()
        self._loaded = Loaded()
        self._seedings: dict[str, Seeding | Joined] = {}
        self._can_cut = has_free_batch(self._model) and unit > 0
        self._bytes_per_element: float | None = None
        self._varies: bool | None = None

    def pieces(self, feeds: Feeds) -> int:
        """Say how many pieces a feed is cut into, going by one sample of the first feed."""
        if self._can_cut and self._bytes_per_element is None:
            one = next(iter(pieces_of(feeds, samples_of(feeds), self.unit)))
            try:
                self._bytes_per_element = self.program(one).held_bytes / max(1, _elements(one))
            except RuntimeFailureError:  # a Reshape to the extents of a whole feed, say
                self._can_cut = False
        held = (self._bytes_per_element or 0) * _elements(feeds)
        return max(1, math.ceil(held / MOST_BYTES))

    def program(self, feeds: Feeds) -> Program:
        """Return the program for the shapes of a feed.

        Where lengths depend on what is fed, a program is good for this feed only.
        """
        if self._varies is None:
            self._varies = lengths_vary(self._model, feeds)
        key = tuple((name, feeds[name].shape) for name in sorted(feeds))
        if self._varies or key not in self._programs:
            self._programs[key] = Program(self._model, self._names, feeds, self._loaded)
        self._programs.move_to_end(key)
        while len(self._programs) > _MOST_PROGRAMS:
            self._programs.popitem(last=False)
        return self._programs[key]

    def look(self, data: Dataset) -> None:
        """Choose how seeds are drawn, by what the model makes of the first samples."""
        seen: dict[str, list[np.ndarray]] = {}
        samples = held = 0
        for piece in (p for feeds in data for p in pieces_of(feeds, self.pieces(feeds), self.unit)):
            outputs = self._outputs(self.program(piece), piece)
            self._choose(outputs)
            for name, array in outputs.items():
                seen.setdefault(name, []).append(array)
                held += array.nbytes
            samples += samples_of(piece)
            if samples >= _LOOKED_AT or held >= MOST_BYTES:
                break
        for name, arrays in seen.items():
            fitting = [a for a in arrays if fits(self._seedings[name], a)]
            self._seedings[name] = sized(self._seedings[name], fitting)

    def _outputs(self, program: Program, feeds: Feeds) -> Feeds:
        if not program.reached:
            return {}
        made = program.forward(feeds)
        return {name: made[name] for name in program.seeded}

    def _choose(self, outputs: Feeds) -> None:
        """Choose how seeds of outputs are drawn that are new or of other extents."""
        new = {n: array for n, array in outputs.items() if not fits(self._seedings.get(n), array)}
        chosen = choose(self._model, new, self._currencies)
        self._seedings |= {name: sized(found, [new[name]]) for name, found in chosen.items()}

    def run(
        self, program: Program, feeds: Feeds, update: Update, draws: Sequence[tuple[int, ...]]
    ) -> None:
        """Run one piece of a feed forward, and backward for every draw."""
        if not program.reached:
            return
        made = program.forward(feeds)
        outputs = {name: made[name] for name in program.seeded}
        self._choose(outputs)
        samples = samples_of(feeds)
        for draw in draws:
            rng = np.random.default_rng(draw)
            seeds = {n: self._seedings[n].draw(a, samples, rng) for n, a in outputs.items()}
            gradients = program.backward(made, seeds)
            for name in program.reached:
                update(name, made[name], gradients[name])


def _elements(feeds: Feeds) -> int:
    return sum(array.size for array in feeds.values())
