"""The model that came in: does it run here, and on what."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ocompress.analysis.randomness import random_outputs
from ocompress.errors import (
    DataError,
    InvalidModelError,
    RuntimeFailureError,
    RuntimeFaultError,
    UnsupportedModelError,
)
from ocompress.io import SYNTHETIC, Dataset, Feeds, synthetic_data
from ocompress.ir import Model, onnx_api, to_proto
from ocompress.ir.strings import decoded
from ocompress.runtime import VERSION, Level, Session

_DOMAINS = {
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.preview.training",
    "ai.onnx.training",
    "com.microsoft",
    "com.microsoft.experimental",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
}
"""Operator domains that ONNX Runtime may know."""


def try_out(model: Model, data: Dataset | None, *, threads: int) -> tuple[Feeds | None, str]:
    """Load the original and run it once.

    Args:
        model: The original.
        data: Its first sample is what the model is run on; a guess otherwise.
        threads: Threads within an operator.

    Returns:
        Feeds of one sample that the model runs on; None if there are no data and the model does
        not run on a guess, with the reason.

    Raises:
        ModelError: If ONNX Runtime cannot load or run it.
        RuntimeFaultError: If it could without optimizing it.
        DataError: If the data do not fit.
    """
    check_domains(model)
    try:
        session = Session(model, threads=threads)
    except RuntimeFaultError:
        raise
    except RuntimeFailureError as error:
        _explain(model, error)
    if data is not None:
        feeds = next(iter(data.take(1)))
        with blamed_on_the_model(made_up=SYNTHETIC in data.source):
            session.run(feeds)
        return feeds, ""
    try:
        feeds = next(iter(synthetic_data(model, 1)))
        session.run(feeds)
    except RuntimeFaultError as error:
        return None, str(error)
    except (DataError, RuntimeFailureError, UnsupportedModelError):
        return None, "inputs could not be guessed; give some with --data"
    return feeds, ""


@contextlib.contextmanager
def blamed_on_the_model(*, made_up: bool = False) -> Iterator[None]:
    """Say of a model that ONNX Runtime cannot load or run that it is not supported.

    Whatever command meets such a model, it ends with the same exit code.

    Args:
        made_up: Whether it is run on random numbers, whose shapes may be what is wrong.

    Raises:
        UnsupportedModelError: In place of failures that are not faults of the runtime's own.
    """
    try:
        yield
    except RuntimeFaultError:
        raise
    except RuntimeFailureError as error:
        advice = "; random numbers may have other shapes than it takes: give data with --data"
        msg = f"{error}{advice if made_up else ''}"
        raise UnsupportedModelError(msg) from error


def check_reading(path: Path, model: Model, feeds: Feeds, *, threads: int) -> None:
    """Refuse a file that ONNX Runtime reads otherwise than ONNX defines.

    Where an If with a constant condition has constants that hide outer ones, the runtime mixes up
    the two. Models as we read them have no hidden names, so results would compute something else
    than the user's file does today.

    Args:
        path: The file that the model was read from.
        model: The model.
        feeds: Inputs that it runs on.
        threads: Threads within an operator.

    Raises:
        UnsupportedModelError: If outputs differ.
    """
    bodies = any(True for _, node in model.nodes() for _ in node.subgraphs())
    if not bodies or random_outputs(model):
        return
    with contextlib.suppress(DataError, RuntimeFailureError):
        wanted, found = (
            Session(m, threads=threads, level=Level.DISABLED).run(feeds) for m in (model, path)
        )
        for name, array in wanted.items():
            if not _agree(array, found.get(name)):
                msg = (
                    f"ONNX Runtime {VERSION} does not compute what the file says: output {name!r} "
                    "is another one as soon as no value in a body of control flow has the name of "
                    "an outer one; rename such values"
                )
                raise UnsupportedModelError(msg)


def _agree(wanted: object, found: object) -> bool:
    """Whether two outputs of the same operators are the same, whatever their order was."""
    if not isinstance(wanted, np.ndarray) or not isinstance(found, np.ndarray):
        return True
    if wanted.dtype.kind != "f" or wanted.shape != found.shape:
        return np.array_equal(wanted, found)
    largest = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
    return np.allclose(found, wanted, rtol=0, atol=1e-3 * largest, equal_nan=True)


def check_domains(model: Model) -> None:
    """Refuse operators that no stock runtime has.

    Raises:
        UnsupportedModelError: Naming the operator, its domain and a node.
    """
    functions = {(decoded(f.domain), decoded(f.name)) for f in model.functions}
    for _, node in model.nodes():
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in functions:
            msg = (
                f"node {node.label!r} uses operator {node.op_type!r} of domain {node.domain!r}, "
                "which ONNX Runtime does not have"
            )
            raise UnsupportedModelError(msg)


def _explain(model: Model, error: RuntimeFailureError) -> None:
    try:
        onnx_api.check(to_proto(model))
    except InvalidModelError as invalid:
        # the runtime's sentence is the clearer one, but the checker knows whose fault it is
        raise InvalidModelError(str(error)) from invalid
    raise UnsupportedModelError(str(error)) from error
