"""Reward by step, a panel for each comparison: ``python curves.py OUTPUT.png FOLDER=TITLE ...``.

``FOLDER`` is what ``isograd compare`` wrote. Lines are means over both families and all seeds, and over the last three
generations, at one group size.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isograd.common.curves import trailing_mean
from isograd.common.files import atomic_writer
from isograd.lab.axes import INK, clean, line_style
from isograd.report.svg import drawing

GROUP_SIZE = 8
Curve = dict[int, float]


def read(folder: Path) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {}
    for record in sorted(folder.glob(f"runs/*-g{GROUP_SIZE}/*/run.json")):
        run = json.loads(record.read_text(encoding="utf-8"))
        rows = map(json.loads, (record.parent / "training.jsonl").read_text(encoding="utf-8").splitlines())
        curve = {row["step"]: row["reward"] for row in rows if "reward" in row}
        smooth = trailing_mean([*curve.values()], 3)
        found.setdefault(run["label"], []).append(dict(zip(curve, smooth, strict=True)))
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
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2, frameon=False, labelcolor=INK, fontsize=9)
            if axes.get_subplotspec().is_first_col():
                axes.set_ylabel("reward", color=INK)
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
