"""Progress of a pipeline, counted by SQL from one state of its journal, while it runs or after."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from isograd.isomers.teacher.journal_decisions import VERDICTS
from isograd.isomers.teacher.journal_owner import Holder
from isograd.isomers.teacher.journal_seeds import FINISHED, STATES

__all__ = ["ReasonCount", "StageStatus", "Status", "count_status"]

WINDOW_SECONDS: Final = 300.0
"""The rate of calls is that of the last this many seconds."""


@dataclass(frozen=True)
class StageStatus:
    """One stage in one domain.

    Attributes:
        stage: its name.
        domain: empty for a stage that belongs to no domain.
        calls: calls finished.
        in_flight: calls being made by processes that live.
        passed: attempts that passed the stage.
        failed: attempts that did not.
        prompt_tokens: tokens sent.
        completion_tokens: tokens received.
        seconds: time that the calls took, summed.
        cost: in the pipeline's currency; None if no call's is known.
    """

    stage: str
    domain: str
    calls: int = 0
    in_flight: int = 0
    passed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost: float | None = None

    @property
    def pass_rate(self) -> float | None:
        """Share of the attempts that passed; None before the first."""
        tried = self.passed + self.failed
        return self.passed / tried if tried else None


@dataclass(frozen=True)
class ReasonCount:
    """How many attempts failed a stage for one reason (an attempt may have several)."""

    stage: str
    reason: str
    count: int


@dataclass(frozen=True)
class Status:
    """Where a pipeline stands.

    Attributes:
        configuration: hash of the run's configuration; None before it is known.
        stages: each stage and domain, stages in the order in which they were first reached.
        seeds: number of seeds in each state, all states named.
        reasons: why attempts failed, the most frequent first.
        decisions: number of sets with each verdict of a reviewer, the newest of a set counted; all verdicts named.
        calls: calls finished.
        in_flight: calls being made by processes that live.
        abandoned: calls that processes died in; whoever comes next makes them anew.
        prompt_tokens: tokens sent.
        completion_tokens: tokens received.
        cost: in the pipeline's currency; None if no call's is known.
        calls_per_minute: over the last five minutes, or since the calls of these minutes began.
        eta_seconds: time until every seed is finished, at that rate, if the others need as many calls as those
            finished; None while no seed is finished or no call was made of late.
    """

    configuration: str | None
    stages: tuple[StageStatus, ...]
    seeds: dict[str, int]
    reasons: tuple[ReasonCount, ...]
    decisions: dict[str, int]
    calls: int
    in_flight: int
    abandoned: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    calls_per_minute: float
    eta_seconds: float | None


def count_status(db: sqlite3.Connection, now: float | None = None, *, top: int = 10) -> Status:
    """Count; ``db`` is in a transaction, so that all numbers are of one moment.

    Args:
        db: a journal.
        now: seconds since 1970; the clock's if None.
        top: how many reasons.
    """
    now = time.time() if now is None else now
    claims = _claims(db)
    stages = _stages(db, claims)
    (configuration,) = db.execute("SELECT MAX(value) FROM meta WHERE name = 'configuration'").fetchone()
    seeds = dict.fromkeys(STATES, 0) | dict(db.execute("SELECT state, COUNT(*) FROM seeds GROUP BY state"))
    rate = _calls_per_minute(db, now)
    costs = [stage.cost for stage in stages if stage.cost is not None]
    return Status(
        configuration=configuration,
        stages=stages,
        seeds={str(state): number for state, number in seeds.items()},
        reasons=_reasons(db, top),
        decisions=_decisions(db),
        calls=sum(stage.calls for stage in stages),
        in_flight=claims[True].total(),
        abandoned=claims[False].total(),
        prompt_tokens=sum(stage.prompt_tokens for stage in stages),
        completion_tokens=sum(stage.completion_tokens for stage in stages),
        cost=sum(costs) if costs else None,
        calls_per_minute=rate,
        eta_seconds=_eta(db, seeds, rate),
    )


def _claims(db: sqlite3.Connection) -> dict[bool, Counter[tuple[str, str]]]:
    """Claims by stage and domain, of the living (True) and of the dead."""
    lives = {
        owner: Holder(owner, pid, host, started).lives(since)
        for owner, pid, host, started, since in db.execute(
            "SELECT owner, pid, host, started, MAX(since) FROM claims GROUP BY owner"
        )
    }
    found: dict[bool, Counter[tuple[str, str]]] = {True: Counter(), False: Counter()}
    for stage, domain, owner, number in db.execute(
        "SELECT stage, domain, owner, COUNT(*) FROM claims GROUP BY stage, domain, owner"
    ):
        found[lives[owner]][stage, domain] += number
    return found


def _stages(db: sqlite3.Connection, claims: dict[bool, Counter[tuple[str, str]]]) -> tuple[StageStatus, ...]:
    calls = {
        (stage, domain): rest
        for stage, domain, *rest in db.execute(
            "SELECT stage, domain, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens), SUM(seconds), SUM(cost),"
            " MIN(finished_at) FROM calls GROUP BY stage, domain"
        )
    }
    events = {
        (stage, domain): rest
        for stage, domain, *rest in db.execute(
            "SELECT stage, domain, SUM(passed), SUM(1 - passed), MIN(at) FROM events GROUP BY stage, domain"
        )
    }
    first: dict[str, float] = {}
    for rows in (calls, events):
        for (stage, _), rest in rows.items():
            first[stage] = min(first.get(stage, rest[-1]), rest[-1])
    found = []
    for stage, domain in sorted(
        calls.keys() | events.keys() | claims[True].keys(), key=lambda key: (first.get(key[0], float("inf")), key)
    ):
        number, prompt, completion, seconds, cost, _ = calls.get((stage, domain), (0, 0, 0, 0.0, None, 0.0))
        passed, failed, _ = events.get((stage, domain), (0, 0, 0.0))
        in_flight = claims[True][stage, domain]
        found.append(StageStatus(stage, domain, number, in_flight, passed, failed, prompt, completion, seconds, cost))
    return tuple(found)


def _reasons(db: sqlite3.Connection, top: int) -> tuple[ReasonCount, ...]:
    found: Counter[tuple[str, str]] = Counter()
    for stage, reasons, number in db.execute(
        "SELECT stage, reasons, COUNT(*) FROM events WHERE passed = 0 GROUP BY stage, reasons"
    ):
        for reason in set(json.loads(reasons)):
            found[stage, reason] += number
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return tuple(ReasonCount(stage, reason, number) for (stage, reason), number in ranked[:top])


def _decisions(db: sqlite3.Connection) -> dict[str, int]:
    rows = db.execute("SELECT set_id, verdict FROM decisions ORDER BY at, id")
    return dict.fromkeys(VERDICTS, 0) | Counter(dict(rows).values())


def _calls_per_minute(db: sqlite3.Connection, now: float) -> float:
    number, began = db.execute(
        "SELECT COUNT(*), MIN(finished_at - seconds) FROM calls WHERE finished_at > ? AND finished_at <= ?",
        (now - WINDOW_SECONDS, now),
    ).fetchone()
    if not number:
        return 0.0
    # A run that has just begun, or resumed, is not slow for that.
    return float(number / min(WINDOW_SECONDS, max(1.0, now - began)) * 60.0)


def _eta(db: sqlite3.Connection, seeds: dict[str, int], rate: float) -> float | None:
    done = sum(seeds[state] for state in FINISHED)
    left = sum(seeds.values()) - done
    if not left:
        return 0.0 if done else None
    if not done or not rate:
        return None
    finished, begun = _calls_of_seeds(db, FINISHED), _calls_of_seeds(db, ("working", "waiting"))
    if not finished:
        return None
    return max(left * finished / done - begun, 0.0) / rate * 60.0


def _calls_of_seeds(db: sqlite3.Connection, states: Sequence[str]) -> int:
    marks = ", ".join("?" * len(states))
    (number,) = db.execute(
        f"SELECT COUNT(*) FROM calls JOIN seeds ON seeds.id = calls.seed_id WHERE seeds.state IN ({marks})",
        tuple(states),
    ).fetchone()
    return int(number)
