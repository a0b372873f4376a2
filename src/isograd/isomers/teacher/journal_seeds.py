"""What became of the seeds: their states, and what each stage said of them on the way."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from isograd.common.errors import UserError
from isograd.isomers.teacher.journal_store import Store

__all__ = ["FINISHED", "STATES", "SeedRecord", "SeedState", "Seeds", "to_json"]

SeedState = Literal["waiting", "working", "verified", "quarantined"]

STATES: Final[tuple[SeedState, ...]] = ("waiting", "working", "verified", "quarantined")
FINISHED: Final[tuple[SeedState, ...]] = ("verified", "quarantined")


@dataclass(frozen=True)
class SeedRecord:
    """A problem to make a set of.

    Attributes:
        id: unique within the journal.
        number: its place in the order of work.
        source: the problem as it was read; any JSON value.
        state: ``waiting``, ``working`` (begun, perhaps by a process that died), ``verified`` or ``quarantined``.
        result: what was made of it; any JSON value.
        reasons: why it was quarantined; machine-readable.
        updated_at: time of the last change of state; seconds since 1970.
    """

    id: str
    number: int
    source: Any
    state: SeedState = "waiting"
    result: Any = None
    reasons: tuple[str, ...] = ()
    updated_at: float = 0.0


class Seeds:
    """The seeds of a journal; reach it as ``journal.seeds``. Every method raises UserError where the file fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, seeds: Iterable[SeedRecord]) -> int:
        """Put new seeds in the journal; those already there stay as they are. Returns how many are new.

        Args:
            seeds: only ``id``, ``number`` and ``source`` are taken; they wait, whatever their state.

        Raises:
            UserError: a seed of this id, but of another source, is already there; none of the seeds is added.
        """
        new = 0
        with self._store.write() as db:
            for seed in seeds:
                source = to_json(seed.source)
                added = db.execute(
                    "INSERT OR IGNORE INTO seeds (id, number, state, updated_at, reasons, source, result)"
                    " VALUES (?, ?, 'waiting', ?, '[]', ?, 'null')",
                    (seed.id, seed.number, time.time(), source),
                ).rowcount
                new += added
                if not added and self._source(db, seed.id) != source:
                    raise UserError(
                        f"{self._store.path}: seed {seed.id!r} is already there with another text; give it another id"
                        " or name a new journal"
                    )
        return new

    def start(self, seed_id: str) -> bool:
        """Say that work on a seed begins; a finished one stays finished.

        Returns:
            Whether it was waiting: of several processes that start a seed, one alone is told so.

        Raises:
            UserError: no such seed.
        """
        with self._store.write() as db:
            self._source(db, seed_id)
            changed = db.execute(
                "UPDATE seeds SET state = 'working', updated_at = ? WHERE id = ? AND state = 'waiting'",
                (time.time(), seed_id),
            ).rowcount
        return bool(changed)

    def finish(
        self,
        seed_id: str,
        state: Literal["verified", "quarantined"],
        *,
        result: Any = None,
        reasons: Sequence[str] = (),
    ) -> None:
        """Write what became of a seed; of two outcomes the later one stands.

        Args:
            seed_id: which.
            state: ``verified`` or ``quarantined``.
            result: what was made of it; any JSON value.
            reasons: why it was quarantined; machine-readable, without numbers and names, so that they can be counted.

        Raises:
            UserError: no such seed.
        """
        if state not in FINISHED:
            raise ValueError(f"state is {state!r}; it must be one of {FINISHED}")
        with self._store.write() as db:
            self._source(db, seed_id)
            db.execute(
                "UPDATE seeds SET state = ?, result = ?, reasons = ?, updated_at = ? WHERE id = ?",
                (state, to_json(result), to_json(list(reasons)), time.time(), seed_id),
            )

    def note(
        self, seed_id: str, stage: str, domain: str, *, passed: bool, reasons: Sequence[str] = (), attempt: int = 0
    ) -> None:
        """Write whether a seed passed a stage; counted by the status.

        Args:
            seed_id: which.
            stage: which stage, verification included.
            domain: empty for a stage that belongs to no domain.
            passed: whether it did.
            reasons: why it did not; machine-readable, as those of :meth:`finish`.
            attempt: number of the try. Writing one again replaces it: a run that resumes counts nothing twice.
        """
        with self._store.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO events (seed_id, stage, domain, attempt, passed, reasons, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (seed_id, stage, domain, attempt, int(passed), to_json(list(reasons)), time.time()),
            )

    def get(self, seed_id: str) -> SeedRecord | None:
        """One seed, or None."""
        found = self._store.read(lambda db: db.execute(f"{_SELECT} WHERE id = ?", (seed_id,)).fetchone())
        return None if found is None else _seed(found)

    def ids(self, *states: SeedState) -> list[str]:
        """Ids in the order of work.

        Args:
            *states: only those in one of these states; all if none is named.
        """
        wanted = states or STATES
        order = f"SELECT id FROM seeds WHERE state IN ({', '.join('?' * len(wanted))}) ORDER BY number, id"
        return [name for (name,) in self._store.read(lambda db: db.execute(order, wanted).fetchall())]

    def records(self, *states: SeedState) -> list[SeedRecord]:
        """Seeds in the order of work.

        Args:
            *states: only those in one of these states; all if none is named.
        """
        wanted = states or STATES
        marks = ", ".join("?" * len(wanted))
        order = f"{_SELECT} WHERE state IN ({marks}) ORDER BY number, id"
        return [_seed(row) for row in self._store.read(lambda db: db.execute(order, wanted).fetchall())]

    def _source(self, db: sqlite3.Connection, seed_id: str) -> str:
        found = db.execute("SELECT source FROM seeds WHERE id = ?", (seed_id,)).fetchone()
        if found is None:
            raise UserError(f"{self._store.path}: has no seed {seed_id!r}; add it first")
        return str(found[0])


_SELECT: Final = "SELECT id, number, source, state, result, reasons, updated_at FROM seeds"


def _seed(row: tuple[Any, ...]) -> SeedRecord:
    seed_id, number, source, state, result, reasons, updated_at = row
    return SeedRecord(
        seed_id, number, json.loads(source), state, json.loads(result), tuple(json.loads(reasons)), updated_at
    )


def to_json(value: Any) -> str:
    """``value`` as JSON that is equal for equal values.

    Without escapes, in which half a character would pass unseen, and other scripts than ours take twice the room.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, default=dict)
