"""Reward by step, a panel for each comparison: ``python curves.py OUTPUT.png FOLDER=TITLE ...``.

``FOLDER`` is what ``isograd compare`` wrote. Lines are means over both families and all seeds, and over the last three
generations, at one group size.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isograd.common.curves import trailing_mean
from isograd.common.files import atomic_writer
from isograd.lab.axes import INK, clean, line_style
from isograd.report.learning import SMOOTHED
from isograd.report.runs import read_run
from isograd.report.svg import drawing

GROUP_SIZE = 8
Curve = dict[float, float]


def read(folder: Path) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for run in map(read_run, sorted(folder.glob(f"runs/*-g{GROUP_SIZE}/*"))):
        curve = {row["step"]: row["reward"] for row in run.training if "reward" in row}
        smooth = trailing_mean([*curve.values()], SMOOTHED)
        found.setdefault(run.label, []).append(dict(zip(curve, smooth, strict=True)))
    return found


def draw(axes: Axes, folder: Path, title: str) -> None:
    for place, (label, curves) in enumerate(read(folder).items()):
        means = {step: statistics.mean(curve[step] for curve in curves) for step in curves[0]}
        axes.plot([*means], [*means.values()], label=label, linewidth=1.7, **line_style(place))
    clean(axes, title, "optimizer step")


def main() -> None:
    output, *panels = sys.argv[1:]
    with drawing(9), atomic_writer(Path(output), "wb") as file:
        figure = Figure(figsize=(4.3 * len(panels), 4.6), facecolor="white")
        figure.subplots_adjust(left=0.055, right=0.985, top=0.93, bottom=0.33, wspace=0.14)
        for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
            folder, _, title = panel.partition("=")
            draw(axes, Path(folder), title)
            spare = {"handlelength": 1.8, "columnspacing": 0.9, "borderpad": 0}
            below = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.18), "ncols": 2, "frameon": False}
            axes.legend(**below, **spare, labelcolor=INK, fontsize=8)
            if axes.get_subplotspec().is_first_col():
                axes.set_ylabel("reward", color=INK)
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
