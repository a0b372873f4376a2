"""How the lab's pictures look."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter

__all__ = ["GRID", "INK", "MUTED", "clean"]

INK, MUTED, GRID = "#1b1f24", "#5a636e", "#dcdfe3"


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
