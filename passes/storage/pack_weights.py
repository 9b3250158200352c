"""Weights in the smallest form that stock operators restore to the bit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.diagnostics import Severity
from ocompress.errors import OptionError, RuntimeFailureError
from ocompress.io.loaded import Loaded, as_loaded
from ocompress.ir import DType, Facet, Model, Value
from ocompress.ir.packed import Packed
from ocompress.pipeline import Context, Outcome, Pass, option
from passes.order import TO_PACK
from passes.storage import forms
from passes.storage.common import with_common_words
from passes.storage.holding import written
from passes.storage.kinds import StoredForm

_OPSET = 11
_OLDEST, _NIBBLES = (1, 15), (1, 23)
"""The oldest ONNX Runtime that was seen to restore every form, and the first one that casts
integers of 4 bits."""
_NIBBLES_OPSET = 21
_LARGEST = 1_900_000_000
"""Bytes of weights above which the runtime cannot write down what it made of a model."""
_DTYPES = (
    *(np.float64, np.float32, np.float16),
    *(np.int64, np.int32, np.int8, np.uint8, np.bool_),
)
_WORTH = 0.95
"""Part of the bytes above which a smaller form is not worth its nodes."""


class PackWeights(Pass):
    """Store weights in the smallest form that stock operators restore to the bit.

    It looks at the values: what other passes left on grids, in palettes, in blocks that repeat, or
    zero, takes the bytes of that, whoever made it. ONNX Runtime computes the weights once, when it
    loads the model; from then on it runs the same operators on the same numbers as before. That is
    made sure of: a model is loaded both ways, and a weight that is not there again, bit for bit,
    stays as it was.

    Every form loads and folds in ONNX Runtime 1.15 and later. If 1.23 is the oldest that has to
    load the file (`min_ort`) and the model has opset 21 or later, integers of 4 bits are stored as
    such, which loads faster.

    Before: Conv(x, W), with 256 different 3 x 3 slices in W
    After:  Conv(x, Reshape(Gather(slices, Cast(indices uint8))))
    Leaves alone: constants below `smallest` bytes, outputs, defaults of inputs, other floats than
    those of 16 to 64 bits that numpy has (type), and what a file holds in as small a form already;
    what the runtime does not restore (not-restored); weights of more than 1.9 GB (too-large);
    models of an opset below 11 (opset); everything where an ONNX Runtime before 1.15 has to load
    the file (old-runtime).
    Numerics: exact.
    """

    name = "pack-weights"
    may_change = Facet.STORAGE
    reads = Facet.WEIGHTS | Facet.TOPOLOGY
    after = TO_PACK

    smallest: int = option(1024, help="Bytes below which a constant stays as it is.", at_least=1)
    min_ort: str = option(
        "1.15",
        help="The oldest ONNX Runtime that has to load the file; later ones know types that load "
        "faster.",
    )

    def __post_init__(self) -> None:
        """Check the version.

        Raises:
            OptionError: If it is none.
        """
        super().__post_init__()
        if not re.fullmatch(r"\d+\.\d+(\.\d+)?", self.min_ort):
            msg = f"pack-weights: min_ort is {self.min_ort!r}; give a version such as 1.23"
            raise OptionError(msg)

    def lowest_opset(self) -> int:
        """Return the opset that brought GatherElements, CumSum and Range."""
        return _OPSET

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Find forms, write them down, and see what the runtime makes of them."""
        refusal = self._refusal(model)
        if refusal is not None:
            ctx.remark(*refusal)
            return Outcome()
        found = _found(model, self.smallest, ctx)
        if not found:
            return Outcome()
        plain = as_loaded(model)
        nibbles = self._version >= _NIBBLES and model.opset >= _NIBBLES_OPSET
        held = _hold(found, nibbles=nibbles)
        if not held:
            return Outcome()
        names = {one.value.name for one in held}
        lost = _put_back(held, _not_restored(model, plain, names))
        if lost and _not_restored(model, plain, names - lost):
            lost = _put_back(held, names)
        for name in sorted(lost):
            why = f"{name}: the runtime does not restore it while it loads the model"
            ctx.remark(Severity.NOTE, "not-restored", why)
        kept = [one for one in held if one.value.name not in lost]
        return _outcome(kept) if kept else Outcome()

    def _refusal(self, model: Model) -> tuple[Severity, str, str] | None:
        """Return how and why a model is left alone; None if it is not."""
        if model.opset < _OPSET:
            why = f"opset {model.opset} has no operators that restore packed weights; {_OPSET} has"
            return Severity.NOTE, "opset", why
        if self._version < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            why = f"{oldest} is the oldest that is known to restore packed weights"
            why = f"nothing is packed for ONNX Runtime {self.min_ort}: {why}"
            return Severity.WARNING, "old-runtime", why
        if model.loaded_bytes > _LARGEST:
            why = "its weights take more than the runtime can show again; nothing is packed"
            return Severity.NOTE, "too-large", why
        return None

    @property
    def _version(self) -> tuple[int, ...]:
        return tuple(map(int, self.min_ort.split(".")[:2]))


