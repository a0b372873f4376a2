"""Several processes at one journal, kills and interruptions: no call made twice, the same bytes in the end."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from fault_run import asked_after_recording, fates, finished_calls, run, run_until, teach_command
from rule_teacher import DOMAINS, rule_server, some_sets, write_book

from isograd.isomers import load_isomers
from isograd.isomers.teacher.journal import Journal

CALLS = 1 + len(DOMAINS) * 4


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    book = write_book(
        tmp_path, some_sets(6), shares={"prose": 0.05, "number": 0.05}, stubborn={1: "cycle", 4: "number@law"}
    )
    options = {"faults": {"500": 0.05, "drop": 0.05}, "latency": 0.2}
    with rule_server(tmp_path, book, log="smooth.jsonl", **options) as server:
        assert run(teach_command(book, server, tmp_path / "smooth")).returncode == 0
    with rule_server(tmp_path, book, log="rough.jsonl", **options) as server:
        command = teach_command(book, server, tmp_path / "rough")
        assert run_until(command, tmp_path / "rough", 12) == -signal.SIGKILL
        with Journal(tmp_path / "rough" / "journal.sqlite", read_only=True) as journal:
            assert sum(journal.status().seeds[state] for state in ("waiting", "working")) > 0
        done = run(command)
        assert done.returncode == 0, done.stderr
        assert asked_after_recording(server, tmp_path / "rough") == []
        assert len(server.answered_twice()) <= 8
        assert all(fate.lost == 0 for fate in fates(server, tmp_path / "rough").values())
    for name in ("sets.jsonl", "quarantine.jsonl"):
        assert (tmp_path / "rough" / name).read_bytes() == (tmp_path / "smooth" / name).read_bytes()
    assert len((tmp_path / "rough" / "quarantine.jsonl").read_text().splitlines()) == 2


def test_an_interruption_keeps_what_is_finished(tmp_path: Path) -> None:
    book = write_book(tmp_path, some_sets(6))
    with rule_server(tmp_path, book, latency=0.3) as server:
        command = teach_command(book, server, tmp_path / "run")
        assert run_until(command, tmp_path / "run", 10, signal.SIGINT) == 130
        kept = finished_calls(tmp_path / "run")
        assert 10 <= kept < 6 * CALLS
        with Journal(tmp_path / "run" / "journal.sqlite", read_only=True) as journal:
            assert journal.status().abandoned == 0
        done = run(command)
        assert (done.returncode, done.stderr) == (0, "")
        assert asked_after_recording(server, tmp_path / "run") == []
    assert len(load_isomers(tmp_path / "run" / "sets.jsonl")) == 6


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    book = write_book(tmp_path, some_sets(8))
    with rule_server(tmp_path, book, latency=0.05) as server:
        command = teach_command(book, server, tmp_path / "run", "--concurrency", "2")
        both = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)
        ]
        told = [process.communicate()[1] for process in both]
        assert [process.returncode for process in both] == [0, 0], told
        assert len(server.calls()) == 8 * CALLS
        assert server.answered_twice() == []
    assert [one.id for one in load_isomers(tmp_path / "run" / "sets.jsonl")] == [f"plain/{i:05d}" for i in range(8)]
