"""What is claimed, what theory predicts of it, and what the numbers say: a verdict for each condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from isograd.lab.bound.dynamics import FLOW_TAUS
from isograd.lab.bound.problems import CASES, Kind
from isograd.lab.bound.scaling import CHOSEN, task_name
from isograd.lab.bound.training import Model, Optimizer
from isograd.lab.records import Findings, Record

__all__ = ["Claim", "Outcome", "below", "claims", "near"]

Outcome = Literal["confirmed", "refuted", "open"]
Test = Callable[[Record], Outcome]


def below(limit: float) -> Test:
    """Confirmed where the whole interval is below the limit, refuted where it is above."""

    def test(record: Record) -> Outcome:
        if not (math.isfinite(record.low) and record.n):
            return "open"
        return "confirmed" if record.high < limit else "refuted" if record.low > limit else "open"

    return test


def near(value: float, tolerance: float) -> Test:
    """Confirmed where the whole interval is that near, refuted where no part of it is."""

    def test(record: Record) -> Outcome:
        if not (math.isfinite(record.low) and record.n):
            return "open"
        if value - tolerance <= record.low and record.high <= value + tolerance:
            return "confirmed"
        return "refuted" if record.low > value + tolerance or record.high < value - tolerance else "open"

    return test


@dataclass(frozen=True)
class Claim:
    """One row of the verdicts.

    Attributes:
        says: the claim.
        predicted: what the derivations predict.
        found: conditions by outcome, each with its record.
    """

    says: str
    predicted: str
    found: tuple[tuple[str, Record, Outcome], ...]

    def verdict(self) -> str:
        """``confirmed under ...; refuted when ...; open: ...``, each condition with its mean."""
        parts = []
        for outcome, words in (("confirmed", "confirmed under"), ("refuted", "refuted when"), ("open", "open:")):
            where = [f"{name} ({_value(record)})" for name, record, each in self.found if each == outcome]
            if where:
                parts.append(f"**{words}** {', '.join(where)}")
        return "; ".join(parts) or "open"


def _value(record: Record) -> str:
    """The mean; of a mean of logarithms, the ratio that it stands for."""
    ratio = record.measure.startswith("log ratio")
    return f"{math.exp(record.mean) if ratio else record.mean:.3g}" if record.n else "-"


def _claim(
    findings: Findings,
    says: str,
    predicted: str,
    test: Test,
    places: Sequence[tuple[str, str, dict[str, Any]]],
) -> Claim:
    """Places are a condition's name, the experiment, and what to find there; a record that is missing is left out."""
    found = (
        (name, record, test(record))
        for name, experiment, which in places
        for record in findings.find(experiment, **which)[:1]
    )
    return Claim(says, predicted, tuple(found))


def _cases(
    kind: Kind, model: Model, optimizer: Optimizer, arm: str, measure: str
) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (case, "scaling", {"task": task_name(kind, model, case, optimizer), "arm": arm, "measure": measure})
        for case in CASES
    ]


_ADVANTAGE: dict[tuple[str, str], str] = {
    ("additive", "sgd"): "yes at a fixed budget where coordinates are aligned; no when rotated or noisy",
    ("additive", "adamw"): "no: normalization gives back what the mask takes",
    ("redundant", "sgd"): "yes, also at convergence, where coordinates are aligned; no when rotated",
    ("redundant", "adamw"): "no: normalization gives back what the mask takes",
}


# With SGD and tau 5 the steps are too few to converge.
_CONVERGED: dict[str, tuple[float, ...]] = {"sgd": FLOW_TAUS[:2], "adamw": FLOW_TAUS}


