"""The pictures of the lab. Equal findings give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isograd.lab.axes import COLORS, INK, MARKERS, MUTED, clean, line_style
from isograd.lab.drift.rules import LADDER
from isograd.lab.output import Picture
from isograd.lab.records import Findings, Record
from isograd.report.colors import DASHES, SLOTS

__all__ = ["PICTURES"]


def _style(arm: str) -> dict[str, Any]:
    """One color, dash and marker per rule in all pictures."""
    place = list(LADDER).index(arm)
    return {**line_style(place), "marker": MARKERS[place % len(MARKERS)]}


def _dots(
    axes: Axes, labels: Sequence[str], series: Sequence[tuple[str, str, Sequence[Record | None]]]
) -> list[Line2D]:
    """One row a label, from the top; for each series a color and a marker, with intervals. Returns the legend's."""
    for number, (_, color, records) in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * 0.22
        for row, record in enumerate(records):
            if record is None or not math.isfinite(record.mean):
                continue
            if math.isfinite(record.low):
                axes.plot([record.low, record.high], [row + shift] * 2, color=color, linewidth=1.6)
            axes.plot([record.mean], [row + shift], color=color, marker="os^D"[number], markersize=5)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    return [
        Line2D([], [], color=color, marker="os^D"[number], label=name) for number, (name, color, _) in enumerate(series)
    ]


def _only(findings: Findings, experiment: str, **which: Any) -> Record | None:
    found = findings.find(experiment, **which)
    return found[0] if found else None


def _residuals(figure: Figure, findings: Findings) -> None:
    records = findings.find("cancellation")
    arms = list(dict.fromkeys(record.arm for record in records))
    tasks = list(dict.fromkeys(record.task for record in records))
    ats = sorted({record.at for record in records if record.at is not None})
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.18, right=0.98, top=0.94, bottom=0.15, wspace=0.06)
    for axes, task in zip(panels, tasks, strict=True):
        series = []
        for color, at in zip(COLORS, ats, strict=False):
            name = f"{at:.0f} gradient steps off-policy"
            series.append((name, color, [_only(findings, "cancellation", task=task, arm=arm, at=at) for arm in arms]))
        handles = _dots(axes, arms, series)
        clean(axes, f"residual on fully shared tokens: {task}", "|sum A w| / sum |A w|")
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, labelcolor=INK)


def _formula(figure: Figure, findings: Findings) -> None:
    axes = figure.subplots()
    figure.subplots_adjust(left=0.09, right=0.97, top=0.91, bottom=0.14)
    for place, line in enumerate(line for line in findings.lines if line.experiment == "formula"):
        color = SLOTS[place].light
        axes.plot(line.x, line.mean, color=color, marker=MARKERS[place], markersize=3.5, label=line.task)
        axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.18, linewidth=0)
    axes.axhline(1, color=MUTED, linewidth=1, linestyle=(0, DASHES[1]))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    clean(axes, "measured KL over 1/2 eta^2 g'Fg", "eta")
    axes.legend(frameon=False, labelcolor=INK)


def _curves(axes: Axes, findings: Findings, experiment: str, measure: str, task: str | None = None) -> None:
    for line in findings.lines:
        if (line.experiment, line.measure) == (experiment, measure) and task in (None, line.task):
            every = max(len(line.x) // 6, 1)
            offset = list(LADDER).index(line.arm) % every
            axes.plot(
                line.x,
                line.mean,
                label=line.arm,
                linewidth=1.5,
                markersize=4,
                markevery=(offset, every),
                **_style(line.arm),
            )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=5, frameon=False, labelcolor=INK, fontsize=9)


def _long(figure: Figure, findings: Findings) -> None:
    titles = {
        "reward": "expected reward",
        "template_entropy": "entropy of template rows",
        "template_drift": "drift (KL)",
    }
    optimizers = ("adam", "sgd")
    panels = figure.subplots(len(optimizers), len(titles), sharex=True)
    figure.subplots_adjust(left=0.05, right=0.985, top=0.95, bottom=0.17, wspace=0.17, hspace=0.2)
    for row, optimizer in zip(panels, optimizers, strict=True):
        for axes, (measure, title) in zip(row, titles.items(), strict=True):
            _curves(axes, findings, f"long {optimizer}", measure)
            clean(axes, f"{title}, {optimizer}", "rollouts" if optimizer == optimizers[-1] else "")
    _legend(figure, panels[0][0])


def _groups(figure: Figure, findings: Findings) -> None:
    titles = {
        "residual": "residual on fully shared tokens",
        "drift": "drift (KL) on template rows",
        "steps": "rollouts to the threshold",
        "final": "final expected reward",
        "jitter": "jitter of the reward",
        "mean": "expected reward over training",
    }
    panels = figure.subplots(2, 3, sharex=True)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.95, bottom=0.18, wspace=0.2, hspace=0.2)
    for number, (axes, (measure, title)) in enumerate(zip(panels.flat, titles.items(), strict=True)):
        for arm in LADDER:
            points = findings.find("group", arm=arm, measure=measure)
            x = [point.at for point in points]
            axes.plot(x, [point.mean for point in points], label=arm, linewidth=1.5, markersize=5, **_style(arm))
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, [f"{size:.0f}" for size in x if size is not None])
        axes.minorticks_off()
        clean(axes, title, "outputs a group" if number >= 3 else "")
    _legend(figure, panels.flat[0])


def _exact(figure: Figure, findings: Findings) -> None:
    arms = list(dict.fromkeys(record.arm for record in findings.find("exact")))
    panels = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.19, right=0.98, top=0.94, bottom=0.15, wspace=0.06)
    for axes, measure in zip(panels, ("template bias", "template noise"), strict=True):
        series = [
            (name, SLOTS[at].light, [_only(findings, "exact", arm=arm, measure=measure, at=at) for arm in arms])
            for at, name in enumerate(("on-policy", "off-policy"))
        ]
        handles = _dots(axes, arms, series)
        kind = "expected" if measure.endswith("bias") else "random"
        clean(axes, f"{kind} push on a row that earns nothing", "over the norm of the expected gradient")
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, labelcolor=INK)


def _predictions(figure: Figure, findings: Findings) -> None:
    arms = [arm for arm in LADDER if arm != "GRPO"]
    tasks = list(dict.fromkeys(record.task for record in findings.find("predictions")))
    titles = {"steps": "rollouts to the threshold", "jitter": "jitter", "final": "final expected reward"}
    panels = figure.subplots(1, len(titles), sharey=True)
    figure.subplots_adjust(left=0.13, right=0.97, top=0.95, bottom=0.14, wspace=0.12)
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        series = [
            (
                task,
                SLOTS[place].light,
                [_only(findings, "predictions", task=task, arm=arm, measure=f"{measure} - GRPO") for arm in arms],
            )
            for place, task in enumerate(tasks)
        ]
        handles = _dots(axes, arms, series)
        axes.axvline(0, color=MUTED, linewidth=1, linestyle=(0, DASHES[1]))
        clean(axes, title, "difference to GRPO, same seeds")
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, labelcolor=INK)


PICTURES: Final[dict[str, Picture]] = {
    "residuals": (_residuals, (11, 6.6)),
    "formula": (_formula, (7.5, 4)),
    "exact": (_exact, (11, 6.2)),
    "long": (_long, (13, 7.2)),
    "groups": (_groups, (13, 7.2)),
    "predictions": (_predictions, (12, 6.4)),
}
