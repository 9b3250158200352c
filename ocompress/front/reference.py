"""The model that came in: does it run here, and on what."""

from __future__ import annotations

from ocompress.errors import (
    DataError,
    InvalidModelError,
    RuntimeFailureError,
    RuntimeFaultError,
    UnsupportedModelError,
)
from ocompress.io import Dataset, Feeds, synthetic_data
from ocompress.ir import Model, onnx_api, to_proto
from ocompress.ir.strings import decoded
from ocompress.runtime import Session

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
        try:
            session.run(feeds)
        except RuntimeFaultError:
            raise
        except RuntimeFailureError as error:
            raise UnsupportedModelError(str(error)) from error
        return feeds, ""
    try:
        feeds = next(iter(synthetic_data(model, 1)))
        session.run(feeds)
    except RuntimeFaultError as error:
        return None, str(error)
    except (DataError, RuntimeFailureError, UnsupportedModelError):
        return None, "inputs could not be guessed; give some with --data"
    return feeds, ""


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
