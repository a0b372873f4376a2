"""Many small writes in few transactions: nothing is lost, and a write that fails takes no other with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from journal_workers import MODEL, reply, request

from isograd.common.errors import UserError
from isograd.isomers.teacher.journal import Journal, SeedRecord
from isograd.isomers.teacher.journal_queue import JournalQueue


def record(journal: Journal, number: int) -> str:
    asked = request(number)
    journal.record(asked.key(MODEL), asked, MODEL, reply(number), seed_id="s", domain="law")
    return asked.key(MODEL)


def test_what_comes_together_is_written_together(tmp_path: Path) -> None:
    transactions: list[int] = []

    class Counting(JournalQueue):
        def _do_all(self, batch: Sequence[Any]) -> Any:
            transactions.append(len(batch))
            return super()._do_all(batch)

    async def work(journal: Journal) -> list[str]:
        queue = Counting(journal)
        return await asyncio.gather(*(queue.do(partial(record, journal, number)) for number in range(200)))

    with Journal(tmp_path / "j.sqlite") as journal:
        keys = asyncio.run(work(journal))
    assert sum(transactions) == 200
    assert len(transactions) < 10
    with Journal(tmp_path / "j.sqlite", read_only=True) as journal:
        assert [journal.find(key) for key in keys] == [reply(number) for number in range(200)]


def test_a_write_that_fails_leaves_the_others(tmp_path: Path) -> None:
    async def work(journal: Journal) -> list[object]:
        queue = JournalQueue(journal)

        def half() -> None:
            journal.seeds.finish("s", "verified")
            journal.seeds.finish("nobody", "verified")

        return await asyncio.gather(
            queue.do(partial(record, journal, 1)),
            queue.do(half),
            queue.do(partial(journal.seeds.start, "s")),
            queue.do(partial(record, journal, 2)),
            return_exceptions=True,
        )

    with Journal(tmp_path / "j.sqlite") as journal:
        journal.seeds.add([SeedRecord("s", 1, {}), SeedRecord("t", 2, {})])
        first, failed, started, second = asyncio.run(work(journal))
        assert isinstance(failed, UserError)
        assert "no seed 'nobody'" in str(failed)
        assert started is True
        assert journal.seeds.start("s") is False
        assert journal.seeds.ids("waiting") == ["t"]
        # The first half of what failed is not there.
        assert journal.seeds.ids("working") == ["s"]
        assert journal.find(str(first)) == reply(1)
        assert journal.find(str(second)) == reply(2)


def test_a_file_that_fails_fails_all(tmp_path: Path) -> None:
    async def work(journal: Journal) -> list[object]:
        queue = JournalQueue(journal)
        (tmp_path / "j.sqlite").rename(tmp_path / "elsewhere")
        return await asyncio.gather(
            *(queue.do(partial(record, journal, number)) for number in range(3)), return_exceptions=True
        )

    with Journal(tmp_path / "j.sqlite") as journal:
        outcomes = asyncio.run(work(journal))
    assert all(isinstance(outcome, UserError) and "moved or removed" in str(outcome) for outcome in outcomes)


def test_what_was_asked_for_is_done_after_a_cancellation(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        queue = JournalQueue(journal)
        task = asyncio.create_task(queue.do(partial(record, journal, 1)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await queue.finish()
        assert journal.find(request(1).key(MODEL)) == reply(1)

    with Journal(tmp_path / "j.sqlite") as journal:
        asyncio.run(work(journal))
