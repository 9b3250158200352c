"""Survey: what is in a model, and what each pass would do to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ocompress import targets
from ocompress.diagnostics import Diagnostics
from ocompress.errors import OcompressError, TimeLimitError
from ocompress.front.files import as_model, file_bytes
from ocompress.front.large import LARGE, count_and_let_go
from ocompress.front.request import Data
from ocompress.io import as_dataset
from ocompress.ir import Model
from ocompress.ir.strings import decoded
from ocompress.pipeline import Instrument, Pass, PassManager, Pipeline, all_passes, find
from ocompress.pipeline.pipeline import FIRST
from ocompress.report.survey import Prospect, Survey, Tensor

_DEFAULTS_SINCE = 4
"""IR version before which every initializer had to be listed as an input, too."""


def survey(
    model: Model | str | Path,
    *,
    data: Data | None = None,
    preprocess: str | Path | None = None,
    samples: int | None = None,
    target: str = "host",
    instruments: Sequence[Instrument] = (),
) -> Survey:
    """Look into a model, and have every pass say what it would do with its default options.

    Nothing is fitted or searched, see `Pass.preview`; the data tell the shapes of one sample.

    Raises:
        UsageError: If there is no such file or target, or the data do not fit.
        ModelError: If the file is not a model.
    """
    device = targets.find(target)
    this, path = as_model(model)
    opened = None
    if data is not None:
        opened = as_dataset(data, this, samples=samples, preprocess=preprocess)
    feeds = None
    if opened is not None and this.weight_bytes <= LARGE:
        feeds = next(iter(opened.take(1)), None)
    overridable = this.shell.ir_version >= _DEFAULTS_SINCE
    manager = PassManager(target=device, previewing=True, instruments=instruments)
    canonical, prospects = _try(manager, find(FIRST)(), this)
    for cls in all_passes():
        if not cls.internal and cls.name != FIRST:
            known = opened if cls.needs_data or _is_short(cls) else None
            manager = replace(manager, data=known, diagnostics=Diagnostics())
            prospects += _try(manager, cls(), canonical)[1]
    return Survey(
        source=str(path) if path is not None else "",
        bytes=file_bytes(path) if path is not None else this.weight_bytes,
        ir_version=this.shell.ir_version,
        producer=" ".join(filter(None, map(decoded, _producer(this)))),
        opsets=dict(sorted(this.opsets.items())),
        metadata=this.metadata,
        functions=tuple(f"{decoded(f.domain)}.{decoded(f.name)}" for f in this.functions),
        inputs=_tensors([v for v in this.graph.inputs if v.data is None or overridable]),
        outputs=_tensors(this.graph.outputs),
        cost=count_and_let_go(this, feeds),
        dtypes=_dtypes(this),
        prospects=tuple(prospects),
    )


def _producer(model: Model) -> tuple[str, str]:
    return model.shell.producer_name, model.shell.producer_version


def _try(manager: PassManager, item: Pass, model: Model) -> tuple[Model, list[Prospect]]:
    if item.needs_data and manager.data is None and not _is_short(type(item)):
        return model, [Prospect(name=item.name, problem="needs data; give some with --data")]
    try:
        result = manager.run(Pipeline((item,)), model)
    except TimeLimitError:
        raise  # what follows would take as long
    except OcompressError as error:
        return model, [Prospect(name=item.name, problem=str(error))]
    record = result.records[0]
    prospect = Prospect(
        name=item.name,
        counts=dict(record.counts),
        declined=dict(result.diagnostics.declined(item.name, *record.members).most_common()),
        nodes=record.nodes,
        weight_bytes=record.weight_bytes,
        remarks=tuple(result.diagnostics),
        needs_data=item.needs_data and manager.data is None,
    )
    return result.model, [prospect]


def _is_short(cls: type[Pass]) -> bool:
    """Whether a pass has a preview of its own, which takes little time with data, too."""
    return cls.preview is not Pass.preview


def _tensors(values: object) -> tuple[Tensor, ...]:
    assert isinstance(values, list | tuple)
    return tuple(
        Tensor(
            name=v.name,
            dtype=v.dtype.name.lower() if v.dtype is not None else "",
            shape=list(v.shape) if v.shape is not None else None,
        )
        for v in values
    )


def _dtypes(model: Model) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for graph in model.graph.graphs():
        for value in graph.written():
            if value.data is not None and value.dtype is not None:
                counted[value.dtype.name.lower()] += value.data.size
    return dict(counted.most_common())
