"""What was decided on each set, as the journal has it: read anew whenever anybody wrote to it.

A decision is bound to the hash of the set as it stood in the file. It counts for a set of that hash alone; a set that
was decided on and has changed since is *stale*. Taking a decision back is written, too, for nothing is ever erased: as
a row whose hash is empty, so that it fits no set, and which names the decision that it takes back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

from isograd.isomers.review.catalog import Entry
from isograd.isomers.review.content import to_plain
from isograd.isomers.schema import IsomerSet
from isograd.isomers.teacher.journal import Decision, Journal

__all__ = ["Conflict", "Ledger", "State", "journal_path", "taken_back"]

State = Literal["undecided", "stale", "accepted", "edited", "rejected"]

_STATES: Final[dict[str, State]] = {"accept": "accepted", "edit": "edited", "reject": "rejected"}


class Conflict(Exception):  # noqa: N818 - nothing went wrong: somebody else was faster
    """Somebody decided on the set since the page was shown."""


def journal_path(file: Path) -> Path:
    """Where the decisions on a file go unless told otherwise.

    The pipeline's ``journal.sqlite`` if one lies beside the file, else a journal of the file's own.
    """
    shared = file.with_name("journal.sqlite")
    return shared if shared.is_file() else file.with_name(f"{file.name}.review.sqlite")


def taken_back(decision: Decision) -> float | None:
    """The time of the decision that this one takes back; None for one that decides something."""
    if decision.set_hash or not isinstance(decision.content, dict):
        return None
    at = decision.content.get("takes_back")
    return at if isinstance(at, float) else None


class Ledger:
    """The decisions of a journal that count. Threads may share it, and so may processes.

    Attributes:
        mark: grows with every decision that is read.
    """

    def __init__(self, journal: Journal, *, reviewer: str = "") -> None:
        """Read a journal.

        Args:
            journal: open; for writing, unless nothing is to be decided.
            reviewer: kept with each decision.

        Raises:
            UserError: the journal cannot be read, as from all methods.
        """
        self._journal = journal
        self._reviewer = reviewer
        self._lock = threading.RLock()
        self.mark = -1
        self._rows: dict[str, list[Decision]] = {}
        self._standing: dict[str, dict[str, list[Decision]]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read what was written since, by this process or another."""
        with self._lock:
            mark = self._journal.decisions.mark()
            if mark == self.mark:
                return
            self._rows, self._standing = _resolved(self._journal.decisions.history())
            self.mark = mark

    def history(self, set_id: str) -> list[Decision]:
        """Everything that was written about a set, oldest first."""
        return list(self._rows.get(set_id, ()))

    def decision(self, entry: Entry) -> Decision | None:
        """The decision that counts for an entry."""
        standing = self._standing.get(entry.id, {}).get(entry.hash)
        return standing[-1] if standing else None

    def state(self, entry: Entry) -> State:
        """Where an entry stands."""
        decision = self.decision(entry)
        if decision is not None:
            return _STATES[decision.verdict]
        return "stale" if any(self._standing.get(entry.id, {}).values()) else "undecided"

    def accept(self, entry: Entry) -> None:
        """Accept a set as it stands in the file."""
        self._journal.decisions.add(entry.id, entry.hash, "accept", reviewer=self._reviewer)
        self.refresh()

    def reject(self, entry: Entry, reason: str = "") -> None:
        """Reject a set, with a line that says why."""
        content = {"reason": reason} if reason else None
        self._journal.decisions.add(entry.id, entry.hash, "reject", content=content, reviewer=self._reviewer)
        self.refresh()

    def edit(self, entry: Entry, edited: IsomerSet, *, since: float | None) -> None:
        """Accept a set as edited.

        Args:
            entry: the set as it stands in the file.
            edited: the set as it is to be.
            since: time of the decision that the edit began from; None if there was none.

        Raises:
            Conflict: another decision counts by now.
        """
        with self._lock:
            self._expect(entry, since)
            self._journal.decisions.add(entry.id, entry.hash, "edit", content=to_plain(edited), reviewer=self._reviewer)
            self.refresh()

    def undo(self, entry: Entry, *, since: float | None) -> None:
        """Take back the decision that counts; the one before it counts again.

        Args:
            entry: the set.
            since: time of the decision to take back.

        Raises:
            Conflict: another decision counts by now, or none.
        """
        with self._lock:
            self._expect(entry, since)
            if since is None:
                raise Conflict
            # To whoever does not know of it, the row says to leave the set out: the safe side.
            self._journal.decisions.add(entry.id, "", "reject", content={"takes_back": since}, reviewer=self._reviewer)
            self.refresh()

    def _expect(self, entry: Entry, since: float | None) -> None:
        self.refresh()
        decision = self.decision(entry)
        if (None if decision is None else decision.at) != since:
            raise Conflict


def _resolved(history: Iterable[Decision]) -> tuple[dict[str, list[Decision]], dict[str, dict[str, list[Any]]]]:
    """All rows by set; and, by set and hash, those that were not taken back, oldest first."""
    rows: dict[str, list[Decision]] = {}
    standing: dict[str, dict[str, list[Decision]]] = {}
    for decision in history:
        rows.setdefault(decision.set_id, []).append(decision)
        if decision.set_hash:
            standing.setdefault(decision.set_id, {}).setdefault(decision.set_hash, []).append(decision)
        elif (at := taken_back(decision)) is not None:
            for stack in standing.get(decision.set_id, {}).values():
                stack[:] = [earlier for earlier in stack if earlier.at != at]
    return rows, standing
