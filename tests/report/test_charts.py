"""Points in a plane: what is drawn where, in every form of a report."""

from __future__ import annotations

import pytest

from ocompress.auto import Chain, Plan, PlanGoal, PlanPeer, PlanTrial, Step, chosen_families
from ocompress.report import tables_front, webpage
from ocompress.report.charts import Mark, Point, Scatter
from ocompress.report.markdown import markdown
from ocompress.report.parts import Bar
from tests.report.parse import check, read

EVIL = "<script>&"


def scatter(*points: Point, limit: float | None = None) -> Scatter:
    texts = ("{:.3g}".format, "{:.2f}".format)
    return Scatter(points, ("lost", "time"), texts, limit, "error against time")


def test_points_lie_where_their_numbers_are() -> None:
    chart = scatter(
        Point(0.0, 0.0, "a", Mark.TRIED),
        Point(1.0, 1.0, "b", Mark.CHOSEN),
        Point(0.5, 0.5, "c", Mark.BEST),
        limit=0.25,
    )
    assert chart.ends == (1.25, 1.25)
    head, *lines = list(chart.rows(width=51, height=11))
    plane = [line.partition("┤")[2] for line in lines[:11]]
    assert head == "time"
    assert (plane[10][0], plane[2][40], plane[6][20]) == ("·", "●", "o")
    assert [line[10] for line in plane if len(line) > 10].count("│") == 11
    assert lines[0].startswith("1.25")


def test_what_is_far_beyond_the_limit_is_counted() -> None:
    far = Point(9.0, 0.1, "x", Mark.OVER)
    chart = scatter(
        Point(0.1, 0.5, "a", Mark.CHOSEN), far, Point(0.3, 0.4, "o", Mark.OVER), limit=0.2
    )
    assert chart.ends[0] == 0.5
    assert [p.label for p in chart.drawn] == ["o", "a"]
    assert chart.beyond == "1 more model loses more than 0.5"
    assert chart.beyond in markdown("t", [chart])


def test_svg_says_what_each_point_is() -> None:
    chart = scatter(
        Point(0.0, 1.0, "the original", Mark.ORIGINAL),
        Point(0.2, 0.8, EVIL, Mark.BEST),
        Point(0.4, 0.5, "mine", Mark.CHOSEN),
        Point(0.5, 0.7, "other.onnx", Mark.PEER),
        limit=0.5,
    )
    written = read(webpage("t", [chart]))
    check(written)
    drawing = next(e for e in written.all("svg") if e.attributes["class"] == "chart")
    assert drawing.attributes["aria-label"] == "error against time"
    titles = [e.text for e in drawing.all("title")]
    assert f"{EVIL}: 0.2, 0.80, holds, and none that loses less is better" in titles
    assert len(titles) == 4
    (best,) = [e for e in drawing.of_class("best") if e.name == "circle"]
    (chosen,) = drawing.of_class("chosen")
    x, y = (float(chosen.attributes[c]) - float(best.attributes[c]) for c in ("cx", "cy"))
    assert x > 0  # it loses more
    assert y > 0  # and is faster: further down
    assert len(drawing.of_class("front")) == 1


@pytest.mark.parametrize(
    ("part", "gone", "blocks"),
    [
        (5, 3, "█████▒▒▒░░"),
        (5, 0.01, "█████▒░░░░"),
        (10, 0, "██████████"),
        (0, 10, "▒▒▒▒▒▒▒▒▒▒"),
    ],
)
def test_bars_show_what_was_taken_away(part: float, gone: float, blocks: str) -> None:
    assert Bar(part, 10, gone).blocks(10) == blocks


FAMILIES = {f.name: f for f in chosen_families(PlanGoal.LATENCY, ["channels", "dynamic"])}


def trial(*names: str, held: bool = True, **figures: float) -> PlanTrial:
    chain = Chain.of([Step(FAMILIES[n], 0.5 if n == "channels" else None) for n in names])
    size = int(figures.pop("size", 500))
    return PlanTrial(chain=chain, held=held, size=size, **figures)  # type: ignore[arg-type]


def plan(*, peers: tuple[PlanPeer, ...] = ()) -> Plan:
    base = trial(drop=0.0, latency=1.0, size=1000)
    first = trial("channels", drop=0.002, latency=0.7, size=600)
    both = trial("channels", "dynamic", drop=0.004, latency=0.3, size=200)
    over = trial("dynamic", held=False, drop=0.3, latency=0.5, size=300)
    return Plan(
        goal=PlanGoal.LATENCY,
        chosen=both,
        trials=(base, first, both, over),
        noun="accuracy",
        seconds=1.0,
        original_bytes=1000,
        original_ms=2.0,
        limit=0.01,
        steps=(base, first, both),
        peers=peers,
    )


def test_a_waterfall_says_what_each_family_saves() -> None:
    found = markdown("t", tables_front.waterfall(plan()))
    rows = [[c.strip() for c in r.split("|")] for r in found.splitlines() if r.startswith("|")]
    said = {r[1]: (r[2], r[3], r[5], r[6], r[8]) for r in rows}
    assert said["channels"] == ("600 B", "−400 B", "1.400", "−0.600", "0.20")  # noqa: RUF001
    assert said["dynamic"] == ("200 B", "−400 B", "0.600", "−0.800", "0.40")  # noqa: RUF001


def test_steps_that_were_not_measured_are_told_with_the_next() -> None:
    found = plan()
    short = Plan(**{**vars(found), "steps": (found.steps[0], found.steps[2])})
    assert "| channels, dynamic |" in markdown("t", tables_front.waterfall(short))


def test_every_trial_and_peer_is_a_point() -> None:
    peers = (
        PlanPeer(name="p.onnx", size=400, drop=0.004, latency=0.6, held=True),
        PlanPeer(name="broken.onnx", size=400, why="it does not run"),
    )
    by_time, by_bytes = (
        p for p in tables_front.drawn(plan(peers=peers), every=True) if isinstance(p, Scatter)
    )
    marks = {p.label: p.mark for p in by_time.points}
    assert marks["quant-dynamic"] is Mark.OVER
    assert marks["prune-channels{max_time=0.5},quant-dynamic"] is Mark.CHOSEN
    assert marks["p.onnx"] is Mark.PEER
    assert "broken.onnx" not in marks
    assert {p.y for p in by_bytes.points} == {200, 300, 400, 600, 1000}
    (only,) = [p for p in tables_front.drawn(plan(), every=False) if isinstance(p, Scatter)]
    assert only.heads[1] == "time over the original's"
    told = markdown("t", tables_front.peers(plan(peers=peers)))
    assert "it does not run" in told
