"""The pictures of ``isograd lab bound``. Equal findings give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isograd.lab.axes import INK, MUTED, clean
from isograd.lab.bound.dynamics import SPEED_TAUS
from isograd.lab.bound.problems import Kind
from isograd.lab.bound.scaling import CHOSEN, FLOOR, SHUFFLED, cases_of, task_name
from isograd.lab.bound.training import Model, Optimizer
from isograd.lab.output import Picture
from isograd.lab.records import Findings, Record
from isograd.report.colors import BASE, DASHES, SLOTS

__all__ = ["PICTURES"]

_ARMS: Final = {
    "ERM": (INK, "o", 0),
    CHOSEN: (SLOTS[0].light, "s", 0),
    "IGA, tau 1": (SLOTS[5].light, "v", 1),
    "IGA, tau 3": (SLOTS[0].light, "s", 1),
    "IGA, tau 5": (SLOTS[3].light, "P", 3),
    SHUFFLED: (SLOTS[1].light, "^", 2),
    "AND-mask": (SLOTS[2].light, "D", 3),
    "oracle": (BASE.light, "X", 1),
}
_OPTIMIZERS: Final[dict[Optimizer, tuple[str, str, int]]] = {
    "sgd": ("SGD", SLOTS[0].light, 0),
    "adamw": ("AdamW", SLOTS[1].light, 1),
    "adamw raw": ("AdamW, second moment before the mask", SLOTS[2].light, 2),
}
_TITLES: Final = {"sgd": "SGD", "adamw": "AdamW"}


def _style(arm: str) -> dict[str, Any]:
    color, marker, dash = _ARMS[arm]
    return {"color": color, "marker": marker, "markersize": 4, "linestyle": (0, DASHES[dash]) if dash else "-"}


def _powers(axes: Axes, *names: str) -> None:
    """Log axes whose labels are plain numbers or powers of ten, without minor ticks."""
    for name in names:
        getattr(axes, f"set_{name}scale")("log")
        axis = getattr(axes, f"{name}axis")
        axis.set_major_formatter(
            lambda value, _: f"{value:g}" if 0.01 <= value < 1000 else f"1e{round(math.log10(value))}"
        )
        axis.set_minor_formatter(lambda *_: "")
    axes.minorticks_off()


def _counts(axes: Axes, records: list[Record]) -> None:
    axes.set_xscale("log", base=2)
    ats = sorted({record.at for record in records if record.at is not None})
    axes.set_xticks(ats, [f"{at:.0f}" for at in ats])
    axes.minorticks_off()


def _with_interval(axes: Axes, records: list[Record], label: str, style: dict[str, Any], floor: float = FLOOR) -> None:
    x = [record.at or 0.0 for record in records]
    mean, low, high = ([max(getattr(each, part), floor) for each in records] for part in ("mean", "low", "high"))
    axes.plot(x, mean, label=label, linewidth=1.5, **style)
    axes.fill_between(x, low, high, color=style["color"], alpha=0.13, linewidth=0)


def _legend(figure: Figure, axes: Axes, columns: int = 6) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False, labelcolor=INK, fontsize=9)


def _scaling(figure: Figure, findings: Findings, *, kind: Kind, model: Model) -> None:
    arms = ("ERM", CHOSEN, SHUFFLED, "AND-mask", "oracle")
    cases = cases_of(findings)
    panels = figure.subplots(2, len(cases), sharex=True, sharey=True)
    figure.subplots_adjust(left=0.055, right=0.99, top=0.94, bottom=0.15, wspace=0.07, hspace=0.2)
    optimizers: tuple[Optimizer, ...] = ("sgd", "adamw")
    for row, optimizer in zip(panels, optimizers, strict=True):
        for axes, case in zip(row, cases, strict=True):
            for arm in arms:
                task = task_name(kind, model, case, optimizer)
                records = findings.find("scaling", task=task, arm=arm, measure="risk")
                _with_interval(axes, records, arm, _style(arm))
            clean(axes, f"{case}, {_TITLES[optimizer]}", "domains K" if optimizer == "adamw" else "")
            _powers(axes, "y")
            _counts(axes, records)
        row[0].set_ylabel("risk on unseen domains", color=INK)
    _legend(figure, panels[0][0])


def _ratios(figure: Figure, findings: Findings) -> None:
    kinds: tuple[Kind, ...] = ("additive", "redundant")
    models: tuple[Model, ...] = ("linear", "two-layer")
    cases = cases_of(findings)
    panels = figure.subplots(1, 4, sharex=True, sharey=True)
    figure.subplots_adjust(left=0.07, right=0.985, top=0.92, bottom=0.22, wspace=0.08)
    places = [(kind, model) for kind in kinds for model in models]
    for axes, (kind, model) in zip(panels, places, strict=True):
        measure = "log ratio" if kind == "additive" else "log ratio, K <= q"
        optimizers: tuple[Optimizer, ...] = ("sgd", "adamw")
        for number, optimizer in enumerate(optimizers):
            name, color, _ = _OPTIMIZERS[optimizer]
            for row, case in enumerate(cases):
                task = task_name(kind, model, case, optimizer)
                for record in findings.find("scaling", task=task, arm=CHOSEN, measure=measure):
                    y = row + (number - 0.5) * 0.3
                    axes.plot([math.exp(record.low), math.exp(record.high)], [y, y], color=color, linewidth=1.8)
                    label = name if row == 0 else None
                    axes.plot([math.exp(record.mean)], [y], "os"[number], color=color, markersize=5.5, label=label)
        axes.axvline(1, color=MUTED, linewidth=1, linestyle=(0, DASHES[1]))
        clean(axes, f"{kind}, {model}" + (", K <= q" if kind == "redundant" else ""), "risk of IGA / risk of ERM")
        _powers(axes, "x")
        axes.set_yticks(range(len(cases)), cases)
        axes.set_ylim(len(cases) - 0.4, -0.6)
    _legend(figure, panels[0])


def _slopes(figure: Figure, findings: Findings) -> None:
    names = {
        "risk slope": "random new domain, squared loss",
        "worst slope": "worst new domain, squared loss",
        "absolute slope": "absolute loss",
    }
    cases = cases_of(findings)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.11, right=0.97, top=0.91, bottom=0.24)
    for number, (measure, name) in enumerate(names.items()):
        color = SLOTS[number].light
        for row, case in enumerate(cases):
            for record in findings.find("minimum", task=case, measure=measure):
                y = row + (number - 1) * 0.24
                axes.plot([record.low, record.high], [y, y], color=color, linewidth=1.8)
                label = name if row == 0 else None
                axes.plot([record.mean], [y], "os^"[number], color=color, markersize=5.5, label=label)
    for slope in (-1, -0.5):
        axes.axvline(slope, color=MUTED, linewidth=1, linestyle=(0, DASHES[1]))
    clean(axes, "slope of log risk over log K at ERM's minimum", "slope")
    axes.set_yticks(range(len(cases)), cases)
    axes.set_ylim(len(cases) - 0.4, -0.6)
    _legend(figure, axes, 3)


def _flow(figure: Figure, findings: Findings) -> None:
    panels = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.07, right=0.985, top=0.92, bottom=0.21, wspace=0.06)
    for axes, optimizer in zip(panels, ("sgd", "adamw"), strict=True):
        for line in findings.lines:
            if line.experiment != "flow" or not line.task.endswith(optimizer):
                continue
            style = _style(line.arm)
            x, y = line.x[1:], [max(value, 1e-4) for value in line.mean[1:]]
            if line.measure == "formula":
                axes.plot(x, y, color=style["color"], linewidth=5, alpha=0.22)
            else:
                axes.plot(x, y, label=line.arm, linewidth=1.4, markevery=5, **style)
        clean(axes, f"{_TITLES[optimizer]}, K = 8" + (" (pale: formula)" if optimizer == "sgd" else ""), "steps")
        _powers(axes, "x", "y")
    panels[0].set_ylabel("risk on unseen domains", color=INK)
    _legend(figure, panels[0])


def _speed(figure: Figure, findings: Findings) -> None:
    panels = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.08, right=0.985, top=0.92, bottom=0.21, wspace=0.06)
    titles = {"constant": "constant mask e^-tau on cues", "IGA": "IGA's own mask"}
    for axes, (mask, title) in zip(panels, titles.items(), strict=True):
        for number, (optimizer, (name, color, dash)) in enumerate(_OPTIMIZERS.items()):
            records = findings.find("speed", task=optimizer, arm=mask)
            style = {"color": color, "marker": "os^"[number], "markersize": 5}
            style["linestyle"] = (0, DASHES[dash]) if dash else "-"
            _with_interval(axes, records, name, style, 1e-12)
        clean(axes, title, "tau")
        _powers(axes, "y")
        axes.set_xticks(SPEED_TAUS, [f"{tau:g}" for tau in SPEED_TAUS])
    panels[0].set_ylabel("cue's movement / ERM's", color=INK)
    _legend(figure, panels[0], 3)


def _limit(figure: Figure, findings: Findings) -> None:
    panels = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.08, right=0.985, top=0.92, bottom=0.21, wspace=0.06)
    for axes, optimizer in zip(panels, ("sgd", "adamw"), strict=True):
        for arm in ("ERM", "IGA, tau 1", "IGA, tau 3", "AND-mask"):
            records = findings.find("limit", task=optimizer, arm=arm, measure="risk")
            _with_interval(axes, records, arm, _style(arm), 1e-5)
        clean(axes, f"{_TITLES[optimizer]}, 32 cues", "domains K")
        _powers(axes, "y")
        _counts(axes, records)
    panels[0].set_ylabel("risk at convergence", color=INK)
    _legend(figure, panels[0])


def _pictures() -> dict[str, Picture]:
    kinds: tuple[Kind, ...] = ("additive", "redundant")
    models: tuple[Model, ...] = ("linear", "two-layer")
    drawn: dict[str, Callable[[Figure, Findings], None]] = {
        f"{kind}-{model}": partial(_scaling, kind=kind, model=model) for kind in kinds for model in models
    }
    return {
        "ratios": (_ratios, (12, 4.2)),
        "slopes": (_slopes, (8, 4.4)),
        **{name: (draw, (15, 6.2)) for name, draw in drawn.items()},
        "flow": (_flow, (11, 4.4)),
        "speed": (_speed, (11, 4.4)),
        "limit": (_limit, (11, 4.4)),
    }


PICTURES: Final[dict[str, Picture]] = _pictures()
