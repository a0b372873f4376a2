"""Runs in parallel worker processes, with progress bars; the failure of one loses none of the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from isograd.common.files import write_text
from isograd.experiment.worker import STOPPED, Job

__all__ = ["Outcome", "run_jobs"]


@dataclass(frozen=True)
class Outcome:
    """How a job ended: ``status`` 0 is done, 130 is interrupted, anything else failed for the given reason."""

    job: Job
    status: int
    reason: str = ""


def run_jobs(jobs: Sequence[Job], console: Console, *, workers: int) -> list[Outcome]:
    """Run every job, at most ``workers`` at a time.

    Ctrl-C reaches the workers too (they share the terminal's process group): each finishes and saves its current
    step; jobs that have not begun are left. Running the same jobs again goes on where this one stopped.

    Args:
        jobs: what to run, in this order.
        console: for the progress bars.
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
        width = max(len(_title(job)) for job in jobs)
        tasks = [progress.add_task(f"{_title(job):{width}}", start=False, total=None, state="waiting") for job in jobs]
        futures = [
            pool.submit(_run_worker, job, progress, task, stopping) for job, task in zip(jobs, tasks, strict=True)
        ]
        try:
            return [future.result() for future in futures]
        except KeyboardInterrupt:
            stopping.set()
            console.print("Finishing the current step of each run; start again to resume.")
            return [future.result() for future in futures]


def _title(job: Job) -> str:
    return f"{job.config.label} (seed {job.config.seed})"


def _run_worker(job: Job, progress: Progress, task: TaskID, stopping: threading.Event) -> Outcome:
    if stopping.is_set():
        return Outcome(job, STOPPED)
    job.output.mkdir(parents=True, exist_ok=True)
    job_file = job.output / "job.json"
    write_text(job_file, job.model_dump_json(indent=2) + "\n")
    threads = str(job.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if job.config.model == "builtin":
        environment["HF_HUB_OFFLINE"] = "1"
    progress.start_task(task)
    progress.update(task, state="loading")
    process = subprocess.Popen(
        [sys.executable, "-m", "isograd.experiment.worker", str(job_file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment,
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
            state = message["phase"] if message["loss"] is None else f"train, loss {message['loss']:.3f}"
            progress.update(task, completed=message["done"], total=message["total"], state=state)
    status = process.wait()
    if status == -signal.SIGINT:
        # Struck while the worker was still loading, before it could catch the signal.
        status = STOPPED
    if status and status != STOPPED and not reason:
        reason = _last_line(job.output / "log.txt") or f"worker ended with status {status}"
    done = "done" if status == 0 else "stopped" if status == STOPPED else "failed"
    progress.update(task, state=done)
    progress.stop_task(task)
    return Outcome(job, status, reason)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
    return f"{lines[-1]} (see {log})" if lines else ""
