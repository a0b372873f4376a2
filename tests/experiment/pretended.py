"""Workers that train nothing: they write down a finished run with scores, or fail."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from isograd.common.files import write_json, write_text
from isograd.evaluate import METRICS_FORMAT
from isograd.experiment import running
from isograd.experiment.measure import _digests, resolve_model
from isograd.experiment.pool import Outcome
from isograd.experiment.worker import Job


def pretend(monkeypatch: pytest.MonkeyPatch, *, fail: Collection[str] = ()) -> list[Path]:
    """Replace the workers; returns the list of the run folders that they will have been given.

    Args:
        fail: names of run folders, with their parent's: ``arithmetic/erm-seed0``.
    """
    given: list[Path] = []

    def run(jobs: Sequence[Job], console: Console, *, workers: int) -> list[Outcome]:
        given.extend(job.output for job in jobs)
        return [Outcome(job, 1, "out of luck") if named(job.output) in fail else finish(job) for job in jobs]

    monkeypatch.setattr(running, "run_jobs", run)
    return given


def named(folder: Path) -> str:
    """A run folder with its parent's name."""
    return f"{folder.parent.name}/{folder.name}"


def finish(job: Job) -> Outcome:
    write_text(job.output / "adapter" / "adapter_config.json", "{}")
    known = {"format": 1, "name": job.output.name, "label": job.config.label, "seed": job.config.seed, "seconds": 1.0}
    digest = job.config.digest(resolve_model("builtin"))
    config = job.config.model_dump(mode="json")
    record = {**known, "status": "finished", "error": None, "config": config, "config_hash": digest}
    write_json(job.output / "run.json", record)
    splits = {split: {"n": 8, "accuracy": 0.5} for split in job.splits}
    measured = _digests(job.output, job.splits)
    write_json(job.output / "metrics.json", {"format": METRICS_FORMAT, "splits": splits, "measured": measured})
    return Outcome(job, 0)
