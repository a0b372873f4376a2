"""What a journal keeps, counts, merges and refuses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_workers import MODEL, integrity, record, reply, request

from isograd.common.errors import UserError
from isograd.isomers.teacher import journal_decisions, journal_owner, journal_store
from isograd.isomers.teacher.journal import Journal, ReasonCount, SeedRecord, parse_shard, shard
from isograd.isomers.teacher.journal_status import count_status


def sql(path: Path, statement: str, *values: Any) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


def refusal(path: Path, *, read_only: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        Journal(path, read_only=read_only)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "journal.sqlite"


# Calls and claims


def test_order_of_a_call(path: Path) -> None:
    async def run(journal: Journal) -> None:
        key = request(1).key(MODEL)
        assert await journal.obtain(key) is None
        assert record(journal, 1, cost=0.25) == key
        assert await journal.obtain(key) == reply(1)

    with Journal(path) as journal:
        asyncio.run(run(journal))
        assert not journal.claim(request(1).key(MODEL))
        assert journal.status().in_flight == 0
    with Journal(path) as journal:
        assert journal.find(request(1).key(MODEL)) == reply(1)
        assert journal.find("another") is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_tasks_that_want_one_call_make_it_once(path: Path) -> None:
    made = []

    async def want(journal: Journal, key: str) -> None:
        if await journal.obtain(key, poll_seconds=0.001) is None:
            made.append(key)
            await asyncio.sleep(0.02)
            record(journal, 1)

    async def run() -> None:
        with Journal(path) as journal:
            await asyncio.gather(*(want(journal, request(1).key(MODEL)) for _ in range(5)))

    asyncio.run(run())
    assert made == [request(1).key(MODEL)]


def test_release_hands_the_call_on(path: Path) -> None:
    with Journal(path) as journal, Journal(path) as other:
        assert journal.claim("key")
        assert not other.claim("key")
        other.release("key")
        assert not other.claim("key")
        journal.release("key")
        assert other.claim("key")
        other.close()
        other.close()
        assert journal.claim("key")
        with pytest.raises(RuntimeError, match="closed"):
            other.find("key")


@pytest.mark.parametrize(
    ("change", "value", "stands"),
    [
        ("started", "an earlier process of this pid", False),
        ("host", "another machine", True),
        ("since", 0.0, True),
    ],
)
def test_whose_claims_stand(path: Path, change: str, value: object, stands: bool) -> None:
    with Journal(path) as journal, Journal(path) as other:
        assert journal.claim("key")
        sql(path, f"UPDATE claims SET {change} = ?", value)
        assert other.claim("key") is not stands


def test_claims_of_processes_that_cannot_be_seen_grow_old(path: Path) -> None:
    with Journal(path) as journal, Journal(path) as other:
        assert journal.claim("key")
        old = time.time() - journal_owner.FOREIGN_SECONDS - 1
        sql(path, "UPDATE claims SET host = 'another machine', since = ?", old)
        assert other.status().abandoned == 1
        assert other.claim("key")


def test_first_of_two_replies_wins(path: Path) -> None:
    with Journal(path) as journal:
        record(journal, 1)
        asked = request(1)
        late = reply(1, text="too late")
        kept = journal.record(asked.key(MODEL), asked, MODEL, late, seed_id="seed-1", domain="law")
        assert kept == journal.find(asked.key(MODEL)) == reply(1)


def test_processes_are_told_apart_by_their_start() -> None:
    mine = journal_owner._start_of(os.getpid())
    assert mine
    assert mine == journal_owner._start_of(os.getpid())
    assert journal_owner._start_of(2**22 + 1) is None
    if shutil.which("ps"):
        assert journal_owner._start_from_ps(os.getpid()) == journal_owner._start_from_ps(os.getpid())
        assert journal_owner._start_from_ps(os.getpid())
        assert journal_owner._start_from_ps(2**22 + 1) is None


def test_threads_share_a_journal(path: Path) -> None:
    with Journal(path) as journal:
        threads = [
            threading.Thread(target=lambda first=first: [record(journal, first + n) for n in range(10)])
            for first in (0, 100, 200)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert journal.status().calls == 30
    integrity(path)


# Seeds, decisions, status


def test_seeds(path: Path) -> None:
    seeds = [SeedRecord(f"s{n}", n, {"question": f"Q{n}", "n": n}) for n in (2, 0, 1)]
    with Journal(path) as journal:
        assert journal.seeds.add(seeds) == 3
        assert journal.seeds.add(seeds) == 0
        assert [seed.id for seed in journal.seeds.records()] == ["s0", "s1", "s2"]
        journal.seeds.start("s0")
        journal.seeds.finish("s1", "verified", result={"id": "set-1"})
        journal.seeds.finish("s2", "quarantined", reasons=["overlap", "answers_differ"])
        journal.seeds.start("s2")
        assert [seed.id for seed in journal.seeds.records("waiting", "working")] == ["s0"]
        found = journal.seeds.get("s2")
        assert found is not None
        assert (found.state, found.reasons, found.source) == (
            "quarantined",
            ("overlap", "answers_differ"),
            {"question": "Q2", "n": 2},
        )
        assert journal.seeds.get("s1").result == {"id": "set-1"}  # type: ignore[union-attr]
        assert journal.seeds.get("s3") is None
        assert journal.status().seeds == {"waiting": 0, "working": 1, "verified": 1, "quarantined": 1}
        with pytest.raises(UserError, match="another text"):
            journal.seeds.add([SeedRecord("s9", 9, 1), SeedRecord("s0", 0, "other")])
        assert journal.seeds.get("s9") is None
        for act in (journal.seeds.start, lambda name: journal.seeds.finish(name, "verified")):
            with pytest.raises(UserError, match="no seed 's3'"):
                act("s3")
        with pytest.raises(ValueError, match="must be one of"):
            journal.seeds.finish("s0", "waiting")  # type: ignore[arg-type]


def test_newest_decision_counts_though_the_clock_is_set_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        journal.decisions.add("a", "h1", "accept", reviewer="Ada")
        journal.decisions.add("b", "h2", "reject", content="a remark", reviewer="Ada")
        monkeypatch.setattr(journal_decisions, "time", SimpleNamespace(time=lambda: 1.0))
        edit = journal.decisions.add("a", "h1", "edit", content={"problem": "new"}, reviewer="Bob")
        newest = journal.decisions.newest()
        assert newest["a"] == edit
        assert (newest["b"].verdict, newest["b"].content, newest["b"].set_hash) == ("reject", "a remark", "h2")
        assert len(journal.decisions.history()) == 3
        assert journal.status().decisions == {"accept": 0, "reject": 1, "edit": 1}
        with pytest.raises(ValueError, match="needs the edited set"):
            journal.decisions.add("a", "h1", "edit")
        with pytest.raises(ValueError, match="must be one of"):
            journal.decisions.add("a", "h1", "maybe")  # type: ignore[arg-type]


def test_status_of_a_new_journal(path: Path) -> None:
    with Journal(path) as journal:
        status = journal.status()
    assert (status.calls, status.cost, status.calls_per_minute, status.eta_seconds) == (0, None, 0.0, None)
    assert (status.stages, status.reasons, status.configuration) == ((), (), None)
    assert set(status.seeds.values()) == set(status.decisions.values()) == {0}


def test_status_counts(path: Path) -> None:
    with Journal(path) as journal:
        journal.configure("c0ffee")
        journal.seeds.add(SeedRecord(f"seed-{n}", n, n) for n in range(6))
        # Twelve calls in two minutes, each of half a second; ten of them served the two finished seeds.
        for n in range(12):
            record(journal, n, seed_id=f"seed-{n % 2 if n < 10 else 2}", domain="law" if n % 2 else "", cost=0.5)
        sql(path, "UPDATE calls SET finished_at = 1000.5 + 10 * (rowid - 1)")
        journal.seeds.finish("seed-0", "verified")
        journal.seeds.finish("seed-1", "quarantined", reasons=["overlap"])
        journal.seeds.start("seed-2")
        assert journal.claim("in flight", stage="transpose", domain="law")
        journal.seeds.note("seed-0", "abstract", "", passed=True)
        journal.seeds.note("seed-1", "verify", "law", passed=False, reasons=["span"])
        journal.seeds.note("seed-1", "verify", "law", passed=False, reasons=["overlap", "span"])
        journal.seeds.note("seed-1", "verify", "law", passed=False, reasons=["overlap"], attempt=1)
        journal.seeds.note("seed-1", "verify", "law", passed=True, attempt=2)
        status = journal._store.read(lambda db: count_status(db, 1120.0))
        early = journal._store.read(lambda db: count_status(db, 1060.0))
        late = journal._store.read(lambda db: count_status(db, 9999.0))
    assert status.configuration == "c0ffee"
    assert [(stage.stage, stage.domain) for stage in status.stages] == [
        ("abstract", ""),
        ("abstract", "law"),
        ("verify", "law"),
        ("transpose", "law"),
    ]
    abstract, _, verify, transpose = status.stages
    assert (abstract.calls, abstract.passed, abstract.pass_rate, abstract.cost) == (6, 1, 1.0, 3.0)
    assert (verify.calls, verify.passed, verify.failed, verify.cost) == (0, 1, 2, None)
    assert verify.pass_rate == pytest.approx(1 / 3)
    assert (transpose.in_flight, transpose.pass_rate) == (1, None)
    assert status.reasons == (ReasonCount("verify", "overlap", 2), ReasonCount("verify", "span", 1))
    assert (status.calls, status.in_flight, status.abandoned) == (12, 1, 0)
    assert (status.prompt_tokens, status.completion_tokens, status.cost) == (120, 36, 6.0)
    assert status.calls_per_minute == pytest.approx(6.0)
    # Four seeds are left, of five calls each; two calls of them are made.
    assert status.eta_seconds == pytest.approx((4 * 5 - 2) / 6.0 * 60.0)
    assert early.calls_per_minute == pytest.approx(6.0)
    assert (late.calls_per_minute, late.eta_seconds) == (0.0, None)


# Files that are no journals, and files that fail


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none", read_only=True)
    assert "a folder" in refusal(tmp_path)
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal(tmp_path / "file" / "journal.sqlite")
    assert "empty" in refusal(tmp_path / "file", read_only=True)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    with Journal(tmp_path / "file") as journal:
        record(journal, 1)


@pytest.mark.parametrize("read_only", [False, True])
def test_files_that_are_no_journals(tmp_path: Path, read_only: bool) -> None:
    text, foreign = tmp_path / "text", tmp_path / "foreign"
    text.write_text("Not a database. " * 1000)
    sql(foreign, "CREATE TABLE calls (key TEXT)")
    for file, fault in ((text, "not a journal"), (foreign, "not a journal of isograd")):
        before = file.read_bytes()
        assert fault in refusal(file, read_only=read_only)
        assert file.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(("found", "mend"), [(99, "upgrade isograd"), (0, "name a new file")])
def test_other_formats(path: Path, found: int, mend: str, read_only: bool) -> None:
    Journal(path).close()
    sql(path, f"PRAGMA user_version = {found}")
    assert mend in refusal(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_damaged_files(path: Path, damage: str, read_only: bool) -> None:
    with Journal(path) as journal:
        for number in range(50):
            record(journal, number)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else data[:4096] + b"\xa5" * (len(data) - 4096))

    def use() -> None:
        with Journal(path, read_only=read_only) as journal:
            journal.status()
            for number in range(50):
                assert journal.find(request(number).key(MODEL)) == reply(number)

    with pytest.raises(UserError, match="damaged") as caught:
        use()
    assert "\n" not in str(caught.value)


def test_full_disk_loses_nothing(path: Path) -> None:
    with Journal(path) as journal:
        done = [record(journal, number) for number in range(7)]
        db = journal._store._db
        assert db is not None
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 2}")
        assert journal.claim(request(13).key(MODEL))
        last = 13

        def fill() -> None:
            nonlocal last
            for last in range(13, 100):
                done.append(record(journal, last))

        with pytest.raises(UserError, match="disk is full; free some space"):
            fill()
        for number, key in zip([*range(7), *range(13, last)], done, strict=True):
            assert journal.find(key) == reply(number)
        assert journal.find(request(last).key(MODEL)) is None
        # Its claim stands, and recording is tried again once there is room.
        db.execute("PRAGMA max_page_count = 1000000")
        record(journal, last)
    integrity(path)
    with Journal(path, read_only=True) as journal:
        assert journal.status().calls == len(done) + 1


def test_what_is_recorded_is_synced(path: Path) -> None:
    with Journal(path) as journal:
        db = journal._store._db
        assert db is not None
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_file_locked_for_too_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_store, "BUSY_SECONDS", 0.05)
    with Journal(path) as journal, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="locked by another process"):
            record(journal, 1)
        assert journal.status().calls == 0
        other.execute("ROLLBACK")
        record(journal, 1)


def test_damaged_reply(path: Path) -> None:
    with Journal(path) as journal:
        for number, damage in enumerate(('{"text": ', "[]", '{"text": "a"}')):
            key = record(journal, number)
            sql(path, "UPDATE calls SET reply = ? WHERE key = ?", damage, key)
            with pytest.raises(UserError, match=f"reply of call {key} is damaged"):
                journal.find(key)


def test_absurd_token_counts(path: Path) -> None:
    with Journal(path) as journal:
        for number in range(3):
            key = record(journal, number, reply=reply(number, prompt_tokens=10**30))
        found = journal.find(key)
        assert found is not None
        assert found.prompt_tokens == 10**30
        assert journal.status().prompt_tokens == 3 * 10**12


def test_removed_while_in_use(path: Path) -> None:
    with Journal(path) as journal:
        path.rename(path.with_name("moved"))
        with pytest.raises(UserError, match="moved or removed"):
            record(journal, 1)
        path.with_name("moved").rename(path)
        record(journal, 1)


def test_read_only_writes_nothing(path: Path) -> None:
    Journal(path).close()
    with Journal(path, read_only=True) as journal:
        for write in (
            lambda: journal.claim("key"),
            lambda: record(journal, 1),
            lambda: journal.release("key"),
            lambda: journal.configure("c"),
            lambda: journal.seeds.add([]),
            lambda: journal.decisions.add("a", "h", "accept"),
            lambda: journal.merge([path.with_name("other")]),
        ):
            with pytest.raises(UserError, match="reading only"):
                write()


def test_configuration(path: Path) -> None:
    with Journal(path) as journal:
        journal.configure("one")
        journal.configure("one")
        with pytest.raises(UserError, match="another configuration"):
            journal.configure("two")
        assert journal.status().configuration == "one"


# Shards and merging


def test_shards_share_out_all_seeds() -> None:
    names = [f"seed-{n}" for n in range(3000)]
    shares = [[name for name in names if shard(name, i, 3)] for i in (1, 2, 3)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(900 < len(share) < 1100 for share in shares)
    # Other machines, and later versions, must agree.
    assert shares[0][:4] == ["seed-0", "seed-6", "seed-10", "seed-11"]
    assert parse_shard(" 2/3 ") == (2, 3)
    for text in ("0/3", "4/3", "1", "a/b", "1/0", "-1/3", "١/٣"):
        with pytest.raises(UserError, match="write it as i/n"):
            parse_shard(text)
    with pytest.raises(UserError, match="first number"):
        shard("seed", 0, 3)


def test_merge(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.sqlite" for n in range(3)]
    for n, path in enumerate(paths[:2]):
        with Journal(path) as journal:
            journal.configure("c")
            journal.seeds.add(SeedRecord(f"seed-{i}", i, i) for i in range(4))
            for call in (n, n + 10, 20):
                record(journal, call)
            record(journal, 30, reply=reply(30, seconds=n + 1.0))
            record(journal, 40, reply=reply(40, text=f"opinion {n}"))
            journal.seeds.start("seed-3")
            journal.seeds.finish(f"seed-{n}", "verified", result=n)
            journal.seeds.finish("seed-2", "quarantined", reasons=[f"reason-{n}"])
            journal.seeds.note(f"seed-{n}", "verify", "law", passed=True)
            journal.decisions.add(f"set-{n}", "h", "accept", reviewer="Ada")
            assert journal.claim("unfinished")
            # Left behind by a process that died.
            journal._store.close()
    with Journal(paths[2]) as journal:
        first, second = journal.merge(paths[:1]), journal.merge(paths[1:2])
        assert (first.calls, first.repeated, first.different, first.seeds, first.decisions) == (5, 0, (), 4, 1)
        assert (second.calls, second.repeated, second.seeds, second.decisions) == (2, 2, 1, 1)
        assert second.different == (request(40).key(MODEL),)
        assert second.different_seeds == ("seed-2",)
        assert "1 calls had another reply here, which was kept" in str(first + second)
        assert journal.find(request(40).key(MODEL)) == reply(40, text="opinion 0")
        assert journal.find(request(11).key(MODEL)) == reply(11)
        status = journal.status()
        assert (status.calls, status.configuration, status.abandoned) == (7, "c", 0)
        assert status.seeds == {"waiting": 0, "working": 1, "verified": 2, "quarantined": 1}
        assert status.stages[-1].passed == 2
        assert set(journal.decisions.newest()) == {"set-0", "set-1"}
        again = journal.merge(paths[:2])
        assert (again.files, again.calls, again.seeds, again.decisions) == (2, 0, 0, 0)
    integrity(paths[2])


def test_merges_that_are_refused(tmp_path: Path) -> None:
    mine, other, strange, older = (tmp_path / name for name in ("mine", "other", "strange", "older"))
    for path, configuration, source in ((mine, "a", 0), (other, "b", 0), (strange, "a", 1), (older, "a", 0)):
        with Journal(path) as journal:
            journal.configure(configuration)
            record(journal, 1 if path == mine else 2)
            journal.seeds.add([SeedRecord("seed", 0, source)])
    sql(older, "PRAGMA user_version = 99")
    with Journal(mine) as journal:
        for path, fault in (
            (other, "another configuration"),
            (strange, "another text"),
            (older, "upgrade"),
            (tmp_path / "none", "no such file"),
            (mine, "into itself"),
        ):
            with pytest.raises(UserError, match=fault) as caught:
                journal.merge([path])
            assert str(caught.value).startswith(str(path))
            assert journal.status().calls == 1


# Any text

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    with Journal(tmp_path_factory.mktemp("any") / "journal.sqlite") as journal:
        yield journal


@given(text=ANY_TEXT, reasoning=st.none() | ANY_TEXT, name=ANY_TEXT, value=ANY_JSON)
def test_any_text_comes_back(shared: Journal, text: str, reasoning: str | None, name: str, value: Any) -> None:
    said, asked = reply(1, text=text, reasoning=reasoning), request(1, text)
    key = f"{asked.key(MODEL)} {name} {time.time_ns()}"
    shared.record(key, asked, name, said, seed_id=name, domain=name)
    shared.seeds.add([SeedRecord(key, 1, value)])
    shared.seeds.finish(key, "quarantined", result=value, reasons=[name])
    shared.decisions.add(key, name, "edit", content=[value], reviewer=name)
    with Journal(shared.path, read_only=True) as journal:
        assert journal.find(key) == said
        found = journal.seeds.get(key)
        assert found is not None
        assert (found.source, found.result, found.reasons) == (value, value, (name,))
        decision = journal.decisions.newest()[key]
        assert (decision.content, decision.reviewer, decision.set_hash) == ([value], name, name)


@pytest.mark.parametrize("text", ["\ud800", "before \udfff after", "\ude00\ud83d"])
def test_half_characters_are_refused(path: Path, text: str) -> None:
    with Journal(path) as journal:
        asked = request(1)
        assert journal.claim(asked.key(MODEL))
        for write in (
            lambda: journal.record(asked.key(MODEL), asked, MODEL, reply(1, text=text), seed_id="s", domain=""),
            lambda: journal.record(asked.key(MODEL), asked, MODEL, reply(1), seed_id=text, domain=""),
            lambda: journal.seeds.add([SeedRecord("s", 1, {"question": text})]),
            lambda: journal.decisions.add("a", "h", "reject", content=text),
        ):
            with pytest.raises(UserError, match=r"half a character \(lone surrogate U\+D[0-9A-F]{3}\)") as caught:
                write()
            str(caught.value).encode()
        assert journal.find(asked.key(MODEL)) is None
        record(journal, 1)
