"""A reasoning graph as a drawing: layers from left to right, few crossings, edges that pass between the nodes.

The layered drawing of Sugiyama, Tagawa and Toda (1981): layers by longest path, long edges through a place of their own
in every layer that they pass, order within the layers by the mean of the neighbours' places.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from isograd.isomers.graph import to_networkx
from isograd.isomers.review.pieces import clean, shorten
from isograd.isomers.schema import Node, ReasoningGraph, Value

__all__ = ["Box", "Drawing", "Line", "draw", "value_text"]

MOST_NODES: Final = 150
MOST_EDGES: Final = 400

_WIDTH: Final = 100
_HEIGHT: Final = 42
_PASSING: Final = 14
"""Height that an edge takes in a layer that it passes."""
_ACROSS: Final = 14
_ALONG: Final = 72
_EDGE: Final = 6
_FITS: Final = 12
"""Characters that fit into a node."""
_STRAIGHT: Final = 8
"""How much more it counts that the chain of derived nodes runs straight than that other edges do."""
_SWEEPS: Final = 12

Place = str | tuple[int, int]
"""A node's id, or the number of a long edge and of the layer that it passes."""


@dataclass(frozen=True)
class Box:
    """A node as drawn: corner, texts, and words for those who do not see it."""

    x: float
    y: float
    node: str
    type: str
    title: str
    detail: str
    words: str


@dataclass(frozen=True)
class Line:
    """An edge as drawn: its path, and its role where there is room for it."""

    path: str
    x: float
    y: float
    label: str
    source: str
    target: str


@dataclass(frozen=True)
class Drawing:
    """A graph as drawn, in CSS pixels; ``types`` are the node types in it."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    types: tuple[str, ...]
    box_width: int = _WIDTH
    box_height: int = _HEIGHT


def value_text(value: Value | None) -> str:
    """A node's value in words; empty where there is none."""
    if value is None:
        return ""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def draw(graph: ReasoningGraph) -> Drawing | None:
    """Lay a valid reasoning graph out; None for one that is too large to be looked at."""
    if len(graph.nodes) > MOST_NODES or len(graph.edges) > MOST_EDGES:
        return None
    depth = _depths(graph)
    layers: list[list[Place]] = [[] for _ in range(max(depth.values()) + 1)]
    for node in graph.nodes:
        layers[depth[node.id]].append(node.id)
    routes: list[list[Place]] = []
    for number, edge in enumerate(graph.edges):
        passed: list[Place] = [(number, layer) for layer in range(depth[edge.source] + 1, depth[edge.target])]
        for place, layer in zip(passed, range(depth[edge.source] + 1, depth[edge.target]), strict=True):
            layers[layer].append(place)
        routes.append([edge.source, *passed, edge.target])
    _order(layers, routes)
    spots, height = _spots(layers, routes, {node.id for node in graph.steps})
    lines = tuple(
        _line([spots[place] for place in route], clean(edge.role), edge.source, edge.target)
        for route, edge in zip(routes, graph.edges, strict=True)
    )
    boxes = tuple(_box(node, *spots[node.id]) for node in graph.nodes)
    width = len(layers) * (_WIDTH + _ALONG) - _ALONG + 2 * _EDGE
    types = tuple(dict.fromkeys(node.type.value for node in sorted(graph.nodes, key=lambda node: depth[node.id])))
    return Drawing(width, height + 2 * _EDGE, boxes, lines, types)


def _depths(graph: ReasoningGraph) -> dict[str, int]:
    """Layers by the longest path to the goal: everything stands just before the first that needs it."""
    digraph = to_networkx(graph)
    height: dict[str, int] = {}
    for node in reversed(graph.nodes):  # targets first: a valid graph lists sources first
        height[node.id] = 1 + max((height[target] for target in digraph.successors(node.id)), default=-1)
    most = max(height.values())
    return {name: most - value for name, value in height.items()}


