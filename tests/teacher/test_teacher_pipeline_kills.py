"""A thousand seeds, every kind of fault, three kills: nothing lost, nothing asked twice, the same bytes in the end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from fault_run import asked_after_recording, fates, finished_calls, run, run_until, table, teach_command
from rule_teacher import MISREAD, MISTOLD, SPOILED, rule_server, some_sets, write_book

from isograd.common.seeding import named_random
from isograd.isomers import load_isomers
from isograd.isomers.teacher.journal import Journal

SEEDS = 1001
CONCURRENCY = 8
KILLS = 3

# Of the tries of each call; with the shares of spoiled contents, a fifth.
TRANSPORT = {
    "429": 0.01,
    "429-date": 0.005,
    "500": 0.02,
    "503": 0.01,
    "529": 0.005,
    "drop": 0.02,
    "close": 0.02,
    "html": 0.01,
    "broken-json": 0.01,
    "no-choices": 0.01,
    "error-200": 0.01,
    "drip": 0.0005,
}
CONTENT = dict.fromkeys(SPOILED, 0.006) | dict.fromkeys(MISREAD, 0.01) | dict.fromkeys(MISTOLD, 0.006)
STUBBORN = {3: "cycle", 40: "refusal", 41: "truncated", 77: "number", 200: "null", 512: "schema", 700: "step"}


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_thousand_seeds_faults_and_kills(tmp_path: Path) -> None:
    sets = some_sets(SEEDS, mixed=False)
    book = write_book(tmp_path, sets, shares=CONTENT, stubborn=STUBBORN)
    options = ("--concurrency", str(CONCURRENCY), "--timeout", "5", "--retries", "20", "--solutions", "0")

    # The same teacher, wrong in the same answers, on a server without a fault.
    smooth = tmp_path / "smooth"
    with rule_server(tmp_path, book, log="smooth.jsonl", brief=1) as server:
        done = run(teach_command(book, server, smooth, *options))
        assert done.returncode == 0, done.stderr

    rough = tmp_path / "rough"
    moments = sorted(named_random("test", "kills", 0).sample(range(200, finished_calls(smooth) - 500), KILLS))
    with rule_server(tmp_path, book, log="rough.jsonl", faults=TRANSPORT, retry_after=0.02, brief=1, seed=5) as server:
        command = teach_command(book, server, rough, *options)
        assert [run_until(command, rough, moment) for moment in moments] == [-signal.SIGKILL] * KILLS
        done = run(command)
        assert done.returncode == 0, done.stderr
        found = fates(server, rough)
        again = asked_after_recording(server, rough)
        twice = server.answered_twice()
        tries = len(server.calls())

    print(f"{finished_calls(rough)} calls, {tries} tries, kills after {moments} calls, {len(twice)} answered twice")
    print(table(found))
    assert (rough / "sets.jsonl").read_bytes() == (smooth / "sets.jsonl").read_bytes()
    assert (rough / "quarantine.jsonl").read_bytes() == (smooth / "quarantine.jsonl").read_bytes()
    assert finished_calls(rough) == finished_calls(smooth)
    assert again == []
    # What was under way when it was killed is all that may have been answered in vain.
    assert len(twice) <= KILLS * CONCURRENCY
    assert {name: fate.lost for name, fate in found.items() if fate.lost} == {}
    assert set(found) >= {*TRANSPORT, *CONTENT}
    injected = sum(fate.injected for fate in found.values())
    assert 0.15 < injected / tries < 0.25
    with Journal(rough / "journal.sqlite", read_only=True) as journal:
        ended = {record.id: record for record in journal.seeds.records()}
    assert len(ended) == SEEDS
    assert {record.state for record in ended.values()} == {"verified", "quarantined"}
    assert all(bool(record.reasons) == (record.state == "quarantined") for record in ended.values())
    stubborn = {f"plain/{number:05d}" for number in STUBBORN}
    quarantined = {name for name, record in ended.items() if record.state == "quarantined"}
    assert stubborn <= quarantined
    assert len(load_isomers(rough / "sets.jsonl")) == SEEDS - len(quarantined)
    # Nobody is quarantined for what the server did, and few for what the teacher says at random.
    assert len(quarantined - stubborn) < 0.02 * SEEDS
