"""Classes of elements under ties and constraints."""

from __future__ import annotations

import networkx as nx
import numpy as np

from ocompress.analysis.channels.classes import classify, unite
from ocompress.analysis.channels.relation import Blocks, Constraint, Cycles, Link, Spot, Stop
from ocompress.ir import Value

SPOT: Spot = (Value("v"), 0)


def classes(extent: int, ties: list[tuple[int, int]], *constraints: Constraint) -> list[int]:
    graph = nx.MultiGraph()
    graph.add_node(SPOT, extent=extent)
    if ties:
        first, second = np.array(ties).T
        graph.add_edge(SPOT, SPOT, link=Link(SPOT, SPOT, (first, second)))
    found: list[int] = classify(graph, list(constraints), []).of[SPOT].tolist()
    return found


def test_ties_reach_through_chains() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(1000)
    assert not unite(1000, [(order[:-1], order[1:])]).any()


def test_blocks_tie_only_what_is_uneven() -> None:
    assert classes(6, [], Blocks(SPOT, 2)) == [0, 1, 2, 0, 1, 2]
    assert classes(6, [(0, 4), (1, 5), (2, 3)], Blocks(SPOT, 2)) == [0, 1, 2, 2, 0, 1]


def test_cycles_want_neighbours() -> None:
    assert classes(6, [], Cycles(SPOT, 2)) == [0, 0, 1, 1, 2, 2]
    assert classes(6, [(1, 2), (3, 4)], Cycles(SPOT, 2)) == [0, 0, 0, 0, 0, 0]
    assert classes(4, [(0, 3), (1, 2)], Cycles(SPOT, 2)) == [0, 0, 0, 0]


def test_what_is_left_of_a_round_stays() -> None:
    graph = nx.MultiGraph()
    graph.add_node(SPOT, extent=10)
    found = classify(graph, [Cycles(SPOT, 2), Blocks(SPOT, 2)], [])
    assert found.of[SPOT].tolist() == [0, 0, 1, 1, 2, 0, 0, 1, 1, 3]
    assert {c: s.code for c, s in found.stop.items()} == dict.fromkeys((2, 3), "shuffle-remainder")


def test_stops_hold_whole_classes() -> None:
    graph = nx.MultiGraph()
    graph.add_node(SPOT, extent=4)
    graph.add_edge(SPOT, SPOT, link=Link(SPOT, SPOT, (np.array([0]), np.array([2]))))
    stop = Stop("some", "reason", None, np.array([2]))
    found = classify(graph, [], [(SPOT, stop)])
    assert found.stop == {0: stop}
    assert found.free == 2
