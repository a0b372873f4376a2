"""Runs in parallel worker processes, with progress bars; the failure of one loses none of the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from isograd.common.files import write_text
from isograd.experiment.eta import TimeLeft
from isograd.experiment.lock import held_locks
from isograd.experiment.worker import STOPPED, Job

__all__ = ["Outcome", "run_jobs"]

_KEEP_MEMORY: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""glibc gives each large tensor back to the system and takes fresh pages for the next: tens of thousands of page faults
in a training step on CPU. Workers keep what they were given once, unless the environment says otherwise."""
_ALL: Final = "all runs"
_MOST_BARS: Final = 20


@dataclass(frozen=True)
class Outcome:
    """How a job ended: ``status`` 0 is done, 130 is interrupted, anything else failed for the given reason."""

    job: Job
    status: int
    reason: str = ""


class _Board:
    """The progress bars of all jobs, and one of the whole with the time left; called from many threads."""

    def __init__(self, progress: Progress, jobs: Sequence[Job]) -> None:
        several = len({job.output.parent for job in jobs}) > 1
        titles = [f"{job.output.parent.name}: {_title(job)}" if several else _title(job) for job in jobs]
        width = max(len(title) for title in (*titles, _ALL))
        self._progress = progress
        self._lock = threading.Lock()
        self._titles = titles
        # Bars of what waits or is done would push those of what runs off the screen.
        self._visible = len(jobs) <= _MOST_BARS
        self._tasks = [
            progress.add_task(f"{title:{width}}", start=False, total=None, state="waiting", visible=self._visible)
            for title in titles
        ]
        self._all = progress.add_task(f"{_ALL:{width}}", total=len(jobs), state="")
        self._left = TimeLeft([job.train for job in jobs])
        self._start = time.monotonic()
        self._ended = 0

    def begin(self, number: int) -> None:
        self._progress.start_task(self._tasks[number])
        self._progress.update(self._tasks[number], state="loading", visible=True)

    def step(self, number: int, message: dict[str, Any]) -> None:
        done, total, phase, loss = (message[key] for key in ("done", "total", "phase", "loss"))
        state = phase if loss is None else f"train, loss {loss:.3f}"
        self._progress.update(self._tasks[number], completed=done, total=total, state=state)
        with self._lock:
            self._left.step(number, phase, done, total)
            self._progress.update(self._all, state=self._eta())

    def end(self, number: int, status: int) -> None:
        state = "done" if status == 0 else "stopped" if status == STOPPED else "failed"
        task = self._tasks[number]
        self._progress.update(task, state=state, visible=self._visible or state == "failed")
        self._progress.stop_task(task)
        with self._lock:
            self._left.end(number, done=status == 0)
            self._ended += 1
            eta = self._eta()
            self._progress.update(self._all, completed=self._ended, state=eta)
            if not self._progress.console.is_terminal:
                # Bars are drawn once where nobody watches; a log should tell what has been done so far.
                line = f"{self._ended} of {len(self._tasks)} runs: {self._titles[number]}: {state}; {eta}"
                self._progress.console.print(line, markup=False, highlight=False)

    def _eta(self) -> str:
        seconds = self._left.seconds(time.monotonic() - self._start)
        return "ETA -" if seconds is None else f"ETA {timedelta(seconds=round(seconds))}"


def run_jobs(jobs: Sequence[Job], console: Console, *, workers: int) -> list[Outcome]:
    """Run every job, at most ``workers`` at a time.

    Ctrl-C reaches the workers too (they share the terminal's process group): each finishes and saves its current
    step; jobs that have not begun are left. Running the same jobs again goes on where this one stopped.

    Args:
        jobs: what to run, in this order; at least one.
        console: for the progress bars: one a job, and one of all with the time left.
        workers: processes at a time.

    Returns:
        One outcome a job, in the order given.
    """
    stopping = threading.Event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(workers) as pool:
        board = _Board(progress, jobs)
        futures = [pool.submit(_run, job, board, number, stopping) for number, job in enumerate(jobs)]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            stopping.set()
            console.print("Finishing the current step of each run; start again to resume.")
            return [future.result() for future in futures]


def _title(job: Job) -> str:
    return f"{job.config.label} (seed {job.config.seed})"


def _run(job: Job, board: _Board, number: int, stopping: threading.Event) -> Outcome:
    try:
        return _run_worker(job, board, number, stopping)
    except (OSError, ValueError) as error:
        # No room for another process or file, or a last line cut short by a kill: the other runs may still do well.
        board.end(number, 1)
        return Outcome(job, 1, f"{type(error).__name__}: {error}")


def _run_worker(job: Job, board: _Board, number: int, stopping: threading.Event) -> Outcome:
    if stopping.is_set():
        return Outcome(job, STOPPED)
    job.output.mkdir(parents=True, exist_ok=True)
    job_file = job.output / "job.json"
    write_text(job_file, job.model_dump_json(indent=2) + "\n")
    threads = str(job.threads)
    environment = {**_KEEP_MEMORY, **os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if job.config.model == "builtin":
        environment["HF_HUB_OFFLINE"] = "1"
    board.begin(number)
    process = subprocess.Popen(
        [sys.executable, "-m", "isograd.experiment.worker", str(job_file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment,
        pass_fds=held_locks(),
        text=True,
    )
    reason = ""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            if message["phase"] == "error":
                reason = message["message"]
                continue
            board.step(number, message)
    status = process.wait()
    if status == -signal.SIGINT:
        # Struck while the worker was still loading, before it could catch the signal.
        status = STOPPED
    if status and status != STOPPED and not reason:
        reason = _last_line(job.output / "log.txt") or f"worker ended with status {status}"
    board.end(number, status)
    return Outcome(job, status, reason)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    return f"{lines[-1]} (see {log})" if lines else ""
