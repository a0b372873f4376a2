"""One run in a process of its own: ``python -m isograd.experiment.worker JOB.json``.

Progress goes to standard output, one JSON object a line; everything else that libraries print goes to the run
folder's ``log.txt``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json
from isograd.distill.job import run_distill
from isograd.distill.run_config import DistillConfig
from isograd.experiment.measure import evaluate_run, resolve_model
from isograd.reinforce.job import run_reinforce
from isograd.reinforce.run_config import ReinforceConfig
from isograd.runs.folder import RUN_FORMAT, describe_environment

__all__ = ["STOPPED", "Job", "run_job"]

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
        try:
            report.write(json.dumps({"phase": phase, "done": done, "total": total, "loss": loss}) + "\n")
            report.flush()
        except BrokenPipeError:
            # The parent has died: stop as if it had been told to, and leave the run to be resumed.
            raise KeyboardInterrupt from None

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
    """Entry point of a worker process."""
    job = Job.model_validate(read_json(Path(sys.argv[1])))
    job.output.mkdir(parents=True, exist_ok=True)
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with (job.output / "log.txt").open("a", encoding="utf-8") as log:
        # Libraries print where they please; their words belong in the log, and standard output to the progress.
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        warnings.simplefilter("default")
        try:
            import torch

            torch.set_num_threads(job.threads)
            return run_job(job, report)
        except UserError as error:
            report.write(json.dumps({"phase": "error", "message": str(error)}) + "\n")
            return 2
        except KeyboardInterrupt:
            return STOPPED
        finally:
            # What is told to a parent that has died has no reader.
            with contextlib.suppress(BrokenPipeError):
                report.close()


if __name__ == "__main__":
    sys.exit(main())