def _found(model: Model, least: int, ctx: Context) -> list[tuple[Value, StoredForm]]:
    """Return the constants that have a smaller form, with it; say which types have none."""
    values, known = [], {}  # arrays are kept, so ids stay theirs
    for graph in model.graph.graphs():
        for value in graph.initializers.values():
            array = value.constant
            if array is None or array.nbytes < least or value.sparse is not None or value.is_output:
                continue
            if array.dtype not in _DTYPES:
                kind = DType.of(array)
                if kind.is_float:
                    why = f"{value.name}: no packed form is known of weights of {kind.name.lower()}"
                    ctx.remark(Severity.NOTE, "type", why)
                continue
            values.append((value, id(array)))
            if id(array) not in known:
                known[id(array)] = array, forms.smallest(array)
    arrays, own = zip(*known.values(), strict=True) if known else ((), ())
    shared = with_common_words(arrays, own)
    best = {key: shared.get(at, own[at]) for at, key in enumerate(known)}
    found = ((value, best[key]) for value, key in values)
    return [(value, form) for value, form in found if form.nbytes < _WORTH * value.file_bytes]


@dataclass(frozen=True, eq=False)
class _Held:
    """A constant that files hold in a form, and how they held it before."""

    value: Value
    form: StoredForm
    before: Packed | None
    bytes_before: int


def _hold(found: Sequence[tuple[Value, StoredForm]], *, nibbles: bool) -> list[_Held]:
    """Have files hold constants in forms; those of one form share its leaves.

    Args:
        found: The constants.
        nibbles: Whether integers of 4 bits may be used.

    Returns:
        Those of which files held more before.
    """
    made: dict[int, Packed] = {}
    held = []
    for value, form in found:
        if id(form) not in made:
            assert value.constant is not None, value.name
            made[id(form)] = written(form, value.constant.shape, nibbles=nibbles)
        now = made[id(form)]
        if value.packed is None or now.nbytes < _WORTH * value.packed.nbytes:
            held.append(_Held(value, form, value.packed, value.file_bytes))
            value.set_packed(now)
    return held


def _put_back(held: Sequence[_Held], names: set[str]) -> set[str]:
    """Have files hold the constants of these names as before; return the names."""
    for one in held:
        if one.value.name in names:
            one.value.set_packed(one.before)
    return names


def _not_restored(model: Model, plain: Loaded, names: set[str]) -> set[str]:
    """Return the packed constants that the runtime does not have again once it loaded a model.

    Args:
        model: With packed constants.
        plain: What it makes of the model without.
        names: The packed constants.
    """
    try:
        loaded = as_loaded(model)
    except RuntimeFailureError:
        return names
    lost = {
        name
        for name in names & plain.constants.keys()
        if not _equal(plain.constants[name], loaded.constants.get(name))
    }
    return lost or (names if loaded.operators != plain.operators else set())


def _equal(array: np.ndarray, other: np.ndarray | None) -> bool:
    return (
        other is not None
        and (array.dtype, array.shape) == (other.dtype, other.shape)
        and array.tobytes() == other.tobytes()
    )


def _outcome(kept: Sequence[_Held]) -> Outcome:
    rows = [
        {
            "tensor": one.value.name,
            "form": one.form.name,
            "bytes before": one.bytes_before,
            "bytes after": one.value.file_bytes,
            "bits a weight": round(8 * one.value.file_bytes / _size(one.value), 2),
        }
        for one in kept
    ]
    counts = Counter(one.form.name.split(",")[0] for one in kept)
    return Outcome(
        PackWeights.may_change,
        {"weights packed": len(kept)} | {f"as {kind}": n for kind, n in counts.items()},
        {"tensors": rows},
    )


def _size(value: Value) -> int:
    return 1 if value.constant is None else value.constant.size
