"""The figures of the page: accuracy bars of one split, and training curves. Small panels that a page lays out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from isograd.report.runs import Run
from isograd.report.summary import Method, chance_level, describe_split
from isograd.report.svg import GRID, INK, MUTED, PAGE, drawing, slot_color, to_svg
from isograd.report.words import percent, shorten, span_of

__all__ = ["accuracy_panel", "curve_panel", "style_axes", "training_series"]

# One unit is one CSS pixel when a panel is shown at its natural width, which is about a phone's.
_WIDTH = 300
_ROW = 36
_FONT = 12
_PER_INCH = 72
# From here on a logarithmic axis shows the late differences that a linear one flattens.
_LOG_FROM = 30
# Points of all lines of a panel together, and of one line at least.
_POINTS, _FEWEST = 4000, 24
# Where along the axis the middle of the word "chance" may stand.
_CHANCE_FROM, _CHANCE_TO = 0.17, 0.7

Series = dict[float, float]


def accuracy_panel(methods: Sequence[Method], split: str, figure_key: str) -> Markup:
    """Horizontal bars, one per method, with intervals and, where it is known, the level of guessing.

    ``figure_key`` is unique on the page.
    """
    said = []
    chance = chance_level(methods, [split])
    with drawing(_FONT):
        height = _ROW * len(methods) + 26
        figure = Figure(figsize=(_WIDTH / _PER_INCH, height / _PER_INCH))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(height, 0)
        for row, method in enumerate(methods):
            top = row * _ROW
            cell = method.accuracy(split)
            interval = None if cell is None else cell.interval
            value = "no result" if cell is None else percent(cell.mean)
            said.append(f"{method.label} {value}" + (f" ({span_of(interval)})" if interval else ""))
            axes.text(0, top + 13, shorten(method.label, 30), color=INK, ha="left")
            axes.text(1, top + 13, value, color=MUTED if cell is None else INK, ha="right")
            axes.barh(top + 23, 1, height=9, color=GRID, alpha=0.55, linewidth=0)
            if cell is not None:
                axes.barh(top + 23, cell.mean, height=9, color=slot_color(method.slot), linewidth=0)
            if interval is not None:
                _whisker(axes, interval, top + 23)
            if chance is not None:
                axes.vlines(chance, top + 16.5, top + 29.5, color=INK, linewidth=1, linestyles=(0, (2, 1.5)))
        foot = height - 8
        axes.text(0, foot, "0", color=MUTED, ha="left")
        axes.text(1, foot, "100%", color=MUTED, ha="right")
        described = f"Accuracy, {describe_split(split).title}: {'; '.join(said)}."
        if chance is not None:
            # Near an end of the axis it would run into the number there.
            place = min(max(chance, _CHANCE_FROM), _CHANCE_TO)
            axes.text(place, foot, f"chance {percent(chance)}", color=MUTED, ha="center")
            described += f" Chance is {percent(chance)}."
        return to_svg(figure, figure_key, described)


def _whisker(axes: Axes, interval: tuple[float, float], y: float) -> None:
    low, high = interval
    # A halo of the page's color: on dark ground light ink would drown in the bright bar.
    for color, width in ((PAGE, 4), (INK, 1.8)):
        axes.hlines(y, low, high, color=color, linewidth=width)


def training_series(runs: Sequence[Run], key: str) -> list[Series]:
    """``{step: value}`` of one logged number, for each run that logged it, by seed."""

    def of(run: Run) -> Series:
        return {row["step"]: row[key] for row in run.training if key in row}

    return [series for run in sorted(runs, key=lambda run: run.seed) if (series := of(run))]


def curve_panel(
    methods: Sequence[Method], key: str, figure_key: str, name: str, together: Sequence[str] = ()
) -> Markup | None:
    """One line per method over training steps: the mean over scored runs, with each run drawn faintly behind it.

    A run without scores (it failed, or still runs) is a faint line only: it does not shorten the mean nor set the axis.

    Args:
        methods: whose runs to draw.
        key: the logged number, for example ``loss/medicine``.
        figure_key: unique on the page.
        name: what the number is, for the description.
        together: further keys whose panels stand beside this one, so that all share one vertical axis.

    Returns:
        None where no run logged ``key``.
    """
    curves = [
        (method, training_series(method.scored, key), training_series([r for r in method.runs if r.trouble], key))
        for method in methods
    ]
    curves = [(method, scored, others) for method, scored, others in curves if scored or others]
    if not curves:
        return None
    # Many lines on one panel share a budget of points: nobody sees more, and the page stays light.
    most = max(_FEWEST, min(_WIDTH, _POINTS // sum(len(scored) + len(others) for _, scored, others in curves)))
    said = []
    with drawing(_FONT):
        height = 190
        figure = Figure(figsize=(_WIDTH / _PER_INCH, height / _PER_INCH))
        axes = figure.add_axes((40 / _WIDTH, 36 / height, 1 - 50 / _WIDTH, 1 - 46 / height))
        for method, scored, others in curves:
            color = slot_color(method.slot)
            for single in [*(scored if len(scored) > 1 else []), *others]:
                axes.plot(*_points(single, most), color=color, linewidth=0.8, alpha=0.35)
            if not scored:
                said.append(f"{method.label} has no run with scores")
                continue
            mean = _mean(scored)
            axes.plot(
                *_points(mean, most), color=color, linewidth=1.7, linestyle=(0, method.dash) if method.dash else "-"
            )
            said.append(f"{method.label} {_first_and_last(mean)}")
        scale = _set_scale(axes, _values(methods, {key, *together}))
        style_axes(axes, "step")
        return to_svg(figure, figure_key, f"{name} by training step{scale}: {'; '.join(said)}.")


def _mean(seeds: Sequence[Series]) -> Series:
    """The mean at the steps that all seeds logged; the longest series alone where they share none."""
    common = set.intersection(*(set(series) for series in seeds))
    if not common:
        return max(seeds, key=len)
    return {step: math.fsum(series[step] for series in seeds) / len(seeds) for step in common}


def _values(methods: Sequence[Method], keys: set[str]) -> list[float]:
    """What sets the axis: the numbers of scored runs, and of all where there are no others."""
    runs = [run for method in methods for run in method.runs]
    found = [(not run.trouble, row[key]) for run in runs for row in run.training for key in keys & row.keys()]
    return [value for scored, value in found if scored] or [value for _, value in found]


def _points(series: Series, most: int) -> tuple[list[float], list[float]]:
    """Steps and values in order, thinned evenly where a line has more than ``most`` points; ends stay."""
    steps = sorted(series)
    if len(steps) > most:
        steps = [*steps[: -1 : math.ceil(len(steps) / most)], steps[-1]]
    return steps, [series[step] for step in steps]


def _first_and_last(series: Series) -> str:
    first, last = min(series), max(series)
    return f"from {series[first]:.3g} at step {first:g} to {series[last]:.3g} at step {last:g}"


def _set_scale(axes: Axes, values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOG_FROM:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        axes.yaxis.set_minor_locator(NullLocator())
        scale = " (logarithmic)"
    else:
        # A bottom of zero, so that heights compare honestly.
        axes.set_ylim(min(0, low * 1.06), max(0, high * 1.06) or 1)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        scale = ""
    # matplotlib writes powers of ten as formulas, which are off here.
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return scale


def style_axes(axes: Axes, across: str) -> None:
    """Quiet axes in the page's colors; ``across`` is what the horizontal one shows."""
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel(across, color=MUTED, labelpad=2)
    axes.tick_params(colors=MUTED, length=0, pad=4)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
