"""In distribution against out of distribution: one point a method, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from isograd.report.figures import style_axes
from isograd.report.summary import Cell, Method, describe_split
from isograd.report.svg import GRID, INK, MUTED, PAGE, drawing, slot_color, to_svg
from isograd.report.words import percent, span_of

__all__ = ["MARKERS", "scatter_panel"]

# One shape for each dash pattern: methods that share a color differ in it.
MARKERS = ("o", "s", "^", "D")
_WIDTH, _HEIGHT = 380, 340
_FONT = 12
_PER_INCH = 72
_LEFT, _BOTTOM, _RIGHT, _TOP = 46, 44, 14, 10
# Half the sides of the box that keeps a number free of other numbers, in pixels.
_CLEAR_X, _CLEAR_Y = 15, 11.5
# Where a number may stand: rings around its point, the nearest first; beyond the first a line leads back. Diagonals
# come first, as intervals take the axes.
_RINGS = (11, 22, 34, 46, 58, 70)
_PLACES = tuple(
    (radius * math.cos(math.pi * angle / 8), radius * math.sin(math.pi * angle / 8))
    for radius in _RINGS
    for angle in (2, 6, 14, 10, 1, 3, 5, 7, 9, 11, 13, 15, 0, 8, 4, 12)
)


def scatter_panel(methods: Sequence[Method], split: str, figure_key: str) -> Markup | None:
    """A point for each method: accuracy in distribution across, accuracy in ``split`` up, 95% intervals as crosses.

    The numbers beside the points are the methods' places in the report, from 1. ``figure_key`` is unique on the page.

    Returns:
        None where no method has both accuracies.
    """
    points = [
        (method, across, up)
        for method in methods
        if (across := method.accuracy("id")) is not None and (up := method.accuracy(split)) is not None
    ]
    if not points:
        return None
    with drawing(_FONT):
        figure = Figure(figsize=(_WIDTH / _PER_INCH, _HEIGHT / _PER_INCH))
        inner = (_WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - _TOP)
        axes = figure.add_axes(
            (_LEFT / _WIDTH, _BOTTOM / _HEIGHT, inner[0] / _WIDTH, inner[1] / _HEIGHT),
        )
        axes.set_xlim(_range([across for _, across, _ in points]))
        axes.set_ylim(_range([up for _, _, up in points]))
        style_axes(axes, "in distribution")
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
        # Where a shift costs nothing.
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)), scalex=False, scaley=False)
        for method, across, up in points:
            _cross(axes, method, across, up)
        for (method, across, up), (dx, dy) in zip(points, _offsets(points, axes, inner), strict=True):
            text = axes.annotate(
                str(method.index + 1),
                (across.mean, up.mean),
                xytext=(dx, dy),
                textcoords="offset points",
                ha="center",
                va="center_baseline",
                color=INK,
                fontsize=11,
                arrowprops=None
                if math.hypot(dx, dy) <= _RINGS[0] + 1
                else {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3},
            )
            text.set_clip_on(False)
        said = "; ".join(
            f"{method.index + 1} {method.label} {_said(across)} in distribution, {_said(up)} here"
            for method, across, up in points
        )
        title = describe_split(split).title
        return to_svg(figure, figure_key, f"In distribution against {title}, accuracy: {said}.")


def _said(cell: Cell) -> str:
    return percent(cell.mean) + (f" ({span_of(cell.interval)})" if cell.interval else "")


def _cross(axes: Axes, method: Method, across: Cell, up: Cell) -> None:
    color = slot_color(method.slot)
    if across.interval:
        axes.hlines(up.mean, *across.interval, color=color, linewidth=1, alpha=0.55)
    if up.interval:
        axes.vlines(across.mean, *up.interval, color=color, linewidth=1, alpha=0.55)
    marker = MARKERS[method.marker]
    axes.plot(across.mean, up.mean, marker, color=color, markersize=7.5, markeredgecolor=PAGE, markeredgewidth=0.8)


def _range(cells: Sequence[Cell]) -> tuple[float, float]:
    """The ends of an axis: all intervals and some air, at least ten points wide; a little beyond 0 and 1 at most."""
    ends = [end for cell in cells for end in (cell.mean, *(cell.interval or ()))]
    low, high = min(ends), max(ends)
    air = max(0.08 * (high - low), (0.1 - (high - low)) / 2, 0.02)
    return max(low - air, -0.04), min(high + air, 1.04)


def _offsets(
    points: Sequence[tuple[Method, Cell, Cell]], axes: Axes, inner: tuple[int, int]
) -> list[tuple[float, float]]:
    """Where to write each number beside its point: the first place that is free of points and earlier numbers."""
    place_x, place_y = _pixels(axes.get_xlim(), inner[0]), _pixels(axes.get_ylim(), inner[1])
    spots = [(place_x(across.mean), place_y(up.mean)) for _, across, up in points]
    taken = list(spots)
    offsets = []
    for x, y in spots:

        def crowd(offset: tuple[float, float], x: float = x, y: float = y) -> int:
            near = sum(abs(x + offset[0] - a) < _CLEAR_X and abs(y + offset[1] - b) < _CLEAR_Y for a, b in taken)
            outside = not (4 < x + offset[0] < inner[0] + 4 and 4 < y + offset[1] < inner[1])
            return near + 100 * outside

        best = min(_PLACES, key=crowd)
        taken.append((x + best[0], y + best[1]))
        offsets.append(best)
    return offsets


def _pixels(limits: tuple[float, float], length: int) -> Callable[[float], float]:
    low, high = limits
    return lambda value: (value - low) / (high - low) * length