def claims(findings: Findings) -> list[Claim]:
    """All claims with their outcomes."""
    rows = []
    kinds: tuple[Kind, ...] = ("additive", "redundant")
    models: tuple[Model, ...] = ("linear", "two-layer")
    optimizers: tuple[Optimizer, ...] = ("sgd", "adamw")
    names = {"sgd": "SGD", "adamw": "AdamW"}
    for kind in kinds:
        measure, when = ("log ratio", "") if kind == "additive" else ("log ratio, K <= q", ", K <= q")
        for model in models:
            for optimizer in optimizers:
                says = f"IGA has a lower risk than ERM, ratio ({kind}, {model}, {names[optimizer]}{when})"
                places = _cases(kind, model, optimizer, CHOSEN, measure)
                rows.append(_claim(findings, says, _ADVANTAGE[kind, optimizer], below(0), places))
    for kind in kinds:
        measure, when = ("log ratio", "") if kind == "additive" else ("log ratio, K <= q", ", K <= q")
        says = f"the same with AdamW whose second moment sees the gradient before the mask ({kind}, linear{when})"
        places = _cases(kind, "linear", "adamw raw", CHOSEN, measure)
        rows.append(_claim(findings, says, _ADVANTAGE[kind, "sgd"], below(0), places))
    for optimizer in optimizers:
        says = (
            f"IGA has a lower risk than ERM with more domains than cues (redundant, linear, {names[optimizer]}, K > q)"
        )
        places = _cases("redundant", "linear", optimizer, CHOSEN, "log ratio, K > q")
        told = "no: the minimum is unique and has no cue, so a mask can only slow down"
        rows.append(_claim(findings, says, told, below(0), places))
    for optimizer in optimizers:
        says = f"IGA beats its own mask shuffled, tau 3 (additive, linear, {names[optimizer]})"
        places = _cases("additive", "linear", optimizer, "IGA, tau 3", "log ratio to shuffled")
        told = "yes where coordinates are aligned; no when rotated, where the values of the mask are alike"
        rows.append(_claim(findings, says, told, below(0), places))
    slopes: dict[str, tuple[str, float, str]] = {
        "risk slope": (
            "on a random new domain, squared loss",
            -1,
            "slope -1: weights are O(1/sqrt K), risk their square",
        ),
        "worst slope": ("on the worst new domain, squared loss", -0.5, "slope -1/2: linear in the weights"),
        "absolute slope": ("absolute loss, no cue in the labels", -0.5, "slope -1/2: Lipschitz, with a kink"),
    }
    for measure, (where, slope, told) in slopes.items():
        says = f"the gap to the oracle at ERM's minimum shrinks as K^{slope:g}: {where} (slope)"
        places = [(case, "minimum", {"task": case, "measure": measure}) for case in CASES]
        rows.append(_claim(findings, says, told, near(slope, 0.2), places))
    exact = {"task": task_name("additive", "linear", "exact", "sgd"), "arm": CHOSEN, "measure": "gap slope"}
    says = "what IGA gains on ERM shrinks faster than K^-0.5 (additive, linear, SGD; slope)"
    told = "yes: as ERM's own risk, slope -1, but for small K, where domains agree by chance"
    rows.append(_claim(findings, says, told, below(-0.5), [("exact", "scaling", exact)]))
    for optimizer in optimizers:
        task = f"additive, exact, {optimizer}"
        says = f"at convergence IGA equals ERM: ratio of risks 1 ({names[optimizer]})"
        told = "yes: a mask in (0, 1] moves no fixed point; time grows as e^tau with SGD"
        taus = [
            (f"tau {tau:g}", "flow", {"task": task, "arm": f"IGA, tau {tau:g}", "measure": "ratio"})
            for tau in _CONVERGED[optimizer]
        ]
        rows.append(_claim(findings, says, told, near(1, 0.03), taus))
    taus = [
        (
            f"tau {tau:g}",
            "flow",
            {"arm": f"IGA, tau {tau:g}", "task": "additive, exact, sgd", "measure": "invariant difference"},
        )
        for tau in FLOW_TAUS
    ]
    says = "read to the letter (target gradient zero on cues everywhere) IGA and ERM have the same risk"
    told = "yes: the invariant weights are the same numbers at every step"
    rows.append(_claim(findings, says, told, near(0, 0), taus))
    for optimizer in ("sgd", "adamw", "adamw raw"):
        shown = {"sgd": "SGD", "adamw": "AdamW", "adamw raw": "AdamW, second moment before the mask"}[optimizer]
        told = (
            "yes until e^-tau times the gradient is near Adam's epsilon"
            if optimizer == "adamw"
            else "no: speed is e^-tau"
        )
        places = [
            (f"tau {tau:g}", "speed", {"task": optimizer, "arm": "constant", "at": tau})
            for tau in (1.0, 4.0, 8.0, 16.0)
        ]
        rows.append(
            _claim(
                findings, f"a constant mask leaves the speed of the cues alone ({shown})", told, near(1, 0.05), places
            )
        )
    for optimizer in optimizers:
        told = (
            "yes: of many minima the mask finds one with less cue"
            if optimizer == "sgd"
            else "no: a constant mask is undone"
        )
        says = (
            f"with fewer domains than cues IGA has a lower risk than ERM at convergence (redundant, {names[optimizer]})"
        )
        places = [
            (f"tau {tau:g}", "limit", {"task": optimizer, "arm": f"IGA, tau {tau:g}", "measure": "log ratio"})
            for tau in (1.0, 3.0)
        ]
        rows.append(_claim(findings, says, told, below(0), places))
    for optimizer in optimizers:
        says = f"AND-mask has a lower risk than ERM (additive, linear, {names[optimizer]})"
        told = "where aligned: a mask of 0 moves fixed points; no when rotated; with noise at small K only"
        rows.append(
            _claim(findings, says, told, below(0), _cases("additive", "linear", optimizer, "AND-mask", "log ratio"))
        )
    return rows
