"""Jobs to their end, for every experiment: what is refused beforehand, and what is told and kept of failures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json
from isograd.experiment.lock import output_lock
from isograd.experiment.measure import is_measured, resolve_model
from isograd.experiment.pool import Outcome, run_jobs
from isograd.experiment.worker import STOPPED, Job
from isograd.runs.folder import RUN_FORMAT, has_trained

__all__ = ["check_labels", "cores", "is_trained", "keep_not_started", "run_all", "slug", "worker_count"]


def worker_count(asked: int | None, configured: int | None) -> int:
    """Runs at a time: what was asked for, else what the configuration says, and never more than there are cores.

    Raises:
        UserError: less than one was asked for.
    """
    if asked is not None and asked < 1:
        raise UserError(f"workers is {asked}; it must be at least 1")
    return min(asked or configured or cores(), cores())


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slug(label: str) -> str:
    """A label as part of a folder's name: lower case, ``-`` for all that is not a letter, a digit, ``.`` or ``_``."""
    return re.sub(r"[^\w.]+", "-", label.lower()).strip("-.")


def check_labels(labels: Iterable[str], path: Path) -> None:
    """Refuse labels that would share a folder; ``path`` names the configuration.

    Raises:
        UserError: two labels are too alike, or one has neither letter nor digit.
    """
    folders: dict[str, str] = {}
    for label in labels:
        folder = slug(label)
        if not folder or folder in folders:
            why = f"too like {folders[folder]!r}" if folder else "needs a letter or digit"
            raise UserError(f"{path}: methods.{label}: {why}")
        folders[folder] = label


def run_all(jobs: Sequence[Job], console: Console, *, workers: int, output: Path) -> int:
    """Run every job, tell of failures, and keep their reasons in the run folders.

    Args:
        jobs: what to run. Finished runs of the same configuration are reused, unfinished ones resumed, failed ones
            tried again.
        console: for the progress bars and the failures.
        workers: processes at a time.
        output: where all of it lies; no other process runs anything there meanwhile.

    Returns:
        0, or 1 if a run failed, or 130 after an interruption.

    Raises:
        UserError: ``workers`` is not positive, a data file cannot be read, a folder holds a run of another
            configuration, or another process is at work in ``output``; nothing has been started then.
    """
    if workers < 1:
        raise UserError(f"workers is {workers}; it must be at least 1")
    with output_lock(output):
        digests = [_digest(job) for job in jobs]
        _refuse_changed(jobs, digests)
        # A worker takes seconds to load before it can tell that nothing is left to do.
        waiting = [job for job, digest in zip(jobs, digests, strict=True) if not _is_done(job, digest)]
        if len(waiting) < len(jobs):
            console.print(f"{len(jobs) - len(waiting)} of {len(jobs)} runs were finished before and are reused.")
        outcomes = run_jobs(waiting, console, workers=workers) if waiting else []
        by_folder = {job.output: digest for job, digest in zip(jobs, digests, strict=True)}
        for outcome in outcomes:
            if outcome.status != STOPPED:
                _keep_reason(outcome, by_folder[outcome.job.output])
    if any(outcome.status == STOPPED for outcome in outcomes):
        console.print(f"Stopped. Run the same command again to go on: finished work is kept in {output}.")
        return STOPPED
    failed = [outcome for outcome in outcomes if outcome.status]
    for outcome in failed:
        console.print(f"{outcome.job.output}: failed: {outcome.reason}", markup=False, style="red")
    return 1 if failed else 0


def is_trained(job: Job) -> bool:
    """Whether its folder holds a finished run of its configuration, from which others can go on."""
    record = _record(job.output)
    return record is not None and record.get("status") == "finished" and record.get("config_hash") == _digest(job)


def keep_not_started(job: Job, reason: str) -> None:
    """Write into a run's folder why it could not be started; what it had done before stays, to be gone on with."""
    record = _record(job.output)
    if record is None or not has_trained(job.output, record):
        # What it would have started from is not there to be hashed.
        record = _new_record(job, "")
    if record["status"] != "finished":
        write_json(job.output / "run.json", {**record, "status": "failed", "error": reason})


def _digest(job: Job) -> str:
    return job.config.digest(resolve_model(job.config.model))


def _is_done(job: Job, digest: str) -> bool:
    record = _record(job.output)
    if record is None or record.get("config_hash") != digest:
        return False
    return record.get("status") == "finished" and not record.get("error") and is_measured(job.output, job.splits)


def _refuse_changed(jobs: Sequence[Job], digests: Sequence[str]) -> None:
    """Refuse before anything is started what each worker would refuse: hours of work may hang on it."""
    changed = [job.output for job, digest in zip(jobs, digests, strict=True) if _holds_another(job.output, digest)]
    if changed:
        many = f" (as do {len(changed) - 1} more of {len(jobs)} folders)" if len(changed) > 1 else ""
        raise UserError(
            f"{changed[0]}: holds a run of another configuration{many}; choose another output folder or delete this one"
        )


def _holds_another(output: Path, digest: str) -> bool:
    record = _record(output)
    if record is None or record.get("config_hash") == digest:
        return False
    return has_trained(output, record)


def _keep_reason(outcome: Outcome, digest: str) -> None:
    """Write the end of a run into its folder where the run could not: it was killed, or failed while measured."""
    job, file = outcome.job, outcome.job.output / "run.json"
    record = _record(job.output)
    if record is None:
        record = _new_record(job, digest)
    if record.get("config_hash") != digest:
        return
    if outcome.status == 0:
        if record.get("error"):
            write_json(file, {**record, "error": None})
    elif record["status"] == "finished":
        # Trained, but not measured: what was measured before was measured on other files.
        (job.output / "metrics.json").unlink(missing_ok=True)
        write_json(file, {**record, "error": outcome.reason})
    elif record["status"] == "running":
        write_json(file, {**record, "status": "failed", "error": outcome.reason})


def _new_record(job: Job, digest: str) -> dict[str, Any]:
    return {
        "format": RUN_FORMAT,
        "name": job.output.name,
        "label": job.config.label,
        "seed": job.config.seed,
        "status": "running",
        "config": job.config.model_dump(mode="json"),
        "config_hash": digest,
        "steps": 0,
        "seconds": 0.0,
    }


def _record(output: Path) -> dict[str, Any] | None:
    file = output / "run.json"
    record: dict[str, Any] | None = read_json(file) if file.is_file() else None
    return record
