"""``convergence.md``: every table of the experiments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isograd.lab.convergence.bias import BATCHES
from isograd.lab.convergence.rates import BATCH
from isograd.lab.records import Findings
from isograd.lab.text import cell, one, table

__all__ = ["convergence_page"]


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _by_measure(findings: Findings, experiment: str, measures: Sequence[str]) -> list[str]:
    """A table for each task, a row for each arm."""
    lines = []
    records = findings.find(experiment)
    for task in _unique(record.task for record in records):
        arms = _unique(record.arm for record in records if record.task == task)
        known = [each for each in measures if findings.find(experiment, task=task, measure=each)]
        rows = [
            [arm, *(cell(one(findings.find(experiment, task=task, arm=arm, measure=m))) for m in known)] for arm in arms
        ]
        lines += [f"{task}:", "", *table(["arm", *known], rows)]
    return lines


def _by_place(findings: Findings, experiment: str, measure: str, name: str) -> list[str]:
    """A row for each task and arm, a column for each place on the axis."""
    records = findings.find(experiment, measure=measure)
    places = sorted({record.at for record in records if record.at is not None})
    pairs = list(dict.fromkeys((record.task, record.arm) for record in records))
    rows = [
        [
            task,
            arm,
            *(cell(one(findings.find(experiment, task=task, arm=arm, measure=measure, at=at))) for at in places),
        ]
        for task, arm in pairs
    ]
    return [f"{measure}:", "", *table(["case", "arm", *(f"{name} {at:g}" for at in places)], rows)]


def convergence_page(findings: Findings, seeds: int, plots: Sequence[str]) -> str:
    """The page as Markdown.

    Args:
        findings: of :func:`isograd.lab.convergence.experiment.experiment`.
        seeds: how many.
        plots: file names beside the page.
    """
    lines = ["# Convergence of Invariant Gradient Alignment", ""]
    lines += [
        f"Means over {seeds} seeds with 95% bootstrap intervals. |g|^2 is the squared norm of the loss's gradient."
    ]
    lines += ["`power`: slope of log |g|^2 in log steps; -1 is O(1/T), -1/2 O(1/sqrt(T)), 0 a standstill.", ""]
    if seeds < 5:
        lines += ["**Fewer than five seeds: an illustration, no evidence.**", ""]
    lines += ["## Without noise", ""]
    lines += ["`linear`: fall of log |g|^2 a step; `end`: log10 |g|^2; `mask`: the lowest <g, M g> / |g|^2.", ""]
    lines += _by_measure(
        findings, "exact", ("power", "linear", "over SGD", "over guaranteed", "over uniform", "end", "mask", "rises")
    )
    lines += ["## From afar", "", "The start multiplied.", ""]
    lines += [line for measure in ("end", "mask") for line in _by_place(findings, "afar", measure, "times")]
    lines += ["## Standstill", "", *_by_measure(findings, "standstill", ("power",))]
    lines += _by_place(findings, "standstill", "measured over predicted", "step")
    lines += ["## Mini-batches", "", f"{BATCH} rows of each domain. `averaged`: at the mean of the last iterates.", ""]
    lines += _by_measure(findings, "noisy", ("power", "end", "averaged", "averaged - other", "rises"))
    lines += ["## Where it settles under noise", "", f"Rows in a mini-batch: {', '.join(map(str, BATCHES))}.", ""]
    lines += _by_place(findings, "bias", "gradient", "rows") + _by_place(findings, "bias", "over bound", "rows")
    orders = [[r.task, r.arm, cell(r)] for r in findings.find("bias", measure="order")]
    lines += ["order:", "", *table(["case", "arm", "order"], orders)]
    lines += ["## Rank", "", "`descent`: the lowest <g, D> / |g|^2.", ""]
    lines += _by_measure(findings, "ranks", ("power", "linear", "over SGD", "end", "descent", "rises"))
    lines += ["By hand, the cosine of the direction and the gradient:", ""]
    lines += _by_place(findings, "by hand", "cosine", "tau")
    lines += ["## Factors", "", "`end` and `own`: log10 of the squared gradient of the loss, and of the direction.", ""]
    lines += _by_measure(findings, "factors", ("power", "end", "own", "loss over SGD"))
    lines += [f"![{name}]({name})" for name in plots]
    return "\n".join(lines) + "\n"
