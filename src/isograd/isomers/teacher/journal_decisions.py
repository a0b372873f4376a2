"""What human reviewers decided, with time and hash; nothing is ever overwritten, the newest counts."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

from isograd.isomers.teacher.journal_seeds import to_json
from isograd.isomers.teacher.journal_store import Store

__all__ = ["VERDICTS", "Decision", "Decisions", "Verdict"]

Verdict = Literal["accept", "reject", "edit"]

VERDICTS: Final[tuple[Verdict, ...]] = ("accept", "reject", "edit")


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        set_id: the set decided on.
        set_hash: hash of that set as the reviewer saw it: a set that changed since needs a new decision. Empty in a
            row that takes another decision back: it fits no set.
        verdict: ``accept``, ``reject`` or ``edit``.
        content: the set as edited, or a remark; any JSON value.
        reviewer: who.
        at: when; seconds since 1970.
    """

    set_id: str
    set_hash: str
    verdict: Verdict
    content: Any
    reviewer: str
    at: float


class Decisions:
    """The decisions of a journal; reach it as ``journal.decisions``. Methods raise UserError where the file fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, set_id: str, set_hash: str, verdict: Verdict, *, content: Any = None, reviewer: str = "") -> Decision:
        """Write a decision; it is on disk when this returns.

        Args:
            set_id: the set.
            set_hash: its hash as the reviewer saw it.
            verdict: ``accept``, ``reject`` or ``edit``.
            content: with ``edit``, the set as edited.
            reviewer: who decides.

        Raises:
            ValueError: an unknown verdict, or an edit without content.
        """
        if verdict not in VERDICTS:
            raise ValueError(f"verdict is {verdict!r}; it must be one of {VERDICTS}")
        if verdict == "edit" and content is None:
            raise ValueError("an edit needs the edited set as content")
        with self._store.write() as db:
            (last,) = db.execute("SELECT MAX(at) FROM decisions WHERE set_id = ?", (set_id,)).fetchone()
            # Clocks are set back; the newest decision must stay the newest, in merged journals too.
            at = max(time.time(), 0.0 if last is None else last + 1e-3)
            decision = Decision(set_id, set_hash, verdict, content, reviewer, at)
            db.execute(
                "INSERT INTO decisions (set_id, set_hash, verdict, reviewer, at, content) VALUES (?, ?, ?, ?, ?, ?)",
                (set_id, set_hash, verdict, reviewer, at, to_json(content)),
            )
        return decision

    def mark(self) -> int:
        """A number that grows with every decision that is written, by whatever process."""
        (last,) = self._store.read(lambda db: db.execute("SELECT MAX(id) FROM decisions").fetchone())
        return int(last or 0)

    def newest(self) -> dict[str, Decision]:
        """The decision that counts for each set, by the set's id."""
        return {decision.set_id: decision for decision in self.history()}

    def history(self) -> list[Decision]:
        """All decisions, oldest first."""
        rows = self._store.read(
            lambda db: db.execute(
                "SELECT set_id, set_hash, verdict, content, reviewer, at FROM decisions ORDER BY at, id"
            ).fetchall()
        )
        return [
            Decision(set_id, set_hash, verdict, json.loads(content), reviewer, at)
            for set_id, set_hash, verdict, content, reviewer, at in rows
        ]
