"""``selectivity.md``: what each mask passes, at the beginning, in the middle and at the end of training."""

from __future__ import annotations

from collections.abc import Sequence

from isograd.lab.records import Findings
from isograd.lab.selectivity.probe import FORMS
from isograd.lab.text import cell, table

__all__ = ["selectivity_page"]


def selectivity_page(findings: Findings, seeds: int, plots: Sequence[str]) -> str:
    """The page as Markdown.

    Args:
        findings: of :func:`isograd.lab.selectivity.experiment.experiment`.
        seeds: how many.
        plots: file names beside the page.
    """
    lines = ["# Selectivity of masks", "", f"Means over {seeds} seeds with 95% bootstrap intervals.", ""]
    if seeds < 5:
        lines += ["**Fewer than five seeds: an illustration, no evidence.**", ""]
    lines += [
        "The share |M g|^2 / |g|^2 that a mask M passes of the gradient g of batches that show the logic alone, over "
        "the share that it passes of the gradient of batches that show the shortcut alone. Above 1 the mask prefers "
        "the logic; at 1 it cannot tell. The student trains with ERM; nothing is masked.",
        "",
    ]
    for family in dict.fromkeys(line.task for line in findings.lines):
        lines += [f"## {family}", ""]
        for source, title in (
            ("mixed", "Masks of training batches"),
            ("own", "Masks of the pure batches themselves"),
        ):
            lines += [f"### {title}: selectivity", "", *_selectivity(findings, family, source)]
        lines += ["### Masks of training batches: shares passed", "", *_shares(findings, family)]
        lines += ["### Cosine between the domains' gradients", "", *_cosines(findings, family)]
    lines += [f"![{name}]({name})" for name in plots]
    return "\n".join(lines) + "\n"


def _moments(findings: Findings, family: str) -> list[float]:
    """The steps told: the first, about a third, two thirds, the last."""
    steps = next(line.x for line in findings.lines if line.task == family)
    last = len(steps) - 1
    return [steps[place] for place in sorted({0, last // 3, 2 * last // 3, last})]


def _selectivity(findings: Findings, family: str, source: str) -> list[str]:
    steps = _moments(findings, family)
    rows = []
    for form in FORMS:
        found = [findings.find(source, task=family, arm=form, measure="selectivity", at=step) for step in steps]
        rows.append([form, *(cell(records[0]) for records in found)])
    return table(["mask", *(f"step {step:g}" for step in steps)], rows)


def _shares(findings: Findings, family: str) -> list[str]:
    steps = _moments(findings, family)
    chosen = (steps[0], steps[-1])
    head = ["mask", *(f"{kind}, step {step:g}" for step in chosen for kind in ("logic", "cue"))]
    rows = []
    for form in FORMS:
        found = [
            findings.find("mixed", task=family, arm=form, measure=kind, at=step)
            for step in chosen
            for kind in ("logic", "cue")
        ]
        rows.append([form, *(cell(records[0]) for records in found)])
    return table(head, rows)


def _cosines(findings: Findings, family: str) -> list[str]:
    steps = _moments(findings, family)
    rows = []
    for kind in ("logic", "cue"):
        found = [findings.find("agreement", task=family, arm=kind, at=step) for step in steps]
        rows.append([kind, *(cell(records[0]) for records in found)])
    return table(["gradient", *(f"step {step:g}" for step in steps)], rows)
