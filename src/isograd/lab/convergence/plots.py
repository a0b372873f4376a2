"""The pictures of the convergence experiments. Equal findings give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, NullLocator

from isograd.lab.axes import INK, MARKERS, MUTED, clean, line_style
from isograd.lab.convergence.bias import MAIN
from isograd.lab.convergence.factors import FACTOR_ARMS
from isograd.lab.convergence.rates import DRAWN, RANKS, TAUS
from isograd.lab.output import Picture
from isograd.lab.records import Findings, Record
from isograd.report.colors import DASHES

__all__ = ["PICTURES"]


def _style(place: int) -> dict[str, Any]:
    return {**line_style(place), "marker": MARKERS[place % len(MARKERS)]}


def _styles(arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """SGD black and whole; the others by their place."""
    styles = {arm: _style(place) for place, arm in enumerate(each for each in arms if each != "SGD")}
    return {"SGD": {"color": INK, "linestyle": "-", "marker": "<"}, **styles}


def _decades(axis: Axis) -> None:
    """Whole decades of what is a log10."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(MultipleLocator(max(1, round((high - low) / 6))))
    axis.set_major_formatter(lambda value, _: f"1e{value:g}")


def _powers(axis: Axis) -> None:
    """A log axis without mathematical text."""
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")


def _curves(axes: Axes, findings: Findings, experiment: str, task: str, styles: Mapping[str, dict[str, Any]]) -> None:
    """log10 of squared gradients against steps, on a log axis; step 0 is left out."""
    for place, (arm, style) in enumerate(styles.items()):
        for line in findings.lines:
            if (line.experiment, line.task, line.arm) != (experiment, task, arm):
                continue
            every = max(len(line.x) // 5, 1)
            offset = place % every
            axes.fill_between(line.x[1:], line.low[1:], line.high[1:], color=style["color"], alpha=0.15, linewidth=0)
            axes.plot(
                line.x[1:], line.mean[1:], label=arm, linewidth=1.5, markersize=4.5, markevery=(offset, every), **style
            )
    axes.set_xscale("log")
    _powers(axes.xaxis)


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False, labelcolor=INK, fontsize=9)


def _points(axes: Axes, x: Sequence[float], records: Sequence[Record], label: str, style: dict[str, Any]) -> None:
    """Means with their intervals, joined by lines."""
    kept = [(at, record) for at, record in zip(x, records, strict=True) if math.isfinite(record.mean)]
    places, means = [at for at, _ in kept], [record.mean for _, record in kept]
    axes.plot(places, means, label=label, linewidth=1.5, markersize=5, **style)
    for at, record in kept:
        if math.isfinite(record.low):
            axes.plot([at, at], [record.low, record.high], color=style["color"], linewidth=1.6)


def _rates(figure: Figure, findings: Findings) -> None:
    tasks = list(dict.fromkeys(record.task for record in findings.find("exact")))
    panels = figure.subplots(2, 2, sharex=True)
    figure.subplots_adjust(left=0.065, right=0.985, top=0.955, bottom=0.155, wspace=0.12, hspace=0.2)
    for number, (axes, task) in enumerate(zip(panels.flat, tasks, strict=True)):
        _curves(axes, findings, "exact", task, _styles(DRAWN))
        if number < 2:
            axes.set_ylim(-21, 3)  # below is rounding
        clean(axes, f"squared gradient: {task}", "steps" if number >= 2 else "")
        _decades(axes.yaxis)
    _legend(figure, panels.flat[0], 4)


