"""What the tests of the journal share: calls to record, and processes that write them. No journal may be open across a
fork, so a test closes its own before it starts one of these."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isograd.isomers.teacher.journal import Journal
from isograd.isomers.teacher.messages import Message, Reply, Request

MODEL = "teacher-1"

# Starting Python anew takes seconds on a busy machine, a fork milliseconds.
FORK = multiprocessing.get_context("fork")


def request(number: int, text: str = "") -> Request:
    return Request(
        stage="abstract",
        version=1,
        messages=(Message("user", f"question {number} {text}"),),
        schema=MappingProxyType({"type": "object"}) if number % 2 else None,
        temperature=0.0,
        max_tokens=100,
        sample=number,
    )


def reply(number: int, **changes: Any) -> Reply:
    # Some fill many pages, so that a kill can fall between two of them.
    fields: dict[str, Any] = {
        "text": f"answer {number} é {'x' * (number % 7 * 3000)}",
        "reasoning": "because",
        "finish": "stop",
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "seconds": 0.5,
        "attempts": 1,
    }
    return Reply(**(fields | changes))


def record(journal: Journal, number: int, **changes: Any) -> str:
    """Record call ``number``; returns its key."""
    asked = request(number)
    fields: dict[str, Any] = {"seed_id": f"seed-{number}", "domain": "law"} | changes
    journal.record(asked.key(MODEL), asked, MODEL, fields.pop("reply", reply(number)), **fields)
    return asked.key(MODEL)


@contextlib.contextmanager
def forked(work: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """A process that does ``work``; killed, if need be, and waited for at the end."""
    process = FORK.Process(target=work, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def log(path: Path, line: str) -> None:
    """Append a line at once; a kill loses nothing that this wrote."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def write_forever(path: Path, book: Path, start: int = 0, tell: bool = True) -> None:
    """Make calls in order, one after the other, passing over the finished ones; log each call and each record."""
    with Journal(path) as journal:
        for number in range(start, 1_000_000):
            key = request(number).key(MODEL)
            if journal.find(key) is not None:
                continue
            assert journal.claim(key)
            if tell:
                log(book, f"called {number}")
            record(journal, number)
            if tell:
                log(book, f"recorded {number}")


def race(path: Path, book: Path, barrier: Any, numbers: list[int], seed: int) -> None:
    """Obtain all calls, eight at a time, in an order of one's own."""
    order = random.Random(seed).sample(numbers, len(numbers))
    barrier.wait()

    async def run(journal: Journal) -> None:
        queue = iter(order)

        async def task() -> None:
            for number in queue:
                key = request(number).key(MODEL)
                found = await journal.obtain(key, stage="abstract", domain="law", poll_seconds=0.01)
                if found is None:
                    log(book, f"called {number}")
                    await asyncio.sleep(0.002)
                    record(journal, number)
                    found = journal.find(key)
                assert found == reply(number)

        await asyncio.gather(*(task() for _ in range(8)))

    with Journal(path) as journal:
        asyncio.run(run(journal))
    log(book, "finished")


def claim_and_wait(path: Path, key: str, ready: Any) -> None:
    """Claim a call and never make it."""
    journal = Journal(path)
    assert journal.claim(key, stage="abstract", domain="law")
    ready.set()
    time.sleep(600)


def open_at_once(path: Path, barrier: Any, number: int) -> None:
    barrier.wait()
    with Journal(path) as journal:
        record(journal, number)


def integrity(path: Path) -> None:
    """SQLite's own check of every page, and no call that is not whole."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute(
            "SELECT COUNT(*) FROM calls WHERE NOT json_valid(reply) OR NOT json_valid(request)"
        ).fetchone() == (0,)
