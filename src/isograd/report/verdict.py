"""The verdict in words: what won, by how much against the baseline, and whether that is certain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from isograd.report.runs import Run
from isograd.report.summary import Cell, Method, describe_split, split_order
from isograd.report.words import SEEDS_FOR_A_CLAIM, listed, number_word

__all__ = ["Verdict", "student_p", "verdict"]

LEVEL: Final = 0.05
"""A difference is called certain below this p-value."""
_MOST_NAMES = 4

Value = Callable[[Run], float | None]


@dataclass(frozen=True)
class Verdict:
    """``lead`` is about all splits out of distribution together, ``splits`` has a line for each split: title, text."""

    lead: str
    splits: list[tuple[str, str]]


def verdict(methods: Sequence[Method], base: Method | None) -> Verdict | None:
    """Say who won against ``base``, split by split, on the seeds that both have.

    A difference is certain where at least five common seeds agree that it is not zero: the two-sided p-value of
    Student's paired t test, times the number of methods that could have won (Bonferroni), is below 0.05. The intervals
    are the page's own (percentile bootstrap over seeds), which are too narrow with few seeds and do not count that the
    winner was chosen among many: they alone make nothing certain.

    Returns:
        None where there is no baseline, or nothing to set against it.
    """
    rivals = [method for method in methods if method is not base and not method.base and method.scored]
    splits = split_order(methods)
    if base is None or base not in methods or not rivals or not splits:
        return None
    lines = [(describe_split(split).title, _contest(rivals, base, _accuracy(split))) for split in splits]
    # What the baseline was never put to cannot be compared, and must not hide the rest.
    measured = [split for split in splits if any(split in run.splits for run in base.scored)]
    away = [split for split in measured if split != "id"] or measured
    lead = _contest(rivals, base, lambda run: _mean([_accuracy(split)(run) for split in away]))
    told = [(title, text) for title, text in lines if text]
    if not told:
        return None
    if not lead or len(away) == 1:
        # No rival was put to all of them: the first line speaks.
        where, lead = (describe_split(away[0]).title, lead) if lead else told[0]
    else:
        where = f"out of distribution (mean of {number_word(len(away))} splits)"
    return Verdict(f"{where[:1].upper()}{where[1:]}: {lead}", told)


def _contest(rivals: Sequence[Method], base: Method, value: Value) -> str:
    """One line on one number; empty where no rival shares a seed with the baseline."""
    differences = [(method, cell) for method in rivals if (cell := method.paired(base, value)) is not None]
    if not differences:
        return ""
    best, gain = max(differences, key=lambda pair: pair[1].mean)
    mine = best.paired(base, value, lambda own, _: own)
    theirs = best.paired(base, value, lambda _, other: other)
    if mine is None or theirs is None:
        return ""
    scores = f"{100 * mine.mean:.1f}% against {100 * theirs.mean:.1f}%, {_points(gain)} on {_seeds(gain.n)}"
    sure = _certainty(gain, len(differences))
    if gain.mean <= 0:
        text = f"nothing beat {base.label}. The nearest is {best.label}: {scores}."
    elif gain.n == 1:
        text = f"{best.label} is ahead of {base.label}, {scores}. One seed makes nothing certain."
    elif sure is None:
        text = f"nothing can be told apart from {base.label}. {best.label} has the best mean: {scores}."
    elif sure.startswith("certain"):
        text = f"{best.label} won against {base.label}: {scores}; {sure}."
    else:
        text = f"{best.label} is ahead of {base.label}, {scores}; {sure}."
    if gain.mean > 0 and sure is not None:
        text += _close_seconds(best, [method for method, _ in differences], value)
    return text + _losers(base, differences)


def _certainty(gain: Cell, choices: int) -> str | None:
    """Whether a difference is certain, in words; None where the bootstrap interval itself holds zero."""
    if gain.interval is None or gain.sd is None or gain.interval[0] <= 0 <= gain.interval[1]:
        return None
    p = min(1.0, choices * student_p(gain))
    among = f", allowing for {choices} methods" if choices > 1 else ""
    said = f"paired t test, p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}{among}"
    if gain.n < SEEDS_FOR_A_CLAIM:
        return f"not certain, {number_word(gain.n)} seeds are too few ({said})"
    return f"certain ({said})" if p < LEVEL else f"not certain ({said})"


def student_p(gain: Cell) -> float:
    """Two-sided p-value of Student's t test that the mean of ``n`` paired differences is zero.

    For whole degrees of freedom the distribution is a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4).

    Returns:
        The p-value in [0, 1]; 1 for fewer than two differences, or where they do not vary, which says nothing.
    """
    if gain.n < 2 or not gain.sd:
        return 1.0
    freedom = gain.n - 1
    angle = math.atan(abs(gain.mean) / (gain.sd / math.sqrt(gain.n)) / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(freedom // 2):
        total += term
        factor = (2 * k + 2) / (2 * k + 3) if odd else (2 * k + 1) / (2 * k + 2)
        term *= factor * math.cos(angle) ** 2
    within = math.sin(angle) * total
    return 1 - (2 / math.pi * (angle + within) if odd else within)


def _close_seconds(best: Method, others: Sequence[Method], value: Value) -> str:
    close = []
    for method in others:
        lag = None if method is best else best.paired(method, value)
        if lag is not None and (lag.interval is None or lag.interval[0] <= 0):
            close.append(method.label)
    if not close:
        return ""
    return f" Not told apart from it: {_names(close)}."


def _losers(base: Method, differences: Sequence[tuple[Method, Cell]]) -> str:
    """The methods that the bootstrap interval puts below the baseline."""
    below = [method.label for method, cell in differences if cell.interval is not None and cell.interval[1] < 0]
    return f" Interval wholly below {base.label}: {_names(below)}." if below else ""


def _names(labels: Sequence[str]) -> str:
    more = len(labels) - _MOST_NAMES
    return listed([*labels[:_MOST_NAMES], f"{number_word(more)} more"] if more > 0 else labels)


def _points(gain: Cell) -> str:
    def signed(rate: float) -> str:
        return f"{100 * rate + 0.0:+.1f}".replace("-", "−")

    interval = gain.interval
    return f"{signed(gain.mean)} points" + (
        f" [{signed(interval[0])}, {signed(interval[1])}]" if interval is not None else ""
    )


def _seeds(count: int) -> str:
    return f"{number_word(count)} common {'seed' if count == 1 else 'seeds'}"


def _accuracy(split: str) -> Value:
    return lambda run: run.splits[split].accuracy if split in run.splits else None


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of several splits; None where one of them is missing, as a mean of others does not compare."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
