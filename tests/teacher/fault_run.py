"""Runs of ``isograd isomers teach`` against the rule-based teacher: commands, kills, and what became of the faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from sqlite3 import connect

from chat_server import Running, call_name
from rule_teacher import DOMAINS, Book

from isograd.isomers.teacher.journal import Journal
from isograd.isomers.teacher.messages import Message, Request
from isograd.isomers.teacher.wire import Dialect

FIELDS = "problem=problem,answer=answer,id=id"


def teach_command(book: Book, server: Running, folder: Path, *options: str) -> list[str]:
    """The command that makes sets of a book's seeds; options given here win over the usual ones."""
    usual = {"--solutions": "1", "--timeout": "60", "--concurrency": "8", "--domains": ",".join(DOMAINS)}
    own = dict(zip(options[::2], options[1::2], strict=True))
    told = [part for pair in (usual | own).items() for part in pair]
    command = [sys.executable, "-m", "isograd", "isomers", "teach", str(book.seeds), "--output", str(folder)]
    return [*command, "--model", "teacher", "--base-url", server.url, "--fields", FIELDS, *told]


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def finished_calls(folder: Path) -> int:
    """Calls in a run's journal; 0 before there is one."""
    path = folder / "journal.sqlite"
    if not path.exists():
        return 0
    try:
        with closing(connect(f"file:{path}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT COUNT(*) FROM calls").fetchone()[0])
    except Exception:  # it is being made
        return 0


def run_until(command: Sequence[str], folder: Path, calls: int, number: int = signal.SIGKILL) -> int:
    """Start a command and send it a signal once the journal has so many calls; its exit status."""
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell in the background lets its children ignore interruptions.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        while process.poll() is None and finished_calls(folder) < calls:
            time.sleep(0.05)
        if process.poll() is None:
            os.kill(process.pid, number)
        process.communicate()
        return process.returncode


@dataclass(frozen=True)
class Fate:
    """What became of one kind of fault: how often it was met, and how often the run got over it."""

    injected: int
    survived: int

    @property
    def lost(self) -> int:
        """How often it did not."""
        return self.injected - self.survived


def fates(server: Running, folder: Path) -> dict[str, Fate]:
    """The fault table. A fault is got over if its call is recorded in the end, and its seed verified or quarantined
    with a reason."""
    seeds = calls_by_name(folder)
    with Journal(folder / "journal.sqlite", read_only=True) as journal:
        ended = {
            record.id
            for record in journal.seeds.records("verified", "quarantined")
            if record.state == "verified" or record.reasons
        }
    met = [(event["fault"], event["call"]) for event in server.calls() if event["fault"]]
    met += [(event["content_fault"], event["call"]) for event in server.events("answered") if event["content_fault"]]
    injected = Counter(fault for fault, _ in met)
    survived = Counter(fault for fault, call in met if call in seeds and seeds[call][0] in ended)
    return {fault: Fate(number, survived[fault]) for fault, number in sorted(injected.items())}


@cache
def calls_by_name(folder: Path) -> dict[str, tuple[str, float]]:
    """Seed and time of recording of each call in a finished run's journal, by the server's name of the call."""
    found = {}
    with closing(connect(folder / "journal.sqlite")) as db:
        for seed_id, finished, text in db.execute("SELECT seed_id, finished_at, request FROM calls"):
            fields = json.loads(text)
            messages = tuple(Message(**message) for message in fields.pop("messages"))
            body = Dialect().body(Request(messages=messages, **fields), "teacher", 0)
            found[call_name(body)] = (seed_id, finished)
    return found


def asked_after_recording(server: Running, folder: Path) -> list[str]:
    """The calls that were sent although their reply had been recorded."""
    recorded = calls_by_name(folder)
    return [
        event["call"]
        for event in server.calls()
        if event["call"] in recorded and event["time"] > recorded[event["call"]][1]
    ]


def table(found: dict[str, Fate]) -> str:
    """The fault table as text."""
    lines = [f"{'fault':<12}{'injected':>9}{'survived':>9}{'lost':>6}"]
    lines += [f"{name:<12}{fate.injected:>9}{fate.survived:>9}{fate.lost:>6}" for name, fate in found.items()]
    sums = [sum(getattr(fate, name) for fate in found.values()) for name in ("injected", "survived", "lost")]
    return "\n".join([*lines, f"{'all':<12}{sums[0]:>9}{sums[1]:>9}{sums[2]:>6}"])