def _order(layers: list[list[Place]], routes: list[list[Place]]) -> None:
    """Sort each layer by the mean place of its neighbours, to and fro; the order with the fewest crossings stays."""
    before: dict[Place, list[Place]] = {}
    after: dict[Place, list[Place]] = {}
    for route in routes:
        for first, second in pairwise(route):
            before.setdefault(second, []).append(first)
            after.setdefault(first, []).append(second)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, before)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        neighbours = before if forward else after
        sequence = layers[1:] if forward else layers[-2::-1]
        previous = layers[0] if forward else layers[-1]
        for layer in sequence:
            at = {place: index for index, place in enumerate(previous)}
            own = {place: index for index, place in enumerate(layer)}

            def mean(place: Place, at: dict[Place, int] = at, own: dict[Place, int] = own) -> float:
                found = [at[other] for other in neighbours.get(place, ()) if other in at]  # noqa: B023
                return sum(found) / len(found) if found else float(own[place])

            layer.sort(key=mean)
            previous = layer
        crossings = _crossings(layers, before)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _crossings(layers: list[list[Place]], before: dict[Place, list[Place]]) -> int:
    count = 0
    for first, second in pairwise(layers):
        at = {place: index for index, place in enumerate(first)}
        ends = [sorted(at[source] for source in before.get(place, ()) if source in at) for place in second]
        seen: list[int] = []
        for sources in ends:
            count += sum(1 for source in sources for earlier in seen if earlier > source)
            seen += sources
    return count


def _spots(
    layers: list[list[Place]], routes: list[list[Place]], derived: set[Place]
) -> tuple[dict[Place, tuple[float, float]], float]:
    """The middle of every place's left side: as near to its neighbours as its layer's order allows."""
    sizes = [[_HEIGHT if isinstance(place, str) else _PASSING for place in layer] for layer in layers]
    height = max(float(sum(size) + _ACROSS * (len(size) - 1)) for size in sizes)
    middle: dict[Place, float] = {}
    for layer, size in zip(layers, sizes, strict=True):
        at = (height - sum(size) - _ACROSS * (len(size) - 1)) / 2
        for place, own in zip(layer, size, strict=True):
            middle[place] = at + own / 2
            at += own + _ACROSS
    near: dict[Place, list[tuple[Place, int]]] = {}
    for route in routes:
        weight = _STRAIGHT if route[0] in derived else 1
        for first, second in pairwise(route):
            near.setdefault(first, []).append((second, weight))
            near.setdefault(second, []).append((first, weight))
    for _ in range(_SWEEPS):
        for layer, size in zip(layers, sizes, strict=True):
            wanted = [
                sum(middle[other] * weight for other, weight in near[place]) / sum(weight for _, weight in near[place])
                if place in near
                else middle[place]
                for place in layer
            ]
            _settle(layer, size, wanted, middle, height)
    spots = {
        place: (float(_EDGE + number * (_WIDTH + _ALONG)), _EDGE + middle[place])
        for number, layer in enumerate(layers)
        for place in layer
    }
    return spots, height


def _settle(
    layer: list[Place], size: list[int], wanted: list[float], middle: dict[Place, float], height: float
) -> None:
    """Move a layer's places towards where they are wanted, without overlap and within the height."""
    low, lows = 0.0, []
    for own, at in zip(size, wanted, strict=True):
        low = max(low, at - own / 2)
        lows.append(low)
        low += own + _ACROSS
    high = height
    for index in range(len(layer) - 1, -1, -1):
        top = min(lows[index], high - size[index])
        middle[layer[index]] = top + size[index] / 2
        high = top - _ACROSS


def _line(spots: list[tuple[float, float]], label: str, source: str, target: str) -> Line:
    """A smooth path from the right side of the source, through the places that it passes, to the target's left."""
    x, y = spots[0][0] + _WIDTH, spots[0][1]
    parts = [f"M{x:.1f} {y:.1f}"]
    for index, (left, level) in enumerate(spots[1:], 1):
        end = left - 5 if index == len(spots) - 1 else left
        bend = (end - x) / 2
        parts.append(f"C{x + bend:.1f} {y:.1f} {end - bend:.1f} {level:.1f} {end:.1f} {level:.1f}")
        start, x, y = (x, y), end, level
        if index < len(spots) - 1:
            x = left + _WIDTH
            parts.append(f"H{x:.1f}")
    return Line(" ".join(parts), (start[0] + x) / 2, (start[1] + y) / 2, shorten(label, 14), source, target)


def _box(node: Node, x: float, y: float) -> Box:
    value = clean(value_text(node.value))
    name = clean(node.id)
    words = f"{node.type.value} {name}" + (f", {node.op}" if node.op else "") + (f", value {value}" if value else "")
    title, detail = (f"{name} = {value}" if value else name), node.op or node.type.value.lower()
    if len(title) > _FITS and value:
        title, detail = value, f"{name} · {detail}"
    told = clean(f"{words}: {node.description}" if node.description else words)
    return Box(
        x,
        y - _HEIGHT / 2,
        node.id,
        node.type.value,
        shorten(title, _FITS),
        shorten(detail, _FITS + 4),
        shorten(told, 300),
    )
