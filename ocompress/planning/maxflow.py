"""Maximum flow and minimum cut, by Dinic's algorithm (Soviet Math. Doklady 1970)."""

from __future__ import annotations


class FlowNetwork:
    """A directed network with whole-number capacities."""

    INFINITE = 1 << 60
    """A capacity that no minimum cut contains."""

    def __init__(self, nodes: int) -> None:
        """Make a network of nodes 0 to `nodes - 1` without edges."""
        self._edges: list[list[int]] = [[] for _ in range(nodes)]
        self._head: list[int] = []
        self._room: list[int] = []

    def add_node(self) -> int:
        """Add a node and return its number."""
        self._edges.append([])
        return len(self._edges) - 1

    def add(self, tail: int, head: int, capacity: int) -> None:
        """Add an edge; edges come in pairs, the odd one is the way back."""
        if capacity <= 0 or tail == head:
            return
        self._edges[tail].append(len(self._head))
        self._head.append(head)
        self._room.append(capacity)
        self._edges[head].append(len(self._head))
        self._head.append(tail)
        self._room.append(0)

    def source_side(self, source: int, sink: int) -> set[int]:
        """Return the nodes on the source side of the minimum cut; of several, the smallest."""
        while True:
            level = self._levels(source)
            if level[sink] < 0:
                return {n for n, depth in enumerate(level) if depth >= 0}
            self._block(source, sink, level)

    def _levels(self, source: int) -> list[int]:
        level = [-1] * len(self._edges)
        level[source] = 0
        queue = [source]
        head, room = self._head, self._room
        for node in queue:
            deeper = level[node] + 1
            for edge in self._edges[node]:
                if room[edge] and level[head[edge]] < 0:
                    level[head[edge]] = deeper
                    queue.append(head[edge])
        return level

    def _block(self, source: int, sink: int, level: list[int]) -> None:
        """Saturate every shortest path."""
        position = [0] * len(self._edges)
        path: list[int] = []
        node = source
        head, room = self._head, self._room
        while True:
            if node == sink:
                flow = min(room[e] for e in path)
                first = len(path)
                for index, edge in enumerate(path):
                    room[edge] -= flow
                    room[edge ^ 1] += flow
                    if room[edge] == 0:
                        first = min(first, index)
                node = head[path[first] ^ 1]
                del path[first:]
            edges = self._edges[node]
            while position[node] < len(edges):
                edge = edges[position[node]]
                if room[edge] and level[head[edge]] == level[node] + 1:
                    path.append(edge)
                    node = head[edge]
                    break
                position[node] += 1
            else:
                if node == source:
                    return
                edge = path.pop()
                node = head[edge ^ 1]
                position[node] += 1
