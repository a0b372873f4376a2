"""``bound.md``: a verdict for each claim, and the tables behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from isograd.lab.bound.claims import claims
from isograd.lab.bound.dynamics import DECAYS, SPEED_TAUS
from isograd.lab.bound.problems import CASES
from isograd.lab.bound.rules import ERM, RULES
from isograd.lab.bound.scaling import CHOSEN, RATES, cases_of, task_name
from isograd.lab.records import Findings, Record
from isograd.lab.text import cell, one, table

__all__ = ["bound_page", "ratio_cell"]

_ARMS = [CHOSEN, *(rule.label for rule in RULES if rule is not ERM)]


def ratio_cell(record: Record | None) -> str:
    """As :func:`cell`, of the exponential of a mean of logarithms: a geometric mean."""
    if record is None or not record.n:
        return "-"
    mean, low, high = (math.exp(value) for value in (record.mean, record.low, record.high))
    return cell(replace(record, mean=mean, low=low, high=high))


def _verdicts(findings: Findings) -> list[str]:
    rows = ([claim.says, claim.predicted, claim.verdict()] for claim in claims(findings))
    return ["## Verdicts", "", *table(["claim", "prediction", "outcome"], rows)]


def _minimum(findings: Findings) -> list[str]:
    lines = ["## At ERM's minimum, in closed form", "", "Additive problem. Slope of log risk over log K.", ""]
    measures = ("risk slope", "worst slope", "absolute slope")
    rows = [
        [case, *(cell(one(findings.find("minimum", task=case, measure=measure))) for measure in measures)]
        for case in cases_of(findings)
    ]
    return lines + table(["case", "random new domain", "worst new domain", "absolute loss"], rows)


def _ratios(findings: Findings) -> list[str]:
    lines = ["## Risk on unseen domains over that of ERM", "", "Geometric mean over K; below 1 is better than ERM.", ""]
    for kind in ("additive", "redundant"):
        for model in ("linear", "two-layer"):
            for optimizer in RATES:
                parts = ("log ratio",) if kind == "additive" else ("log ratio, K <= q", "log ratio, K > q")
                for measure in (*parts, "log ratio, stopped"):
                    rows = []
                    for case in cases_of(findings):
                        task = task_name(kind, model, case, optimizer)  # type: ignore[arg-type]
                        found = [one(findings.find("scaling", task=task, arm=arm, measure=measure)) for arm in _ARMS]
                        if any(found):
                            rows.append([case, *(ratio_cell(each) for each in found)])
                    if rows:
                        detail = measure.removeprefix("log ratio").removeprefix(", ")
                        name = f"{kind}, {model}, {optimizer}" + (f", {detail}" if detail else "")
                        lines += [f"### {name}", "", *table(["case", *_ARMS], rows)]
    return lines


def _slopes(findings: Findings) -> list[str]:
    lines = ["## Slopes", "", "Of log risk over log K, after the budget at the chosen rates.", ""]
    arms = [ERM.label, *_ARMS]
    for kind in ("additive", "redundant"):
        for model in ("linear", "two-layer"):
            for optimizer in RATES:
                rows = []
                for case in cases_of(findings):
                    task = task_name(kind, model, case, optimizer)  # type: ignore[arg-type]
                    found = (one(findings.find("scaling", task=task, arm=arm, measure="slope")) for arm in arms)
                    rows.append([case, *(cell(each) for each in found)])
                if any(value != "-" for row in rows for value in row[1:]):
                    lines += [f"### {kind}, {model}, {optimizer}", "", *table(["case", *arms], rows)]
    return lines


def _dynamics(findings: Findings) -> list[str]:
    lines = ["## Speed and fixed points", "", "Additive, exact, K = 8, one rate for all, at the last step.", ""]
    rows = [[record.task, record.arm, record.measure, cell(record)] for record in findings.find("flow")]
    lines += table(["task", "method", "measure", "value"], rows)
    lines += ["## Weight decay", "", "Additive, exact, K = 8: the part of the risk that is due to cues.", ""]
    arms = list(dict.fromkeys(record.arm for record in findings.find("decay")))
    for optimizer in ("sgd", "adamw"):
        for measure in ("cue risk", "cue risk, formula", "risk"):
            rows = [
                [
                    arm,
                    *(
                        cell(one(findings.find("decay", task=optimizer, arm=arm, measure=measure, at=at)))
                        for at in DECAYS
                    ),
                ]
                for arm in arms
            ]
            if any(value != "-" for row in rows for value in row[1:]):
                header = ["method", *(f"decay {at:g}" for at in DECAYS)]
                lines += [f"{optimizer}, {measure}:", "", *table(header, rows)]
    lines += ["## Optimizers", "", "How far the cues have moved after 100 steps, over ERM's.", ""]
    rows = [
        [
            optimizer,
            mask,
            *(cell(one(findings.find("speed", task=optimizer, arm=mask, at=at))) for at in SPEED_TAUS[1:]),
        ]
        for mask in ("constant", "IGA")
        for optimizer in ("sgd", "adamw", "adamw raw")
    ]
    lines += table(["optimizer", "mask", *(f"tau {at:g}" for at in SPEED_TAUS[1:])], rows)
    lines += ["## Many minima", "", "Redundant, 32 cues, after the long run.", ""]
    domains = sorted({record.at for record in findings.find("limit") if record.at is not None})
    for optimizer in ("sgd", "adamw"):
        for measure in ("risk", "risk, formula", "training loss"):
            found = findings.find("limit", task=optimizer, measure=measure)
            rows = [
                [arm, *(cell(one([each for each in found if (each.arm, each.at) == (arm, at)])) for at in domains)]
                for arm in dict.fromkeys(record.arm for record in found)
            ]
            if rows:
                lines += [
                    f"{optimizer}, {measure}:",
                    "",
                    *table(["method", *(f"K = {at:.0f}" for at in domains)], rows),
                ]
    return lines


def bound_page(findings: Findings, seeds: int, plots: Sequence[str]) -> str:
    """The page as Markdown.

    Args:
        findings: of :func:`isograd.lab.bound.experiment.experiment`.
        seeds: how many.
        plots: file names beside the page.
    """
    lines = ["# Risk on unseen domains and the number of domains", ""]
    lines += [f"Means over {seeds} seeds with 95% bootstrap intervals.", ""]
    if seeds < 5:
        lines += ["**Fewer than five seeds: an illustration, no evidence.**", ""]
    lines += [*(f"- `{name}`: {CASES[name].about}." for name in cases_of(findings)), ""]
    for part in (_verdicts, _minimum, _ratios, _slopes, _dynamics):
        lines += part(findings)
    lines += [f"![{name}]({name})" for name in plots]
    return "\n".join(lines) + "\n"
