"""A journal's reads and writes for an event loop: in a thread, and as many in one transaction as have come together.

A disk takes milliseconds to confirm a transaction, however small. Waited for one by one, that would bound the calls per
second, and while it lasts the event loop would stand still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from isograd.isomers.teacher.journal import Journal

__all__ = ["JournalQueue"]

_T = TypeVar("_T")
_Entry = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class JournalQueue:
    """Does work on a journal in the order in which it is asked for; one event loop uses it.

    Args:
        journal: open for writing.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._waiting: list[_Entry] = []
        self._worker: asyncio.Task[None] | None = None

    async def do(self, work: Callable[[], _T]) -> _T:
        """What ``work`` returns; what it wrote is on disk by then.

        It is done even if whoever waits for it is cancelled.

        Args:
            work: short; calls methods of the journal and nothing that waits.

        Raises:
            UserError: the journal's file fails.
            Exception: whatever ``work`` raises; nothing of it is then written.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._waiting.append((work, future))
        if self._worker is None:
            self._worker = loop.create_task(self._drain())
        return await future

    async def finish(self) -> None:
        """Wait until all that was asked for is done, also by tasks that were cancelled since."""
        while self._worker is not None:
            await asyncio.wait([self._worker])

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                outcomes = await asyncio.to_thread(self._do_all, batch)
                for (_, future), (value, error) in zip(batch, outcomes, strict=True):
                    if future.done():  # cancelled
                        continue
                    if error is None:
                        future.set_result(value)
                    else:
                        future.set_exception(error)
        finally:
            self._worker = None

    def _do_all(self, batch: Sequence[_Entry]) -> list[tuple[Any, Exception | None]]:
        outcomes: list[tuple[Any, Exception | None]] = []
        try:
            with self.journal.together():
                for work, _ in batch:
                    try:
                        with self.journal.together():  # what it writes, wholly or not at all
                            value = work()
                        outcomes.append((value, None))
                    except Exception as error:
                        outcomes.append((None, error))
        except Exception as error:
            # The write that failed first says best what is wrong.
            first = next((found for _, found in outcomes if found is not None), error)
            return [(None, first)] * len(batch)
        return outcomes