def _tau(figure: Figure, findings: Findings) -> None:
    panels = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.075, right=0.985, top=0.91, bottom=0.28, wspace=0.2)
    kinds = [
        (f"{name}, {task}", f"least squares, {task}", name)
        for name in ("mean_square", "mean_squared")
        for task in ("shared", "different")
    ]
    kinds.append(("shuffled, different", "least squares, different", "shuffled"))
    for axes, measure, title in zip(
        panels, ("over SGD", "mask"), ("linear rate, over SGD's", "lowest share of |g|^2 that passes"), strict=True
    ):
        for place, (label, task, name) in enumerate(kinds):
            found = [findings.find("exact", task=task, arm=f"{name}, tau {tau:g}", measure=measure)[0] for tau in TAUS]
            _points(axes, TAUS, found, label, _style(place))
        axes.plot(
            TAUS,
            [math.exp(-tau) for tau in TAUS],
            color=MUTED,
            linewidth=1,
            linestyle=(0, DASHES[2]),
            label="exp(-tau)",
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        clean(axes, title, "tau")
        _powers(axes.yaxis)
        axes.set_xticks(TAUS, [f"{tau:g}" for tau in TAUS])
        axes.minorticks_off()
    _legend(figure, panels[0], 3)


def _standstill(figure: Figure, findings: Findings) -> None:
    axes = figure.subplots()
    figure.subplots_adjust(left=0.09, right=0.975, top=0.91, bottom=0.13)
    arms = [r.arm for r in findings.find("standstill", measure="power")]
    for place, arm in enumerate(arms):
        style = _styles(arms)[arm]
        for line in findings.lines:
            if line.experiment != "standstill":
                continue
            if line.arm == arm:
                every = (2 * place, 10)
                axes.plot(line.x[1:], line.mean[1:], label=arm, linewidth=1.5, markersize=4.5, markevery=every, **style)
            elif line.arm == f"{arm}, predicted":
                label = "predicted" if place == len(arms) - 1 else None
                dots: dict[str, Any] = {
                    "color": INK,
                    "marker": "o",
                    "markersize": 2.2,
                    "linestyle": "none",
                    "zorder": 5,
                }
                axes.plot(line.x[1:], line.mean[1:], label=label, **dots)
    axes.set_xscale("log")
    axes.set_ylim(-6.5, 2.2)
    _powers(axes.xaxis)
    clean(axes, "squared gradient, equal curvature, different minima", "steps")
    _decades(axes.yaxis)
    axes.legend(frameon=False, labelcolor=INK, loc="lower left")


def _noise(figure: Figure, findings: Findings) -> None:
    records = findings.find("noisy", measure="power")
    tasks = list(dict.fromkeys(record.task for record in records))
    arms = list(dict.fromkeys(record.arm for record in records))
    styles = _styles(arms)
    panels = figure.subplots(2, len(tasks), height_ratios=(1, 0.8))
    figure.subplots_adjust(left=0.13, right=0.985, top=0.955, bottom=0.13, wspace=0.12, hspace=0.32)
    for number, task in enumerate(tasks):
        above, below = panels[0][number], panels[1][number]
        _curves(above, findings, "noisy", task, styles)
        clean(above, f"squared gradient: {task}", "steps")
        _decades(above.yaxis)
        for row, arm in enumerate(arms):
            record = findings.find("noisy", task=task, arm=arm, measure="averaged")[0]
            style = {key: value for key, value in styles[arm].items() if key != "linestyle"}
            below.plot([record.low, record.high], [row, row], color=style["color"], linewidth=1.6)
            below.plot([record.mean], [row], markersize=5, **style)
        below.set_yticks(range(len(arms)), arms if number == 0 else [""] * len(arms))
        below.set_ylim(len(arms) - 0.4, -0.6)
        clean(below, "the same, at the mean of the later iterates")
        _decades(below.xaxis)
    _legend(figure, panels[0][0], 5)


def _bias(figure: Figure, findings: Findings) -> None:
    axes = figure.subplots()
    figure.subplots_adjust(left=0.1, right=0.63, top=0.92, bottom=0.13)
    records = findings.find("bias", measure="gradient")
    pairs = list(dict.fromkeys((r.task, r.arm) for r in records))
    for place, (task, arm) in enumerate(pairs):
        found = [r for r in records if (r.task, r.arm) == (task, arm)]
        # A symmetry makes some exactly 0, which has no place on a log axis.
        if all(r.mean > 1e-9 for r in found):
            label = f"{task}, {arm}" if task == MAIN else task
            _points(axes, [float(r.at or 0) for r in found], found, label, _style(place))
    axes.set_xscale("log", base=4)
    axes.set_yscale("log")
    clean(axes, "|gradient| where the masked flow settles", "rows of each domain in a mini-batch")
    _powers(axes.yaxis)
    sizes = sorted({float(r.at or 0) for r in records})
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    figure.legend(loc="center left", bbox_to_anchor=(0.64, 0.5), frameon=False, labelcolor=INK)


def _ranks(figure: Figure, findings: Findings) -> None:
    tasks = [r.task for r in findings.find("ranks", arm="tau 0, rank full", measure="linear")]
    panels = figure.subplots(1, len(tasks) + 1)
    figure.subplots_adjust(left=0.055, right=0.99, top=0.91, bottom=0.24, wspace=0.2)
    order = sorted(RANKS, key=lambda rank: rank or 99)
    names = [str(rank or "full") for rank in order]
    places = [float(number) for number in range(len(order))]
    titles = [(task, "over SGD", f"linear rate over SGD's: {task}") for task in tasks]
    titles.append(("least squares, different", "descent", "lowest <g, D> / |g|^2: different"))
    for axes, (task, measure, title) in zip(panels, titles, strict=True):
        for number, tau in enumerate((0.0, 1.0, 3.0)):
            found = [
                findings.find("ranks", task=task, arm=f"tau {tau:g}, rank {name}", measure=measure)[0] for name in names
            ]
            _points(axes, places, found, f"tau {tau:g}", _style(number))
        clean(axes, title, "rank")
        axes.set_xticks(places, names)
    _legend(figure, panels[0], 3)


def _factors(figure: Figure, findings: Findings) -> None:
    arms = [each.arm.label for each in FACTOR_ARMS]
    tasks = list(dict.fromkeys(record.task for record in findings.find("factors")))
    panels = figure.subplots(1, len(tasks), sharey=True)
    figure.subplots_adjust(left=0.055, right=0.99, top=0.92, bottom=0.24, wspace=0.06)
    for axes, task in zip(panels, tasks, strict=True):
        _curves(axes, findings, "factors", task, _styles(arms))
        axes.set_ylim(-21, 2.5)
        clean(axes, f"squared gradient of A and B: {task}", "steps")
        _decades(axes.yaxis)
    _legend(figure, panels[0], 4)


PICTURES: Final[dict[str, Picture]] = {
    "rates": (_rates, (12, 7.6)),
    "tau": (_tau, (11, 4.6)),
    "standstill": (_standstill, (8, 4.6)),
    "noise": (_noise, (13.5, 8)),
    "bias": (_bias, (10, 4.6)),
    "ranks": (_ranks, (13.5, 4.4)),
    "factors": (_factors, (13.5, 5)),
}
