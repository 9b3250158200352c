"""Trying a model out in a copy of this process, so that a crash of the runtime is one sentence."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable

from ocompress.errors import UnsupportedModelError
from ocompress.io import synthetic_data
from ocompress.ir import Model, inference
from ocompress.runtime import VERSION, Session
from ocompress.stopping import limit

_LARGEST = 1 << 26
"""Bytes of weights above which loading twice would be felt; no damaged file grows so large."""
_PATIENCE_SECONDS = 30.0
"""How long the copy is waited for; what takes longer goes on under the limit of this process."""


def check_survival(model: Model) -> None:
    """Refuse a model that takes the process down as it is loaded or run for the first time.

    Raises:
        UnsupportedModelError: If ONNX Runtime crashes on it, or would take all memory.
    """
    _check_lists(model)
    if model.weight_bytes > _LARGEST or sys.platform != "linux":
        return
    killed = killed_by(lambda: _load_and_run(model))
    if killed is not None:
        msg = (
            f"ONNX Runtime {VERSION} crashes on this model ({killed.name}), so that nothing can be "
            "done with it; look for odd shapes and attributes"
        )
        raise UnsupportedModelError(msg)


def _check_lists(model: Model) -> None:
    """Refuse an Expand of old opsets whose result would have far too many axes.

    ONNX Runtime counts them as it loads the model, and takes memory for each.
    """
    if model.opset >= inference.EXPAND_COUNTS or not any(
        n.is_op("Expand") for _, n in model.nodes()
    ):
        return
    inferred = model.clone()
    inference.infer_types(inferred)
    for _, node in inferred.nodes():
        wanted = node.inputs[1] if node.is_op("Expand") and len(node.inputs) > 1 else None
        shape = None if wanted is None else wanted.shape
        if shape and isinstance(shape[0], int) and shape[0] > inference.LONGEST_LIST:
            msg = (
                f"node {node.label!r} (Expand) wants a tensor of {shape[0]} axes, which takes ONNX "
                "Runtime all memory; give it one extent for each axis"
            )
            raise UnsupportedModelError(msg)


def _load_and_run(model: Model) -> None:
    session = Session(model)
    session.run(next(iter(synthetic_data(model, 1))))


def killed_by(work: Callable[[], object]) -> signal.Signals | None:
    """Do something in a copy of this process, and return the signal that ended it, if one did.

    Whatever else happens there is ignored: it will happen here again.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks; the copy takes no locks of ours
        process = os.fork()
    if process == 0:
        _do(work)
    try:
        watched = os.pidfd_open(process)
        try:
            patience = min(_PATIENCE_SECONDS, limit() or _PATIENCE_SECONDS)
            ended, _, _ = select.select([watched], [], [], patience)
        finally:
            os.close(watched)
    except BaseException:
        _end(process)
        raise
    if not ended:
        _end(process)
        return None
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return signal.Signals(-code) if code < 0 else None


def _do(work: Callable[[], object]) -> None:
    """Work in the copy, which says nothing and leaves all cleaning up to the original."""
    with contextlib.suppress(BaseException):
        signal.set_wakeup_fd(-1)
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, signal.SIG_DFL)
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work()
    os._exit(0)


def _end(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
