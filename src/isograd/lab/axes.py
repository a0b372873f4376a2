"""How the lab's pictures look."""

from __future__ import annotations

from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from isograd.report.colors import BASE, DASHES, SLOTS

__all__ = ["COLORS", "GRID", "INK", "MARKERS", "MUTED", "clean", "line_style"]

INK, MUTED, GRID = "#1b1f24", "#5a636e", "#dcdfe3"

MARKERS: Final = "osD^vP*Xd<"
COLORS: Final = (*(slot.light for slot in SLOTS), BASE.light, INK)
"""The eight colors of reports, gray and black."""


def line_style(place: int) -> dict[str, Any]:
    """Color and dash of a line by its place; beyond the last color they begin again with another dash."""
    dash = DASHES[place % len(DASHES)]
    return {"color": COLORS[place % len(COLORS)], "linestyle": (0, dash) if dash else "-"}


def clean(axes: Axes, title: str, x: str = "") -> None:
    """A panel's title, grid and ticks, the same in every picture of the lab."""
    axes.set_title(title, loc="left", color=INK, fontsize=10)
    axes.set_xlabel(x, color=INK)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, pad=4)
    for axis in (axes.xaxis, axes.yaxis):
        if isinstance(axis.get_major_formatter(), ScalarFormatter):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
            # No common factor in a corner, which would lie on the title.
            axis.set_major_formatter(lambda value, _: f"{value:.3g}")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("bottom", "left"))
        spine.set_color(GRID)
