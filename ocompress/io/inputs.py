"""What feeds a model wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.errors import DataError, UnsupportedModelError
from ocompress.io.batch_axes import Axis, batch_axes
from ocompress.io.nonfinite import NonfiniteTrial, number_of, refuse_lost
from ocompress.ir import Dim, DType, Model, Shape, Value


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A tensor input of a model.

    Attributes:
        name: Name of the input.
        dtype: Element type.
        shape: Declared extents; a text or None is free.
        required: Whether it has no default value.
        trial: Runs the model on NaN and infinities; None refuses them all.
        axis: The axis that counts samples; None where all of the input is one sample.
    """

    name: str
    dtype: DType
    shape: Shape | None
    required: bool = True
    trial: NonfiniteTrial | None = field(default=None, compare=False, repr=False)
    axis: Axis = 0

    @property
    def text(self) -> str:
        """Name, type and shape, for messages."""
        if self.shape is None:
            return f"{self.name} ({self.dtype.name.lower()})"
        extents = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.name} ({self.dtype.name.lower()}[{extents}])"

    @property
    def batch(self) -> Dim:
        """The declared extent of the axis that counts samples, None where it is not known."""
        axis = self.axis or 0
        return self.shape[axis] if self.shape and axis < len(self.shape) else None

    @property
    def is_fixed(self) -> bool:
        """Whether all of its extents are declared."""
        return self.shape is not None and all(isinstance(extent, int) for extent in self.shape)

    def length(self, shape: Sequence[int]) -> int:
        """Return the extent of an array's axis that counts samples, or of its first."""
        axis = self.axis or 0
        return shape[axis if axis < len(shape) else 0]

    def fits(self, shape: tuple[int, ...], *, but: int | None = None) -> bool:
        """Whether `shape` agrees with the declared extents, that of axis `but` aside."""
        return self.shape is None or (
            len(shape) == len(self.shape) and self.misfit(shape, but=but) is None
        )

    def misfit(self, shape: tuple[int, ...], *, but: int | None = None) -> int | None:
        """Return the first axis on which `shape` contradicts the declared extents, of its rank."""
        pairs = enumerate(zip(self.shape or (), shape, strict=self.shape is not None))
        wrong = (a for a, (want, have) in pairs if isinstance(want, int) and want != have)
        return next((a for a in wrong if a != but), None)


def input_specs(model: Model) -> list[InputSpec]:
    """Return the inputs of a model that feeds can set.

    Raises:
        UnsupportedModelError: If a required input is not a tensor.
    """
    specs, trial, axes = [], NonfiniteTrial(model), batch_axes(model)
    for value in model.graph.inputs:
        typed = _tensor(value)
        required = value.data is None and typed is value
        if typed is not None and typed.dtype is not None:
            axis = axes.get(value.name, 0)
            specs.append(InputSpec(value.name, typed.dtype, typed.shape, required, trial, axis))
        elif required:
            msg = f"input {value.name!r} is not a tensor of known type, so it cannot be fed"
            raise UnsupportedModelError(msg)
    return specs


def _tensor(value: Value) -> Value | None:
    """Return the tensor that an input takes; another than itself, or None, if optional."""
    kind = value.type_proto
    if kind is None or kind.WhichOneof("value") != "optional_type":
        return value
    inner = kind.optional_type.elem_type
    if inner.WhichOneof("value") != "tensor_type":
        return None
    tensor = Value(value.name)
    tensor.set_type_proto(inner)
    return tensor


