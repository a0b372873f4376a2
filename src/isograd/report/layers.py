"""Numbers by layer: the Logical Consistency Score, and what gradient masks let through."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isograd.report.figures import style_axes
from isograd.report.runs import LAYER_POOLINGS, Distance, Run, Sides
from isograd.report.scatter import MARKERS
from isograd.report.summary import Cell, Method, average
from isograd.report.svg import MUTED, drawing, slot_color, to_svg
from isograd.report.words import listed

__all__ = [
    "DistanceTable",
    "LayerDistances",
    "Masks",
    "collapsed_layers",
    "consistency_panel",
    "distances_by_layer",
    "masks",
]

MASK = "mask/"
_CKA = "cka_"
_WIDTH, _HEIGHT = 300, 200
_FONT = 12
_PER_INCH = 72

Line = Mapping[int, float | None]
"""Values by place; None breaks the line."""


@dataclass(frozen=True)
class Masks:
    """The share of the gradient that masks let through, in [0, 1]: names of layers, means by method, a drawing."""

    layers: list[str]
    rows: list[tuple[Method, list[Cell | None]]]
    drawing: Markup


@dataclass(frozen=True)
class LayerDistances:
    """Distances of one method at one layer: the numbers of each pooling, and whether it is collapsed."""

    method: Method
    layer: int
    distances: list[tuple[list[Cell | None], bool]]


@dataclass(frozen=True)
class DistanceTable:
    """Distances by layer. ``poolings`` are the titles of those measured; ``sides`` the columns of each: cosine within
    and between, and where any run has it 1 - CKA within and between.
    """

    poolings: list[str]
    sides: list[str]
    rows: list[LayerDistances]


def consistency_panel(methods: Sequence[Method], pooling: str, figure_key: str) -> Markup | None:
    """Distance within sets over distance between sets by layer, one line per method: below 1, logic outweighs words.

    Args:
        methods: whose runs to draw, means over their seeds.
        pooling: a key of :data:`~isograd.report.runs.LAYER_POOLINGS`.
        figure_key: unique on the page.

    Returns:
        None where no run was measured by layer with this pooling. Collapsed layers have no point.
    """
    lines = []
    for method in methods:
        line: dict[int, float | None] = {}
        for layer in _layers(method):
            cell = method.over_seeds(_reading(pooling, layer, "ratio"))
            line[layer] = None if cell is None or _collapsed(method, pooling, layer) else cell.mean
        if any(value is not None for value in line.values()):
            lines.append((method, line))
    if not lines:
        return None
    name = f"Distance within sets over distance between sets by layer, {LAYER_POOLINGS[pooling]}"
    return _panel(lines, figure_key, name, "layer", level=1.0)


def distances_by_layer(methods: Sequence[Method]) -> DistanceTable | None:
    """The numbers behind :func:`consistency_panel`, and CKA's, means over seeds; None where nothing was measured."""
    places = [(method, layer) for method in methods for layer in _layers(method)]
    forms = {"within": "within", "between": "between"}
    if _any(places, LAYER_POOLINGS, ("cka_within", "cka_between")):
        forms |= {"cka_within": "1 − CKA, within", "cka_between": "1 − CKA, between"}
    poolings = [pooling for pooling in LAYER_POOLINGS if _any(places, [pooling], forms)]
    rows = [
        LayerDistances(
            method,
            layer,
            [
                (
                    [method.over_seeds(_reading(pooling, layer, form)) for form in forms],
                    _collapsed(method, pooling, layer),
                )
                for pooling in poolings
            ],
        )
        for method, layer in places
    ]
    titles = [LAYER_POOLINGS[pooling] for pooling in poolings]
    return DistanceTable(titles, list(forms.values()), rows) if rows and titles else None


def _any(places: Sequence[tuple[Method, int]], poolings: Iterable[str], forms: Iterable[str]) -> bool:
    return any(
        method.over_seeds(_reading(pooling, layer, form)) is not None
        for (method, layer), pooling, form in itertools.product(places, poolings, forms)
    )


