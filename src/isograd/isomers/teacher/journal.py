"""The teacher pipeline's journal: every finished call, on disk before it is used; nothing paid for is paid twice.

A journal is one SQLite file. Any number of processes of one machine may share it; several machines keep one each (see
:func:`shard`) and merge them. A process that is killed at any moment loses no finished call, and the calls that it was
making are made anew by whoever comes next.

The order of a call, for one process or many::

    reply = await journal.obtain(key, stage=request.stage, domain=domain)   # finished, by whomever: use it
    if reply is None:                                                       # claimed: it is ours to make
        try:
            reply = await client.send(request)
            reply = journal.record(key, request, model, reply, seed_id=seed_id, domain=domain, cost=cost)
        except BaseException:                                               # failed for good, or cancelled
            journal.release(key)
            raise

All other methods are short (milliseconds, most of it the disk's) and block; an event loop may call them as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Self

from isograd.common.errors import UserError
from isograd.isomers.teacher.journal_decisions import Decision, Decisions
from isograd.isomers.teacher.journal_merge import MergeReport, merge_files, parse_shard, shard
from isograd.isomers.teacher.journal_owner import Holder
from isograd.isomers.teacher.journal_seeds import SeedRecord, Seeds, SeedState, to_json
from isograd.isomers.teacher.journal_status import ReasonCount, StageStatus, Status, count_status
from isograd.isomers.teacher.journal_store import Store
from isograd.isomers.teacher.messages import Reply, Request

__all__ = [
    "Decision",
    "Journal",
    "MergeReport",
    "ReasonCount",
    "SeedRecord",
    "SeedState",
    "StageStatus",
    "Status",
    "parse_shard",
    "shard",
]

POLL_SECONDS: Final = 0.5
"""How often to look whether another process has finished a call."""

# A server may report anything; SQLite's sums must not overflow. The stored reply keeps the number as it came.
_MOST_TOKENS: Final = 10**12


class Journal:
    """An open journal. Threads may share it (one at a time is served); after a fork each process opens its own.

    Two open journals, in one process or in two, never make the same call at the same time.

    Attributes:
        path: the file. Beside it, while it is open or after a kill, lie ``-wal`` and ``-shm``: they belong to it.
        seeds: the problems, and what became of them.
        decisions: what human reviewers decided.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        """Open a journal, and unless ``read_only`` make it where it is missing.

        Args:
            path: a file on a disk of this machine (SQLite's write-ahead log does not work over a network).
            read_only: change nothing, make no file and keep no writer waiting; what would write raises.

        Raises:
            UserError: no such file (``read_only``), not a journal, a journal of another format, a damaged one, or it
                cannot be opened. Every other method raises it too where the file fails: full disk, damage, removed.
        """
        self._store = Store(path, read_only=read_only)
        self._holder: Final = Holder.mine()
        self.path: Final = self._store.path
        self.seeds: Final = Seeds(self._store)
        self.decisions: Final = Decisions(self._store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up all claims and close the file; closing twice is harmless."""
        # Where this fails, the claims fall with the process.
        with contextlib.suppress(UserError, RuntimeError):
            if not self._store.read_only:
                with self._store.write() as db:
                    db.execute("DELETE FROM claims WHERE owner = ?", (self._holder.owner,))
        self._store.close()

    def together(self) -> AbstractContextManager[None]:
        """One transaction for all that this thread writes within the block.

        A write that raises within the block leaves nothing of itself; the others stand, and are on disk when the block
        ends. If that fails, none of them is. A block within another one is one of its writes.
        """
        return self._store.together()

    def configure(self, configuration: str) -> None:
        """Bind the journal to a configuration; the first to do so decides.

        Args:
            configuration: hash of whatever decides what a run makes.

        Raises:
            UserError: the journal is bound to another one.
        """
        with self._store.write() as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES ('configuration', ?)", (configuration,))
            (bound,) = db.execute("SELECT value FROM meta WHERE name = 'configuration'").fetchone()
        if bound != configuration:
            raise UserError(
                f"{self.path}: belongs to a run with another configuration ({bound[:12]}, not {configuration[:12]});"
                " undo the change of the configuration or name a new journal"
            )

    def find(self, key: str) -> Reply | None:
        """The reply of a finished call, or None.

        Args:
            key: ``Request.key(model)``.
        """
        found = self._store.read(lambda db: db.execute("SELECT reply FROM calls WHERE key = ?", (key,)).fetchone())
        if found is None:
            return None
        try:
            return Reply.from_json(json.loads(found[0]))
        except ValueError as error:
            raise UserError(f"{self.path}: the reply of call {key} is damaged ({error}); name a new journal") from None

    def claim(self, key: str, *, stage: str = "", domain: str = "") -> bool:
        """Take a call upon oneself, so that nobody else makes it.

        A claim of a process that died is taken over.

        Args:
            key: of the call.
            stage: for the status alone.
            domain: for the status alone.

        Returns:
            False if the call is finished, or claimed by a process that lives (by this journal too: a call is claimed
            once, however many tasks want it).
        """
        with self._store.write() as db:
            if db.execute("SELECT 1 FROM calls WHERE key = ?", (key,)).fetchone():
                return False
            found = db.execute("SELECT owner, pid, host, started, since FROM claims WHERE key = ?", (key,)).fetchone()
            if found and Holder(*found[:4]).lives(found[4]):
                return False
            holder = self._holder
            db.execute(
                "INSERT OR REPLACE INTO claims (key, stage, domain, owner, pid, host, started, since)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (key, stage, domain, holder.owner, holder.pid, holder.host, holder.started, time.time()),
            )
        return True

    async def obtain(
        self, key: str, *, stage: str = "", domain: str = "", poll_seconds: float = POLL_SECONDS
    ) -> Reply | None:
        """The reply of a call, once it is finished; None if the call is now claimed and the caller's to make.

        Waits while another task or process makes the call, until that finishes it, gives it up or dies.

        Args:
            key: of the call.
            stage: for the status alone.
            domain: for the status alone.
            poll_seconds: how often to look.
        """
        while True:
            # In this order: a call may be finished between the two, and is then found in the next round.
            if (reply := self.find(key)) is not None:
                return reply
            if self.claim(key, stage=stage, domain=domain):
                return None
            await asyncio.sleep(poll_seconds)

    def record(
        self,
        key: str,
        request: Request,
        model: str,
        reply: Reply,
        *,
        seed_id: str,
        domain: str,
        cost: float | None = None,
    ) -> Reply:
        """Write a finished call and end its claim; it is on disk when this returns.

        Args:
            key: ``request.key(model)``.
            request: what was asked; no secrets are in it.
            model: who was asked.
            reply: what came.
            seed_id: the seed it serves.
            domain: empty for a stage that belongs to no domain.
            cost: None if unknown.

        Returns:
            The reply to go on with: the one that is in the journal. It is another than ``reply`` only if two processes
            made the call all the same (see :data:`isograd.isomers.teacher.journal_owner.FOREIGN_SECONDS`).

        Raises:
            UserError: it could not be written, because the disk is full or the text holds half a character. The claim
                stands, and recording may be tried again.
        """
        row = (
            key,
            request.stage,
            request.version,
            model,
            domain,
            seed_id,
            min(reply.prompt_tokens, _MOST_TOKENS),
            min(reply.completion_tokens, _MOST_TOKENS),
            reply.seconds,
            cost,
            time.time(),
            to_json(request.to_json()),
            to_json(reply.to_json()),
        )
        with self._store.write() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO calls (key, stage, version, model, domain, seed_id, prompt_tokens,"
                " completion_tokens, seconds, cost, finished_at, request, reply)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            ).rowcount
            db.execute("DELETE FROM claims WHERE key = ?", (key,))
        return reply if added else self.find(key) or reply

    def release(self, key: str) -> None:
        """Give up one's claim to a call that failed for good; harmless where there is none."""
        with self._store.write() as db:
            db.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self._holder.owner))

    def status(self, *, top: int = 10) -> Status:
        """Where the pipeline stands; may be asked while it runs, from another process too.

        Args:
            top: how many of the most frequent reasons to name.
        """
        return self._store.read(lambda db: count_status(db, top=top))

    def merge(self, others: Sequence[str | os.PathLike[str]]) -> MergeReport:
        """Take over what other journals hold; each file wholly or, after an error, not at all.

        Of two different replies to one call, or outcomes of one seed, the one that is here stays; the report tells.
        Claims are left behind.

        Args:
            others: journals of the same run, which nobody writes now.

        Raises:
            UserError: one cannot be read, is of another configuration, or is this very file.
        """
        return merge_files(self._store, others)
