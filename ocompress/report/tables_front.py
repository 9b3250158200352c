"""What plans cost and save, drawn: every model that was tried, and what each pass saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import RenderableType
from rich.text import Text

from ocompress.auto import Plan, PlanGoal
from ocompress.auto.trial import front
from ocompress.report.charts import Mark, Point, Scatter
from ocompress.report.figures import byte_text
from ocompress.report.parts import Bar, Heading
from ocompress.report.sheet import Sheet

_Measure = tuple[PlanGoal, str, Callable[[float], str], str]
_BY_TIME: _Measure = (
    PlanGoal.LATENCY,
    "time over the original's",
    lambda value: f"{value:.2f}",
    "What is lost, against time",
)
_BY_BYTES: _Measure = (
    PlanGoal.SIZE,
    "bytes of the file",
    lambda value: byte_text(round(value)),
    "What is lost, against bytes",
)
_LEGEND = "light: what the pass takes away; without ms, the model after it was not timed"


def drawn(found: Plan, *, every: bool) -> Iterator[RenderableType]:
    """Return the models that were tried as points: error against time and against bytes.

    Args:
        found: The plan.
        every: Whether both are drawn; else only what the goal is about.
    """
    wanted = [_BY_TIME, _BY_BYTES]
    if not every:
        wanted = [_BY_TIME if found.goal is PlanGoal.LATENCY else _BY_BYTES]
    for goal, head, text, title in wanted:
        points = tuple(_points(found, goal))
        if len(points) > 1:
            yield Heading(title, 3)
            heads = (f"points of {found.noun} lost", head)
            yield Scatter(points, heads, (_points_text, text), found.limit, title)


def _points(found: Plan, goal: PlanGoal) -> Iterator[Point]:
    known = [t for t in found.trials if t.drop is not None and t.value(goal) < float("inf")]
    best = front([t for t in known if t.held], goal)
    for trial in known:
        mark = Mark.TRIED if trial.held else Mark.OVER
        if trial is found.chosen:
            mark = Mark.CHOSEN
        elif trial in best:
            mark = Mark.BEST
        yield Point(max(trial.drop or 0.0, 0.0), trial.value(goal), str(trial.chain), mark)
    timed = goal is PlanGoal.LATENCY
    for peer in found.peers:
        value = peer.latency if timed else float(peer.size)
        if peer.drop is not None and value is not None:
            yield Point(max(peer.drop, 0.0), value, peer.name, Mark.PEER)
    if known:
        yield Point(0.0, 1.0 if timed else found.original_bytes, "the original", Mark.ORIGINAL)


def _points_text(value: float) -> str:
    return f"{100 * value:.3g}"


def waterfall(found: Plan) -> Iterator[RenderableType]:
    """Return what each family of the plan takes off the bytes and the time, one after the other."""
    if not found.steps:
        return
    yield Heading("What each family saves", 3)
    timed = any(trial.latency is not None for trial in found.steps)
    table = Sheet()
    table.add_column("after", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("saved", justify="right", no_wrap=True)
    table.add_column("")
    if timed:
        table.add_column("ms" if found.original_ms else "time", justify="right", no_wrap=True)
        table.add_column("saved", justify="right", no_wrap=True)
        table.add_column("")
    table.add_column("points lost", justify="right", no_wrap=True)
    start: list[RenderableType] = [Text("the original"), *_bytes(found, found.original_bytes, None)]
    if timed:
        start += _time(found, 1.0, None)
    table.add_row(*start, "")
    size, ratio, known = found.original_bytes, 1.0, 0
    for trial in found.steps:
        families = [s.family.name for s in trial.chain.steps[known:]]
        name = ", ".join(families) or "put in order"
        cells: list[RenderableType] = [Text(name), *_bytes(found, trial.size, size)]
        if timed:
            cells += _time(found, trial.latency, ratio)
        lost = "" if trial.drop is None else f"{100 * trial.drop:.2f}"
        table.add_row(*cells, lost)
        size, known = trial.size, len(trial.chain.steps)
        ratio = trial.latency if trial.latency is not None else ratio
    yield table
    yield Text(_LEGEND, style="dim")


def _bytes(found: Plan, now: int, before: int | None) -> list[RenderableType]:
    saved = "" if before is None else _signed(now - before, lambda v: byte_text(round(v)))
    gone = max((before or now) - now, 0)
    return [byte_text(now), saved, Bar(now, max(found.original_bytes, now), gone)]


def _time(found: Plan, now: float | None, before: float | None) -> list[RenderableType]:
    if now is None:
        return ["", "", ""]
    whole = found.original_ms

    def text(ratio: float) -> str:
        return f"{ratio:.3f}" if whole is None else f"{ratio * whole:.3f}"

    saved = "" if before is None else _signed(now - before, text)
    gone = max((now if before is None else before) - now, 0.0)
    return [text(now), saved, Bar(now, max(1.0, now), gone)]


def _signed(change: float, text: Callable[[float], str]) -> str:
    """Return a saving as a negative number; U+2212 is the sign of numbers."""
    sign = "+" if change > 0 else "\u2212" if change < 0 else ""
    return f"{sign}{text(abs(change))}"


def peers(found: Plan) -> Iterator[RenderableType]:
    """Return the models that the plan is compared with."""
    if not found.peers:
        return
    yield Heading("Beside other models", 3)
    table = Sheet()
    table.add_column("model", overflow="fold")
    table.add_column("points lost", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    chosen = found.chosen
    table.add_row(Text("the plan"), *_row(chosen.drop, chosen.latency, chosen.size), Text("chosen"))
    for peer in found.peers:
        cells = _row(peer.drop, peer.latency, peer.size)
        table.add_row(Text(peer.name), *cells, Text(peer.why or "holds"))
    yield table


def _row(drop: float | None, latency: float | None, size: int) -> tuple[str, str, str]:
    lost = "" if drop is None else f"{100 * drop:.2f}"
    return lost, "" if latency is None else f"{latency:.3f}", byte_text(size)
