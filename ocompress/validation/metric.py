"""The user's own metric, `module:function`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocompress.errors import DataError, UsageError
from ocompress.io.dataset import Feeds

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A function that scores the outputs of one run; higher is better.

    It is called as `function(outputs, labels, feeds)` once per feed, for the reference and for
    the candidate: `outputs` and `feeds` map names to arrays, `labels` are those of the feed's
    samples or None. It returns one number for the feed, or an array of one number per sample;
    the score of a model is the mean over all samples (a feed's single number counts as often as
    the feed has samples).

    Attributes:
        name: What reports call it.
        function: The function.
    """

    name: str
    function: Callable[[Outputs, np.ndarray | None, Feeds], Any]

    @classmethod
    def load(cls, spec: str) -> Metric:
        """Import `module:function`; modules in the working directory are found.

        Raises:
            UsageError: If the text has another form, the module is missing or does not import,
                or it has no such function.
        """
        module_name, _, attribute = spec.partition(":")
        if not module_name or not attribute:
            msg = f"metric {spec!r} is not of the form module:function"
            raise UsageError(msg)
        module = _import(spec, module_name)
        function = module
        for part in attribute.split("."):
            function = getattr(function, part, None)
        if not callable(function):
            what = "nothing" if function is None else "no function"
            msg = f"metric {spec!r}: module {module_name!r} has {what} named {attribute!r}"
            raise UsageError(msg)
        return cls(spec, function)

    def score(
        self, outputs: Outputs, labels: np.ndarray | None, feeds: Feeds, samples: int
    ) -> np.ndarray:
        """Score one feed.

        Returns:
            Float64 scores, one per sample or a single one, shape [samples] or [1].

        Raises:
            DataError: If the function fails or returns something else.
        """
        try:
            returned = self.function(outputs, labels, feeds)
        except Exception as error:
            msg = f"metric {self.name!r} failed with {type(error).__name__}: {error}"
            raise DataError(msg) from error
        try:
            scores = np.asarray(returned, np.float64).reshape(-1)
        except (TypeError, ValueError):
            scores = np.empty(0)
        if returned is None or scores.size not in {1, samples}:
            shape = getattr(returned, "shape", None)
            what = f"an array of shape {list(shape)}" if shape else type(returned).__name__
            msg = (
                f"metric {self.name!r} returned {what}; it must return one number, or one per "
                f"sample ({samples})"
            )
            raise DataError(msg)
        if not np.isfinite(scores).all():
            msg = f"metric {self.name!r} returned a number that is not finite"
            raise DataError(msg)
        return scores


def _import(spec: str, name: str) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            msg = f"metric {spec!r}: there is no module {name!r} here or among those installed"
        else:
            msg = f"metric {spec!r}: module {name!r} does not import: {error}"
        raise UsageError(msg) from error
    except Exception as error:
        msg = f"metric {spec!r}: module {name!r} does not import: {type(error).__name__}: {error}"
        raise UsageError(msg) from error
    finally:
        sys.path.remove(here)
