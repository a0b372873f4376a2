"""``drift.md``: every table of the lab, with a verdict where an interval allows one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from isograd.lab.drift.exact import GROUP, TINY
from isograd.lab.drift.runs import RATES, THRESHOLD
from isograd.lab.drift.tasks import TASKS
from isograd.lab.records import Findings, Record
from isograd.lab.text import cell, one, table

__all__ = ["drift_page", "verdict"]

Wish = Literal["lower", "higher"]

PREDICTED: Final[dict[str, tuple[str, Wish]]] = {
    "steps": (f"rollouts until the expected reward is {THRESHOLD}", "lower"),
    "jitter": ("jitter of the expected reward", "lower"),
    "final": ("expected reward at the end", "higher"),
}
"""What arXiv 2604.13088 predicts for DFPO against GRPO."""


def verdict(difference: Record, wish: Wish) -> str:
    """``holds`` or ``refuted`` where the interval of a paired difference leaves out zero, else ``open``."""
    if not math.isfinite(difference.low):
        return "open"
    if difference.low > 0 or difference.high < 0:
        return "holds" if (difference.mean > 0) == (wish == "higher") else "refuted"
    return "equal" if difference.low == difference.high == 0 else "open"


def _arms(records: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(record.arm for record in records))


def _by_measure(
    findings: Findings, experiment: str, task: str, measures: Sequence[str], at: float | None = None
) -> list[str]:
    arms = _arms(findings.find(experiment, task=task))
    return table(
        ["rule", *measures],
        (
            [arm, *(cell(one(findings.find(experiment, task=task, arm=arm, measure=m, at=at))) for m in measures)]
            for arm in arms
        ),
    )


def _cancellation(findings: Findings) -> list[str]:
    columns = list(dict.fromkeys((r.task, r.at) for r in findings.find("cancellation")))
    rows = [
        [arm, *(cell(one(findings.find("cancellation", task=task, arm=arm, at=at))) for task, at in columns)]
        for arm in _arms(findings.find("cancellation"))
    ]
    lines = ["## Cancellation on shared tokens", ""]
    lines += ["|sum A w| / sum |A w| on tokens that the whole group shares; every rule weighs the same data.", ""]
    lines += table(["rule", *(f"{task}, {at:.0f} steps off-policy" for task, at in columns)], rows)
    for task, at in columns:
        lines += [f"Same data, `{task}`, {at:.0f} steps off-policy: where the gradient goes.", ""]
        lines += _by_measure(findings, "direction", task, ("size", "cosine", "template", "tax"), at)
    return lines


def _exact(findings: Findings) -> list[str]:
    lines = ["## Expectation and variance, all groups enumerated", "", f"{TINY.about}; groups of {GROUP}.", ""]
    measures = ("template bias", "template noise", "noise", "cosine")
    for at, told in ((0.0, "On-policy"), (1.0, "Off-policy")):
        rows = [
            [arm, *(cell(one(findings.find("exact", arm=arm, measure=measure, at=at))) for measure in measures)]
            for arm in _arms(findings.find("exact"))
        ]
        lines += [f"{told}, over the norm of the rule's expected gradient:", "", *table(["rule", *measures], rows)]
    return lines


def _disputed(findings: Findings) -> list[str]:
    rows = [[r.task, r.arm, r.measure, cell(r)] for r in findings.find("disputed")]
    return ["## Disputed cases", "", *table(["case", "push", "measure", "value"], rows)]


def _formula(findings: Findings) -> list[str]:
    rows = [[r.task, r.measure, cell(r)] for r in findings.find("formula")]
    told = (
        "`order`: of the error in eta (the claim: 3). `within`: the divergence (nats) up to which it is off by a tenth."
    )
    return ["## 1/2 eta^2 g'Fg against measured KL", "", told, "", *table(["case", "measure", "value"], rows)]


def _long(findings: Findings) -> list[str]:
    lines = ["## Long training, one rate for all", ""]
    for optimizer, rate in RATES.items():
        records = findings.find(f"long {optimizer}")
        lines += [f"{optimizer}, rate {rate}, `{records[0].task}`:", ""]
        measures = ("final", "mean", "entropy", "template_entropy", "drift", "local", "odds")
        lines += _by_measure(findings, f"long {optimizer}", records[0].task, measures)
    return lines


def _groups(findings: Findings) -> list[str]:
    lines = ["## Group size", ""]
    records = findings.find("group")
    sizes = list(dict.fromkeys(record.at for record in records))
    for measure in ("residual", "drift", "steps", "jitter", "final", "mean", "mean - GSPO, bounds 0.2"):
        rows = [
            [arm, *(cell(one(findings.find("group", arm=arm, measure=measure, at=at))) for at in sizes)]
            for arm in _arms(findings.find("group", measure=measure))
        ]
        lines += [f"{measure}:", "", *table(["rule", *(f"G = {at:.0f}" for at in sizes)], rows)]
    return lines


def _restored(findings: Findings) -> list[str]:
    lines = [
        "## Cancellation restored, nothing else changed",
        "",
        "Paired differences to the same rule without repair.",
        "",
    ]
    wishes: dict[str, Wish] = {"drift": "lower", "steps": "lower", "jitter": "lower", "mean": "higher"}
    rows = []
    for optimizer in RATES:
        for record in findings.find(f"restored {optimizer}"):
            measure, _, base = record.measure.partition(" - ")
            if base and measure in wishes:
                told = verdict(record, wishes[measure])
                rows.append([record.task, optimizer, record.arm, measure, cell(record), told])
    return lines + table(["task", "optimizer", "rule", "measure", "difference", "better?"], rows)


def _predictions(findings: Findings) -> list[str]:
    lines = ["## The three predictions", "", "Rates tuned for each rule on other seeds, with equal budgets.", ""]
    for task in dict.fromkeys(record.task for record in findings.find("predictions")):
        lines += [f"`{task}`: {TASKS[task].about}.", ""]
        lines += _by_measure(findings, "predictions", task, ("rate", *PREDICTED, "mean", "drift", "entropy"))
        rows = []
        for arm in _arms(findings.find("predictions", task=task)):
            cells = [
                (record, verdict(record, wish))
                for measure, (_, wish) in PREDICTED.items()
                for record in findings.find("predictions", task=task, arm=arm, measure=f"{measure} - GRPO")
            ]
            if cells:
                rows.append([arm, *(f"{cell(record)} {told}" for record, told in cells)])
        lines += ["Paired differences to GRPO:", "", *table(["rule", *PREDICTED], rows)]
    return lines


def drift_page(findings: Findings, seeds: int, plots: Sequence[str]) -> str:
    """The page as Markdown.

    Args:
        findings: of :func:`isograd.lab.drift.experiment.experiment`.
        seeds: how many.
        plots: file names beside the page.
    """
    lines = ["# Drift and cancellation", "", f"Means over {seeds} seeds with 95% bootstrap intervals."]
    lines += ["*holds* and *refuted*: the interval of the paired difference leaves out zero; *open*: it does not.", ""]
    if seeds < 5:
        lines += ["**Fewer than five seeds: an illustration, no evidence.**", ""]
    for part in (_cancellation, _exact, _disputed, _formula, _long, _groups, _restored, _predictions):
        lines += part(findings)
    lines += [f"![{name}]({name})" for name in plots]
    return "\n".join(lines) + "\n"
