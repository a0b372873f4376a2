"""The journal under kills, races and readers: real files, real processes."""

from __future__ import annotations

import functools
import random
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from journal_workers import (
    FORK,
    MODEL,
    claim_and_wait,
    forked,
    integrity,
    lines,
    open_at_once,
    race,
    record,
    reply,
    request,
    write_forever,
)

from isograd.isomers.teacher.journal import Journal


def wait_for(what: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def test_kill_at_any_moment_loses_no_record_and_repeats_none(tmp_path: Path) -> None:
    path, book = tmp_path / "journal.sqlite", tmp_path / "book"
    draw = random.Random(1)
    for turn in range(20):
        before = len(lines(book))
        with forked(write_forever, path, book) as process:
            # Some are killed while they open the file, most while they write.
            if turn % 4:
                enough = before + draw.randint(3, 12)
                wait_for(lambda enough=enough: len(lines(book)) >= enough)
            time.sleep(draw.uniform(0.0, 0.08 if turn % 4 == 0 else 0.01))
            process.kill()
        said = lines(book)
        recorded = [int(line.split()[1]) for line in said if line.startswith("recorded")]
        if not path.exists():
            continue
        with Journal(path) as journal:
            for number in recorded:
                assert journal.find(request(number).key(MODEL)) == reply(number)
            status = journal.status()
        # One call at most was recorded, and killed before it could say so in the book.
        assert status.calls - len(recorded) in range(turn + 2)
        integrity(path)
    assert len(recorded) > 20
    called = Counter(line for line in said if line.startswith("called"))
    for number in recorded:
        # Called again only if the kill fell between call and record; never after the record.
        last_call = len(said) - 1 - said[::-1].index(f"called {number}")
        assert last_call < said.index(f"recorded {number}")
    assert sum(called.values()) <= len(called) + 20


def test_two_processes_make_each_call_once(tmp_path: Path) -> None:
    path, numbers = tmp_path / "journal.sqlite", list(range(200))
    books = [tmp_path / "one", tmp_path / "two"]
    barrier = FORK.Barrier(2)
    with (
        forked(race, path, books[0], barrier, numbers, 1) as one,
        forked(race, path, books[1], barrier, numbers, 2) as two,
    ):
        one.join(240)
        two.join(240)
    assert [one.exitcode, two.exitcode] == [0, 0]
    assert all(lines(book)[-1] == "finished" for book in books)
    called = [line for book in books for line in lines(book) if line.startswith("called")]
    assert len(called) == len(set(called)) == 200
    with Journal(path) as journal:
        status = journal.status()
    assert (status.calls, status.in_flight, status.abandoned) == (200, 0, 0)


def test_many_make_the_file_at_once(tmp_path: Path) -> None:
    for turn in range(3):
        path = tmp_path / f"journal-{turn}.sqlite"
        barrier = FORK.Barrier(4)
        processes = [FORK.Process(target=open_at_once, args=(path, barrier, number)) for number in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0] * 4
        with Journal(path, read_only=True) as journal:
            assert journal.status().calls == 4


def test_claim_stands_while_its_process_lives(tmp_path: Path) -> None:
    path, key, ready = tmp_path / "journal.sqlite", request(1).key(MODEL), FORK.Event()
    with forked(claim_and_wait, path, key, ready) as process:
        assert ready.wait(60)
        with Journal(path) as journal:
            assert not journal.claim(key)
            assert journal.status().in_flight == 1
            process.kill()
            # Not waited for: until then a killed process is a zombie, and must count as dead all the same.
            wait_for(lambda: journal.status().abandoned == 1)
            assert journal.status().in_flight == 0
            assert journal.claim(key)
            assert journal.status().in_flight == 1
            assert not journal.claim(key)


def test_readers_see_whole_states_while_another_writes(tmp_path: Path) -> None:
    path, book = tmp_path / "journal.sqlite", tmp_path / "book"
    with forked(write_forever, path, book) as process:
        wait_for(lambda: len(lines(book)) > 2)
        with Journal(path, read_only=True) as journal:
            seen = []
            for _ in range(30):
                status = journal.status()
                assert status.prompt_tokens == 10 * status.calls
                assert status.completion_tokens == 3 * status.calls
                assert journal.find(request(0).key(MODEL)) == reply(0)
                seen.append(status.calls)
                time.sleep(0.01)
            assert seen == sorted(seen)
            # Other files may keep the disk busy for longer than these looks took.
            wait_for(lambda: journal.status().calls > seen[0])
            assert process.is_alive()
            process.kill()
            process.join()
            # Nobody has folded the log into the file: it is read where it lies.
            recorded = sum(line.startswith("recorded") for line in lines(book))
            assert journal.status().calls - recorded in (0, 1)


def test_reader_of_a_closed_journal_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        key = record(journal, 1)
    with Journal(path, read_only=True) as journal:
        assert journal.find(key) == reply(1)
        assert journal.status().calls == 1
        assert [file.name for file in tmp_path.iterdir()] == ["journal.sqlite"]
        # A process that comes later is seen, too.
        with Journal(path) as writer:
            record(writer, 2)
            assert journal.status().calls == 2
        assert journal.status().calls == 2
    assert [file.name for file in tmp_path.iterdir()] == ["journal.sqlite"]


def test_a_journal_is_not_carried_through_a_fork(tmp_path: Path) -> None:
    def child(journal: Journal, said: Path) -> None:
        try:
            journal.find("key")
        except RuntimeError as error:
            said.write_text(str(error))
        journal.close()

    with Journal(tmp_path / "journal.sqlite") as journal:
        with forked(child, journal, tmp_path / "said") as process:
            process.join(60)
        assert "open the journal anew" in (tmp_path / "said").read_text()
        record(journal, 1)
        assert journal.status().calls == 1


@pytest.mark.parametrize("start", [0, 50])
def test_writer_goes_on_where_the_killed_one_stopped(tmp_path: Path, start: int) -> None:
    path, book = tmp_path / "journal.sqlite", tmp_path / "book"
    for _ in range(2):
        before = len(lines(book))
        with forked(write_forever, path, book, start) as process:
            wait_for(lambda before=before: len(lines(book)) > before + 6)
            process.kill()
    recorded = [int(line.split()[1]) for line in lines(book) if line.startswith("recorded")]
    assert recorded[0] == start
    assert len(recorded) == len(set(recorded))


def test_a_file_made_a_journal_while_it_is_looked_at_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.sqlite"
    other = threading.Thread(target=lambda: Journal(path).close())

    class Interrupted(sqlite3.Connection):
        """Lets another open the file between the first look at it and the next."""

        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            if sql == "PRAGMA user_version" and not other.ident:
                other.start()
                other.join(0.5)  # it waits its turn, where it has to
            return super().execute(sql, *parameters)

    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Interrupted))
    with Journal(path) as journal:
        other.join()
        assert journal.status().calls == 0
    integrity(path)
