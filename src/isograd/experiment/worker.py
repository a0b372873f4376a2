"""Runs, one after the other, each in a process of its own: ``python -m isograd.experiment.worker``.

Standard input names the job files, a JSON string a line. Progress goes to standard output, one JSON object a line, the
last of each job ``{"phase": "ended", "status": ...}``; everything else that libraries print goes to the log in the
job's folder. Loading the libraries takes longer than many a small run's training, so it is done once, and each job is
a fork of what has been loaded. Where forks are not safe a worker does one job and ends, without the last line.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from pydantic import BaseModel, ConfigDict

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json
from isograd.distill.job import run_distill
from isograd.distill.run_config import DistillConfig
from isograd.experiment.measure import evaluate_run, resolve_model
from isograd.reinforce.job import run_reinforce
from isograd.reinforce.run_config import ReinforceConfig
from isograd.runs.folder import RUN_FORMAT, describe_environment, source_hash

__all__ = ["FORKS", "STOPPED", "Job", "run_job"]

FORKS: Final = sys.platform == "linux"
"""Whether jobs are forks: libraries of other systems may not survive one."""
STOPPED = 130
"""Exit status after an interruption, as shells use for SIGINT."""


class Job(BaseModel):
    """What a worker is to do.

    Attributes:
        config: the run.
        output: its folder.
        splits: evaluation files by split name.
        train: ``False`` measures the untrained student.
        threads: of torch.
    """

    model_config = ConfigDict(extra="forbid")

    config: DistillConfig | ReinforceConfig
    output: Path
    splits: Mapping[str, Path]
    train: bool = True
    threads: int = 1


def run_job(job: Job, report: IO[str]) -> int:
    """Train (or resume) and measure; returns the exit status."""

    def tell(phase: str, done: int, total: int, loss: float | None = None) -> None:
        report.write(json.dumps({"phase": phase, "done": done, "total": total, "loss": loss}) + "\n")
        report.flush()

    if job.train:
        path = resolve_model(job.config.model)

        def trained(done: int, total: int, loss: float | None) -> None:
            tell("train", done, total, loss)

        if isinstance(job.config, ReinforceConfig):
            outcome = run_reinforce(job.config, job.output, model_path=path, progress=trained)
        else:
            outcome = run_distill(job.config, job.output, model_path=path, progress=trained)
        if outcome == "stopped":
            return STOPPED
    else:
        write_json(
            job.output / "run.json",
            {
                "format": RUN_FORMAT,
                "name": job.output.name,
                "label": job.config.label,
                "seed": job.config.seed,
                "status": "finished",
                "base": True,
                "config": job.config.model_dump(mode="json"),
                "config_hash": job.config.digest(resolve_model(job.config.model)),
                **describe_environment(),
            },
        )
    evaluate_run(job.output, job.splits, progress=lambda done, total: tell("evaluate", done, total))
    return 0


def main() -> int:
    """Entry point of a worker process: does what standard input names until it ends."""
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    struck: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: struck.append(number))
    warnings.simplefilter("default")
    for line in sys.stdin:
        job = Job.model_validate(read_json(Path(json.loads(line))))
        _log_to(job.output)
        if not FORKS:
            return _work(job, report)
        _load(job)
        # A Ctrl-C that comes now waits until it is clear whose it is.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        stopped = bool(struck or signal.sigpending() & {signal.SIGINT})
        child = -1 if stopped else os.fork()
        if child == 0:
            return _work(job, report)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        status = STOPPED if stopped else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(BrokenPipeError):
            report.write(json.dumps({"phase": "ended", "status": status}) + "\n")
            report.flush()
    return 0


def _load(job: Job) -> None:
    """Import what the job needs, which takes seconds, before the fork: the next jobs need it too."""
    reinforces = isinstance(job.config, ReinforceConfig)
    # Of what is loaded: files may change before a later fork asks.
    source_hash()
    # What fails here fails in the job again, and is told there.
    with contextlib.suppress(Exception):
        importlib.import_module("isograd.reinforce.trainer" if reinforces else "isograd.distill.trainer")
        importlib.import_module("isograd.evaluate.suite")
    # The forks share all this: no collection of theirs, nor the last one at their end, needs to look through it.
    gc.freeze()


def _work(job: Job, report: IO[str]) -> int:
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if FORKS:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        import torch

        torch.set_num_threads(job.threads)
        return run_job(job, report)
    except UserError as error:
        report.write(json.dumps({"phase": "error", "message": str(error)}) + "\n")
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        # Or the parent has died, while this was measured.
        return STOPPED
    finally:
        # What is told to a parent that has died has no reader.
        with contextlib.suppress(BrokenPipeError):
            report.close()


def _log_to(folder: Path) -> None:
    """Libraries print where they please; their words belong in the log."""
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main())
