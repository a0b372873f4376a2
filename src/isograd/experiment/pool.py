"""Runs in parallel worker processes, with progress bars; the failure of one loses none of the others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
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
    idle: SimpleQueue[_Worker | None] = SimpleQueue()
    for _ in range(workers):
        idle.put(None)
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(workers) as pool:
        board = _Board(progress, jobs)
        futures = [pool.submit(_run, job, board, number, stopping, idle) for number, job in enumerate(jobs)]
        try:
            outcomes = [future.result() for future in futures]
        except KeyboardInterrupt:
            stopping.set()
            console.print("Finishing the current step of each run; start again to resume.")
            outcomes = [future.result() for future in futures]
    for _ in range(workers):
        if (worker := idle.get()) is not None:
            worker.end()
    return outcomes


def _title(job: Job) -> str:
    return f"{job.config.label} (seed {job.config.seed})"


class _Worker:
    """A process that does jobs one after the other; one thread at a time uses it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._process = subprocess.Popen(
            [sys.executable, "-m", "isograd.experiment.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            pass_fds=held_locks(),
            text=True,
        )

    def do(self, job_file: Path, tell: Callable[[dict[str, Any]], None]) -> int:
        """Returns the job's exit status, or the worker's own where that has ended with the job."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # One that has died meanwhile reads nothing and has said its last.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(str(job_file)) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["phase"] == "ended":
                return int(message["status"])
            tell(message)
        return self._process.wait()

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Let it finish what it does, and wait for it."""
        self._process.communicate()


def _run(
    job: Job, board: _Board, number: int, stopping: threading.Event, workers: SimpleQueue[_Worker | None]
) -> Outcome:
    if stopping.is_set():
        return Outcome(job, STOPPED)
    worker = workers.get()
    try:
        job.output.mkdir(parents=True, exist_ok=True)
        job_file = job.output / "job.json"
        write_text(job_file, job.model_dump_json(indent=2) + "\n")
        environment = _environment(job)
        if worker is not None and not (worker.lives and worker.environment == environment):
            worker.end()
            worker = None
        board.begin(number)
        worker = worker or _Worker(environment)
        outcome = _outcome(job, worker, lambda message: board.step(number, message))
    except (OSError, ValueError) as error:
        # No room for another process or file, or a last line cut short by a kill: the other runs may still do well.
        # The worker may be in the middle of it, and what it says next is not for the next job.
        if worker is not None:
            worker.end()
            worker = None
        outcome = Outcome(job, 1, f"{type(error).__name__}: {error}")
    finally:
        workers.put(worker)
    board.end(number, outcome.status)
    return outcome


def _environment(job: Job) -> dict[str, str]:
    threads = str(job.threads)
    environment = {**_KEEP_MEMORY, **os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if job.config.model == "builtin":
        environment["HF_HUB_OFFLINE"] = "1"
    return environment


def _outcome(job: Job, worker: _Worker, step: Callable[[dict[str, Any]], None]) -> Outcome:
    reasons: list[str] = []

    def tell(message: dict[str, Any]) -> None:
        if message["phase"] == "error":
            reasons.append(message["message"])
        else:
            step(message)

    status = worker.do(job.output / "job.json", tell)
    if status == -signal.SIGINT:
        # Struck while the worker was still loading, before it could catch the signal.
        status = STOPPED
    if status and status != STOPPED and not reasons:
        reasons.append(_last_line(job.output / "log.txt") or f"worker ended with status {status}")
    return Outcome(job, status, "".join(reasons))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    return f"{lines[-1]} (see {log})" if lines else ""
