"""The picture of a selectivity run: selectivity over training, beside the losses."""

from __future__ import annotations

from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from isograd.lab.axes import INK, MUTED, clean, line_style
from isograd.lab.output import Picture
from isograd.lab.records import Findings, Line
from isograd.lab.selectivity.probe import FORMS
from isograd.report.colors import DASHES

__all__ = ["PICTURES"]

_TICKS: Final = (0.2, 0.5, 1, 2, 5, 10, 20, 50)


def _draw(axes: Axes, lines: list[Line], styles: dict[str, dict[str, Any]]) -> list[Any]:
    handles = []
    for line in lines:
        style = styles[line.arm]
        handles += axes.plot(line.x, line.mean, label=line.arm, linewidth=1.6, **style)
        axes.fill_between(line.x, line.low, line.high, color=style["color"], alpha=0.12, linewidth=0)
    return handles


def _over_training(figure: Figure, findings: Findings) -> None:
    families = list(dict.fromkeys(line.task for line in findings.lines))
    grid = figure.subplots(len(families), 3, squeeze=False)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.94, bottom=0.17 if len(families) > 1 else 0.3, hspace=0.35)
    forms = {form: line_style(place) for place, form in enumerate(FORMS)}
    kinds = {kind: line_style(place) for place, kind in enumerate(("mixed", "logic", "cue"))}
    handles: list[Any] = []
    for row, family in zip(grid, families, strict=True):
        for axes, source, title in zip(row, ("mixed", "own"), ("training batches", "pure batches"), strict=False):
            chosen = [
                line
                for line in findings.lines
                if (line.experiment, line.task, line.measure) == (source, family, "selectivity")
            ]
            handles = _draw(axes, chosen, forms)
            axes.axhline(1, color=MUTED, linewidth=1, linestyle=(0, DASHES[1]))
            axes.set_yscale("log")
            clean(axes, f"{family}: selectivity, masks of {title}", "step")
            axes.set_yticks(_TICKS)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        losses = [line for line in findings.lines if (line.experiment, line.task) == ("loss", family)]
        shown = _draw(row[2], losses, kinds)
        clean(row[2], f"{family}: loss by kind of batch, nats", "step")
        row[2].legend(handles=shown, frameon=False, labelcolor=INK)
    figure.legend(handles=handles, loc="lower center", ncols=6, frameon=False, labelcolor=INK)


PICTURES: Final[dict[str, Picture]] = {"training": (_over_training, (14, 8))}
