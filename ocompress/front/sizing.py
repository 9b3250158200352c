"""A limit on the bytes of an archive becomes a goal of the pass that rounds for archives."""

from __future__ import annotations

from ocompress.pipeline import Pipeline

_GOAL = "max_size"


def sized(pipeline: Pipeline, most: float | None) -> Pipeline:
    """Return a pipeline whose last pass that can aim at a size aims at a limit in bytes.

    A pass that has a goal of its own keeps it; the limit is checked in any case.

    Args:
        pipeline: The passes.
        most: Bytes that the archive may take; None if there is no such limit.
    """
    able = [at for at, p in enumerate(pipeline.passes) if _GOAL in p.goals and not p.has_goal]
    if most is None or not able:
        return pipeline
    passes = list(pipeline.passes)
    item = passes[able[-1]]
    passes[able[-1]] = type(item)(**item.settings() | {_GOAL: max(int(most), 1)})
    return Pipeline(tuple(passes), pipeline.fixed)
