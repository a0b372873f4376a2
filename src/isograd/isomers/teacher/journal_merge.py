"""Merging the journals of several machines, and sharing out the seeds among them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from isograd.common.errors import UserError
from isograd.isomers.teacher.journal_seeds import FINISHED, STATES
from isograd.isomers.teacher.journal_store import Store, read_file

__all__ = ["MergeReport", "merge_files", "parse_shard", "shard"]


@dataclass(frozen=True)
class MergeReport:
    """What a merge did.

    Attributes:
        files: journals merged in.
        calls: calls taken over.
        repeated: calls that were there already, with an equal reply.
        different: keys of calls that were there already, with another reply; the one that was there stays.
        seeds: seeds taken over, or whose state was.
        different_seeds: seeds finished on both sides with different outcomes; the one that was there stays.
        decisions: reviewers' decisions taken over.
    """

    files: int = 0
    calls: int = 0
    repeated: int = 0
    different: tuple[str, ...] = ()
    seeds: int = 0
    different_seeds: tuple[str, ...] = ()
    decisions: int = 0

    def __add__(self, other: MergeReport) -> MergeReport:
        return MergeReport(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def __str__(self) -> str:
        told = (
            f"{self.files} journals merged: {self.calls} calls, {self.seeds} seeds and {self.decisions} decisions new,"
            f" {self.repeated} calls already there"
        )
        if self.different:
            told += f"; {len(self.different)} calls had another reply here, which was kept"
        if self.different_seeds:
            told += f"; {len(self.different_seeds)} seeds had another outcome here, which was kept"
        return told


def shard(seed_id: str, i: int, n: int) -> bool:
    """Whether a seed belongs to shard ``i`` of ``n``, counted from 1; the same on every machine.

    Raises:
        UserError: ``i`` is not in 1 .. ``n``.
    """
    if not 1 <= i <= n:
        raise UserError(f"shard is {i}/{n}; the first number must be from 1 to the second")
    digest = hashlib.sha256(seed_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % n == i - 1


def parse_shard(text: str) -> tuple[int, int]:
    """``"2/3"`` as (2, 3).

    Raises:
        UserError: not two numbers, or the first is not from 1 to the second.
    """
    found = re.fullmatch(r"\s*(\d{1,9})/(\d{1,9})\s*", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"shard is {text!r}; write it as i/n, for example 2/3, with i from 1 to n")
    return int(found[1]), int(found[2])


def merge_files(store: Store, others: Sequence[str | os.PathLike[str]]) -> MergeReport:
    """See :meth:`isograd.isomers.teacher.journal.Journal.merge`."""
    report = MergeReport()
    for other in map(Path, others):
        if other.exists() and store.path.exists() and other.samefile(store.path):
            raise UserError(f"{other}: cannot be merged into itself; name the other journals")
        with store.write() as mine:
            # Once only: what a second try finds would lie beside what the first one left.
            report += read_file(other, partial(_merge, mine, other), attempts=1)
    return report


def _merge(mine: sqlite3.Connection, path: Path, theirs: sqlite3.Connection) -> MergeReport:
    _same_configuration(mine, theirs, path)
    new, repeated, different = _merge_calls(mine, theirs)
    seeds, different_seeds = _merge_seeds(mine, theirs, path)
    for row in theirs.execute("SELECT * FROM events"):
        mine.execute(f"INSERT OR IGNORE INTO events VALUES ({_marks(row)})", row)
    decisions = 0
    for row in theirs.execute("SELECT set_id, set_hash, verdict, reviewer, at, content FROM decisions ORDER BY id"):
        decisions += mine.execute(
            "INSERT INTO decisions (set_id, set_hash, verdict, reviewer, at, content) SELECT ?, ?, ?, ?, ?, ?"
            " WHERE NOT EXISTS (SELECT 1 FROM decisions WHERE set_id = ? AND set_hash = ? AND verdict = ?"
            " AND reviewer = ? AND at = ? AND content = ?)",
            (*row, *row),
        ).rowcount
    return MergeReport(1, new, repeated, tuple(different), seeds, tuple(different_seeds), decisions)


def _same_configuration(mine: sqlite3.Connection, theirs: sqlite3.Connection, path: Path) -> None:
    ask = "SELECT MAX(value) FROM meta WHERE name = 'configuration'"
    (here,), (there,) = mine.execute(ask).fetchone(), theirs.execute(ask).fetchone()
    (calls,) = mine.execute("SELECT COUNT(*) FROM calls").fetchone()
    if here is None and there is not None and not calls:
        mine.execute("INSERT INTO meta VALUES ('configuration', ?)", (there,))
    elif here != there:
        raise UserError(
            f"{path}: made with another configuration ({str(there)[:12]}, not {str(here)[:12]}); merge only journals"
            " of one run"
        )


def _merge_calls(mine: sqlite3.Connection, theirs: sqlite3.Connection) -> tuple[int, int, list[str]]:
    new, repeated, different = 0, 0, []
    rows = theirs.execute("SELECT * FROM calls ORDER BY finished_at")
    names = [column[0] for column in rows.description]
    key, reply = names.index("key"), names.index("reply")
    for row in rows:
        if mine.execute(f"INSERT OR IGNORE INTO calls VALUES ({_marks(row)})", row).rowcount:
            new += 1
            # Whoever makes this call here need not go on.
            mine.execute("DELETE FROM claims WHERE key = ?", (row[key],))
            continue
        (there,) = mine.execute("SELECT reply FROM calls WHERE key = ?", (row[key],)).fetchone()
        if _said(there) == _said(row[reply]):
            repeated += 1
        else:
            different.append(row[key])
    return new, repeated, different


def _said(reply: str) -> tuple[Any, ...]:
    # Not how long it took, nor at which attempt it came.
    found = json.loads(reply)
    return tuple(found.get(name) for name in ("text", "reasoning", "finish"))


def _merge_seeds(mine: sqlite3.Connection, theirs: sqlite3.Connection, path: Path) -> tuple[int, list[str]]:
    changed, different = 0, []
    rows = theirs.execute("SELECT id, number, state, updated_at, reasons, source, result FROM seeds ORDER BY number")
    for seed_id, number, state, updated_at, reasons, source, result in rows:
        here = mine.execute("SELECT state, reasons, source, result FROM seeds WHERE id = ?", (seed_id,)).fetchone()
        if here is None:
            row = (seed_id, number, state, updated_at, reasons, source, result)
            mine.execute(f"INSERT INTO seeds VALUES ({_marks(row)})", row)
            changed += 1
        elif here[2] != source:
            raise UserError(f"{path}: seed {seed_id!r} has another text here; merge only journals of one run")
        elif here[0] in FINISHED:
            if state in FINISHED and (here[0], here[1], here[3]) != (state, reasons, result):
                different.append(seed_id)
        elif STATES.index(state) > STATES.index(here[0]):
            mine.execute(
                "UPDATE seeds SET state = ?, updated_at = ?, reasons = ?, result = ? WHERE id = ?",
                (state, updated_at, reasons, result, seed_id),
            )
            changed += 1
    return changed, different


def _marks(row: Sequence[object]) -> str:
    return ", ".join("?" * len(row))
