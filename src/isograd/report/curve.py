"""The picture of a tuning: the best score so far against the number of trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from isograd.common.files import atomic_writer
from isograd.report.colors import SLOTS, dash, slot
from isograd.report.svg import drawing
from isograd.report.words import shorten

__all__ = ["save_curve"]

_INK = "#1b1f24"
_MUTED = "#5a636e"
_GRID = "#dcdfe3"


def save_curve(curves: Mapping[str, Sequence[float | None]], output_png: Path) -> Path:
    """Write a PNG with a line for each method.

    Args:
        curves: by label, the best validation accuracy so far after each trial; None where there is none yet.
        output_png: the file to write; an old one is replaced whole.

    Returns:
        ``output_png``. Equal curves give equal bytes.
    """
    with drawing(10), atomic_writer(output_png, "wb") as file:
        figure = Figure(figsize=(9, 4.6), facecolor="white")
        axes = figure.subplots()
        # Fixed margins: a layout that measures text would move with the labels.
        figure.subplots_adjust(left=0.08, right=0.68, top=0.9, bottom=0.12)
        for index, (label, scores) in enumerate(curves.items()):
            values = [math.nan if score is None else score for score in scores]
            axes.plot(
                range(1, len(values) + 1),
                values,
                label=shorten(label, 28),
                color=SLOTS[slot(index, base=False)].light,
                linestyle=(0, dash(index)) if dash(index) else "-",
                marker="o",
                markersize=3.5,
                linewidth=1.6,
                # The best so far stays until a better one is found.
                drawstyle="steps-post",
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("trials (the first is the defaults)", color=_INK)
        axes.set_title("best validation accuracy so far", loc="left", color=_INK, fontsize=11)
        axes.grid(axis="y", color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_MUTED, length=0, pad=5)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(_GRID)
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, labelcolor=_INK, fontsize=9)
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return Path(output_png)