def collapsed_layers(methods: Sequence[Method]) -> list[str]:
    """Where representations are collapsed, in at least one seed: a sentence for each pooling that has such places."""
    sentences = []
    for pooling, title in LAYER_POOLINGS.items():
        places = []
        for method in methods:
            layers = [str(layer) for layer in _layers(method) if _collapsed(method, pooling, layer)]
            if layers:
                places.append(f"{method.label} at {'layer' if len(layers) == 1 else 'layers'} {listed(layers)}")
        if places:
            sentences.append(f"Collapsed ({title}): {'; '.join(places)}.")
    return sentences


def _layers(method: Method) -> list[int]:
    return sorted({layer for run in method.scored for layer in run.lcs.by_layer})


def _distance(run: Run, pooling: str, layer: int) -> Distance:
    found = run.lcs.by_layer.get(layer)
    return Distance() if found is None else getattr(found, pooling)


def _reading(pooling: str, layer: int, what: str) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        distance = _distance(run, pooling, layer)
        part: Sides = distance.cka if what.startswith(_CKA) else distance
        value: float | None = getattr(part, what.removeprefix(_CKA))
        return value

    return read


def _collapsed(method: Method, pooling: str, layer: int) -> bool:
    return any(_distance(run, pooling, layer).collapsed for run in method.scored)


def masks(methods: Sequence[Method], figure_key: str) -> Masks | None:
    """The mean of each logged ``mask/LAYER`` over training, averaged over scored runs; layers in the log's order.

    Returns:
        None where no scored run logged a mask of a layer.
    """
    rows = [row for method in methods for run in method.scored for row in run.training]
    keys = list(dict.fromkeys(key for row in rows for key in row if key.startswith(MASK) and key != f"{MASK}mean"))
    cells = [(method, [_logged_mean(method, key) for key in keys]) for method in methods]
    cells = [(method, found) for method, found in cells if any(found)]
    if not keys or not cells:
        return None
    lines = [
        (method, {place: None if cell is None else cell.mean for place, cell in enumerate(found, start=1)})
        for method, found in cells
    ]
    name = "Share that the mask lets through by layer, mean over training"
    picture = _panel(lines, figure_key, name, "adapted weight", level=None)
    return Masks([key.removeprefix(MASK) for key in keys], cells, picture)


def _logged_mean(method: Method, key: str) -> Cell | None:
    means = []
    for run in method.scored:
        values = [row[key] for row in run.training if key in row]
        if values:
            means.append(math.fsum(values) / len(values))
    return average(means) if means else None


def _panel(
    lines: Sequence[tuple[Method, Line]], figure_key: str, name: str, across: str, *, level: float | None
) -> Markup:
    with drawing(_FONT):
        figure = Figure(figsize=(_WIDTH / _PER_INCH, _HEIGHT / _PER_INCH))
        axes = figure.add_axes((40 / _WIDTH, 36 / _HEIGHT, 1 - 50 / _WIDTH, 1 - 46 / _HEIGHT))
        for method, line in lines:
            axes.plot(
                list(line),
                [math.nan if value is None else value for value in line.values()],
                color=slot_color(method.slot),
                linewidth=1.5,
                linestyle=(0, method.dash) if method.dash else "-",
                marker=MARKERS[method.marker],
                markersize=3.5,
                # A point on the bottom of the axis is drawn whole.
                clip_on=False,
            )
        values = [value for _, line in lines for value in line.values() if value is not None]
        values += [] if level is None else [level]
        low, high = min(values), max(values)
        # Not from zero: points, unlike bars, do not speak by their height, and layers differ by little.
        air = 0.08 * (high - low) or 0.05
        axes.set_ylim(max(low - air, min(low, 0)), high + air)
        if level is not None:
            axes.axhline(level, color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        style_axes(axes, across)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        said = "; ".join(
            f"{method.label} {', '.join(f'{place}: {value:.2g}' for place, value in line.items() if value is not None)}"
            for method, line in lines
        )
        return to_svg(figure, figure_key, f"{name}: {said}.")
