"""One wide picture of a comparison, for a README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from isograd.common.errors import UserError
from isograd.common.files import atomic_writer
from isograd.report.colors import BASE, SLOTS
from isograd.report.runs import read_runs
from isograd.report.summary import Cell, Method, chance_level, describe_split, group_runs, split_order
from isograd.report.svg import drawing
from isograd.report.words import percent, shorten

__all__ = ["save_picture"]

_INK = "#1b1f24"
_MUTED = "#5a636e"
_GRID = "#dcdfe3"
_COLORS = [slot.light for slot in (*SLOTS, BASE)]
# Wider groups leave no room for the percentages above the bars.
_MOST_LABELED = 5


def save_picture(run_dirs: Sequence[Path], output_png: Path) -> Path:
    """Write a wide PNG (1950 x 690 pixels): accuracy by split and method with 95% intervals, and LCS beside it.

    Args:
        run_dirs: run folders, as for :func:`isograd.report.build_report`.
        output_png: the file to write; an old one is replaced whole.

    Returns:
        ``output_png`` as a path. Equal folders give equal bytes.

    Raises:
        UserError: none of the runs has scores, or as :func:`isograd.report.build_report`.
    """
    methods = [method for method in group_runs(read_runs(run_dirs)) if method.scored]
    splits = split_order(methods)
    if not splits:
        raise UserError("none of the runs has scores to draw; evaluate at least one run first")
    with drawing(10), atomic_writer(output_png, "wb") as file:
        figure = Figure(figsize=(13, 4.6), facecolor="white")
        bars, distances = figure.subplots(1, 2, gridspec_kw={"width_ratios": [3.1, 1]})
        # Fixed margins: a layout that measures text would move with the labels.
        figure.subplots_adjust(left=0.05, right=0.985, top=0.8, bottom=0.13, wspace=0.13)
        _draw_bars(bars, methods, splits)
        _draw_distances(distances, methods)
        handles = [Patch(color=_COLORS[method.slot], label=shorten(method.label, 28)) for method in methods]
        figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.043, 0.995), ncols=6, frameon=False, labelcolor=_INK
        )
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return Path(output_png)


def _draw_bars(axes: Axes, methods: Sequence[Method], splits: Sequence[str]) -> None:
    width = 0.82 / len(methods)
    for column, method in enumerate(methods):
        for row, split in enumerate(splits):
            cell = method.accuracy(split)
            if cell is None:
                continue
            x = row + (column - (len(methods) - 1) / 2) * width
            axes.bar(x, cell.mean, width=width * 0.9, color=_COLORS[method.slot])
            low, high = cell.interval or (cell.mean, cell.mean)
            if cell.interval:
                axes.vlines(x, low, high, color=_INK, linewidth=1.1)
            if len(methods) <= _MOST_LABELED:
                axes.text(x, high + 0.015, percent(cell.mean), color=_INK, ha="center", va="bottom", fontsize=9)
    chance = chance_level(methods, splits)
    if chance is not None:
        axes.axhline(chance, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.text(len(splits) - 0.48, chance, "chance", color=_MUTED, ha="left", va="center", fontsize=9)
    axes.set_xlim(-0.5, len(splits) - 0.5)
    axes.set_ylim(0, 1.09)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
    axes.set_xticks(range(len(splits)), [shorten(describe_split(split).title, 20) for split in splits])
    seeds = {len(method.scored) for method in methods if not method.base}
    of = f" of {'one seed' if seeds == {1} else f'{seeds.pop()} seeds'}" if len(seeds) == 1 else ""
    _finish(axes, f"accuracy{of}, with 95% intervals", grid="y")
    axes.tick_params(axis="x", colors=_INK, labelsize=11)


def _draw_distances(axes: Axes, methods: Sequence[Method]) -> None:
    """Within-set distance filled, between-set distance hollow: a low filled mark alone proves nothing."""
    for row, method in enumerate(methods):
        color = _COLORS[method.slot]
        ends: list[Cell | None] = [method.lcs("mean", side) for side in ("within", "between")]
        means = [cell.mean for cell in ends if cell is not None]
        axes.hlines(row, min(means, default=0), max(means, default=0), color=color, linewidth=2)
        for cell, fill in zip(ends, (color, "white"), strict=True):
            if cell is not None:
                axes.plot(cell.mean, row, "o", markersize=8, color=color, markerfacecolor=fill, markeredgewidth=1.8)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * axes.dataLim.x1 if axes.dataLim.x1 > 0 else 1)
    axes.set_yticks([])
    _finish(axes, "LCS distance, mean pooling", grid="x")
    marks = [
        Line2D([], [], marker="o", linestyle="", color=_INK, label="within sets"),
        Line2D([], [], marker="o", linestyle="", color=_INK, markerfacecolor="white", label="between sets"),
    ]
    axes.legend(
        handles=marks,
        loc="lower left",
        bbox_to_anchor=(-0.03, 1.0),
        ncols=2,
        frameon=False,
        fontsize=9,
        handletextpad=0,
    )


def _finish(axes: Axes, title: str, *, grid: str) -> None:
    axes.set_title(title, loc="left", color=_INK, fontsize=11, pad=24)
    axes.grid(axis="y" if grid == "y" else "x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, length=0, pad=5)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_GRID)
