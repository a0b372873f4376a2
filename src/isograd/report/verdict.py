"""The verdict in words: what won, by how much against the baseline, and whether that is certain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isograd.report.certainty import Judged, Value, judge
from isograd.report.summary import Cell, Method, describe_split, split_order
from isograd.report.words import SEEDS_FOR_A_CLAIM, listed, number_word

__all__ = ["Verdict", "verdict"]

_MOST_NAMES = 4


@dataclass(frozen=True)
class Verdict:
    """``lead`` is about all splits out of distribution together, ``splits`` has a line for each split: title, text."""

    lead: str
    splits: list[tuple[str, str]]


def verdict(methods: Sequence[Method], base: Method | None) -> Verdict | None:
    """Say who won against ``base``, split by split, on the seeds that both have.

    Every rival is judged. A difference is certain where at least five common seeds agree that it is not zero: the
    two-sided p-value of Student's paired t test (of the exact sign-flip test where all differences are equal), times
    the number of rivals compared (Bonferroni), is below 0.05. The intervals are the page's own (percentile bootstrap
    over seeds), which are too narrow with few seeds and do not count that the winner was chosen among many: they alone
    make nothing certain. The best of the certain winners leads; without one the best mean of at least five seeds, then
    of several, then of one. A higher mean than the leader's is told beside it.

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
    judged = judge(rivals, base, value)
    if not judged:
        return ""
    lead = max(judged, key=lambda rival: rival.rank)
    mine = lead.method.paired(base, value, lambda own, _: own)
    theirs = lead.method.paired(base, value, lambda _, other: other)
    if mine is None or theirs is None:
        return ""
    label, gain = lead.method.label, lead.gain
    scores = f"{100 * mine.mean:.1f}% against {100 * theirs.mean:.1f}%, {_points(gain)} on {_seeds(gain.n)}"
    higher = [rival for rival in judged if rival.gain.mean > max(gain.mean, 0)]
    enough = f"{number_word(SEEDS_FOR_A_CLAIM)} seeds or more" if lead.enough else "several seeds"
    among = f" on {enough}" if higher else ""
    if gain.mean <= 0:
        text = f"nothing beat {base.label}{among}. The nearest is {label}: {scores}."
    elif gain.n == 1:
        text = f"{label} is ahead of {base.label}, {scores}. One seed makes nothing certain."
    elif lead.wins:
        text = f"{label} won against {base.label}: {scores}; {lead.said()}."
    elif lead.above:
        text = f"{label} is ahead of {base.label}, {scores}; {lead.said()}."
    else:
        text = f"nothing is told apart from {base.label} with certainty. {label} has the best mean{among}: {scores}."
    told = [lead, *higher]
    if lead.wins:
        winners = [rival for rival in judged if rival.wins and rival is not lead]
        text += f" Certain too: {_names([rival.method.label for rival in winners])}." if winners else ""
    if higher:
        text += f" Higher mean, but not certain: {_names([_short(rival) for rival in higher])}."
    if gain.mean > 0 and lead.above:
        text += _close_seconds(lead, [rival for rival in judged if rival not in told], value)
    else:
        above = [rival.method.label for rival in judged if rival.above and rival not in told]
        text += f" Interval wholly above {base.label}, but not certain: {_names(above)}." if above else ""
    below = [rival.method.label for rival in judged if rival.below]
    return text + (f" Interval wholly below {base.label}: {_names(below)}." if below else "")


def _short(rival: Judged) -> str:
    return f"{rival.method.label} ({_points(rival.gain)} on {_seeds(rival.gain.n)})"


def _close_seconds(lead: Judged, others: Sequence[Judged], value: Value) -> str:
    close = []
    for rival in others:
        lag = lead.method.paired(rival.method, value)
        if lag is not None and (lag.interval is None or lag.interval[0] <= 0):
            close.append(rival.method.label)
    return f" Not told apart from {lead.method.label}: {_names(close)}." if close else ""


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