def told(specs: Iterable[InputSpec], shapes: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Yield what to tell about inputs of which the first axis does not count samples.

    Args:
        specs: Inputs.
        shapes: Shapes of their arrays.
    """
    for spec in specs:
        extra = len(shapes[spec.name]) - len(spec.shape or ())
        if spec.axis is None:
            what = "a feed is" if extra else "the array is"
            yield (
                f"no axis of {spec.name!r} counts samples, the model reads all of it as one "
                f"sequence: {what} one sample"
            )
        elif spec.axis and not isinstance((spec.shape or (0,))[0], int):
            yield (
                f"{spec.name!r} is time-major: axis {spec.axis + extra} counts samples, the one "
                "before it steps"
            )


def expected(specs: Iterable[InputSpec]) -> str:
    """Return the inputs that feeds must hold, for messages."""
    return ", ".join(s.text for s in specs if s.required) or "no inputs"


def given(feed: Mapping[str, object], specs: Iterable[InputSpec]) -> dict[str, object]:
    """Return what a feed gives; inputs that may be left out are, where it has None for them."""
    optional = {s.name for s in specs if not s.required}
    return {str(k): v for k, v in feed.items() if v is not None or str(k) not in optional}


def check_names(source: str, found: Iterable[str], specs: Iterable[InputSpec]) -> list[str]:
    """Return the names found that are inputs.

    Raises:
        DataError: If a required input is missing, listing what is wanted and what was found.
    """
    specs, names = list(specs), list(found)
    missing = [s.name for s in specs if s.required and s.name not in names]
    if missing:
        there = ", ".join(names) or "nothing"
        msg = (
            f"data {source!r} lack input {missing[0]!r}: the model wants {expected(specs)}, "
            f"the data hold {there}"
        )
        raise DataError(msg)
    known = {s.name for s in specs}
    return [n for n in names if n in known]


def check_dtype(source: str, spec: InputSpec, dtype: np.dtype) -> None:
    """Accept what can be converted without changing its meaning.

    Floats of any width serve a float input, integers an integer input (their range is checked
    when they are read). Integers for a float input are refused: as a rule they are images that
    still want the scaling the network was trained with.

    Raises:
        DataError: Naming the input and both types.
    """
    kind, want = _kind(dtype), _kind(spec.dtype.numpy)
    if kind != want:
        scaled = " and scale it as in training" if (kind, want) == ("int", "float") else ""
        msg = (
            f"data {source!r}: {spec.name!r} is {dtype}, the model wants "
            f"{spec.dtype.name.lower()}; convert it{scaled}"
        )
        raise DataError(msg)


def convert(source: str, spec: InputSpec, array: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """Return a batch, any shape, in the input's element type, after checking its values.

    Args:
        source: Where the data came from, for messages.
        spec: The input.
        array: Values of a type that `check_dtype` accepts.
        numbers: Number of each sample of the batch in the user's data, for messages.

    Raises:
        DataError: For numbers that the element type cannot hold, naming the sample.
    """
    if spec.dtype is DType.STRING:
        return array.astype(object)
    if spec.dtype.is_float:
        with np.errstate(over="ignore"):  # found below, as infinity
            cast = array.astype(spec.dtype.numpy, copy=False)
        if cast is not array:
            lost = np.isfinite(array) & ~np.isfinite(cast)
            _refuse(source, spec, lost, numbers, f"a value outside {spec.dtype.name.lower()}")
        array = cast
    elif array.dtype != spec.dtype.numpy and spec.dtype.numpy.kind in "iu":
        limits = np.iinfo(spec.dtype.numpy.name)
        wrong = (array < limits.min) | (array > limits.max)
        _refuse(source, spec, wrong, numbers, f"a value outside {spec.dtype.name.lower()}")
    return np.ascontiguousarray(array.astype(spec.dtype.numpy, copy=False)).reshape(array.shape)


def _kind(dtype: np.dtype) -> str:
    if dtype.kind in "OUST":
        return "text"
    if dtype.type is np.void or dtype.kind in "cmM":
        return "other"
    if dtype.kind in "iu" or "int" in dtype.name:
        return "int"
    return "bool" if dtype.kind == "b" else "float"


def _refuse(
    source: str, spec: InputSpec, wrong: np.ndarray, numbers: Sequence[int], what: str
) -> None:
    if wrong.any():
        offset = int(np.argwhere(wrong.reshape(wrong.shape or (1,)))[0][0])
        msg = f"data {source!r}: {spec.name!r} holds {what} in sample {number_of(offset, numbers)}"
        raise DataError(msg)


def checked_feed(
    source: str, specs: Iterable[InputSpec], feed: Mapping[str, object], number: int
) -> dict[str, np.ndarray]:
    """Check and convert one whole feed.

    Raises:
        DataError: If names, types, shapes or values do not fit the model.
    """
    specs = list(specs)
    arrays = {name: np.asarray(v) for name, v in given(feed, specs).items()}
    names = set(check_names(source, arrays, specs))
    result = {}
    for spec in specs:
        if spec.name in names:
            array = arrays[spec.name]
            check_dtype(source, spec, array.dtype)
            if not spec.fits(array.shape):
                msg = (
                    f"data {source!r}: feed {number} has {spec.name!r} of shape "
                    f"{list(array.shape)}, the model wants {spec.text}"
                )
                raise DataError(msg)
            result[spec.name] = convert(source, spec, array, [number])
    refuse_lost(source, specs, result, [number])
    return result


def turned_specs(specs: Sequence[InputSpec]) -> Iterator[tuple[InputSpec, ...]]:
    """Yield the inputs with their samples on other axes than the first, where that may be.

    Either all required inputs share the name of an extent, or the second axis of each is open, as
    in `[steps, batch, features]`, or each has them on the first axis that is open, as a state
    `[2, batch, features]` beside rows. Where the graph told an axis there is no other.
    """
    required = [s for s in specs if s.required and s.shape]
    if not required or any(s.axis != 0 for s in specs):
        return
    shapes = {s.name: s.shape or () for s in required}
    names = {d for d in shapes[required[0].name] if isinstance(d, str)}
    choices = [
        {n: shape.index(name) for n, shape in shapes.items()}
        for name in sorted(names)
        if all(shape.count(name) == 1 for shape in shapes.values())
    ]
    if all(len(s) < 2 or not isinstance(s[1], int) for s in shapes.values()):
        choices.append({n: int(len(shape) > 1) for n, shape in shapes.items()})
    open_ = {n: [a for a, d in enumerate(s) if not isinstance(d, int)] for n, s in shapes.items()}
    choices.append({n: places[0] for n, places in open_.items() if places})
    for axes in choices:
        if any(axes.values()):
            yield tuple(replace(s, axis=axes.get(s.name, 0)) for s in specs)
