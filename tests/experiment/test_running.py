"""Jobs to their end: reuse, refusal, and the reasons of failures in the run folders."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from isograd.common.errors import UserError
from isograd.common.files import write_json
from isograd.distill.run_config import DataSource, DistillConfig
from isograd.evaluate import METRICS_FORMAT
from isograd.experiment import pool, running
from isograd.experiment.lock import LOCK_FILE
from isograd.experiment.measure import resolve_model
from isograd.experiment.pool import Outcome, run_jobs
from isograd.experiment.running import run_all, slug
from isograd.experiment.worker import STOPPED, Job
from isograd.isomers import create_isomers, save_isomers
from isograd.report.runs import read_run


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    save_isomers(create_isomers(size=2), tmp_path / "train.jsonl")
    save_isomers(create_isomers(size=2, split="id"), tmp_path / "id.jsonl")

    def make(name: str = "ERM", **training: Any) -> Job:
        config = DistillConfig(name=name, data=[DataSource(path=tmp_path / "train.jsonl")], training=training)
        return Job(config=config, output=tmp_path / "runs" / slug(name), splits={"id": tmp_path / "id.jsonl"})

    return make


def record(job: Job, status: str, **more: Any) -> None:
    digest = job.config.digest(resolve_model("builtin"))
    known = {"format": 1, "name": job.output.name, "label": job.config.label, "seed": 0, "status": status}
    write_json(job.output / "run.json", {**known, "error": None, "config_hash": digest, **more})


def ends(monkeypatch: pytest.MonkeyPatch, *statuses: int) -> list[Job]:
    """Workers that only end, each with the given status; returns the list of jobs that they will have been given."""
    given: list[Job] = []

    def ended(jobs: Sequence[Job], console: Console, *, workers: int) -> list[Outcome]:
        given.extend(jobs)
        return [Outcome(job, code, "out of luck" if code else "") for job, code in zip(jobs, statuses, strict=True)]

    monkeypatch.setattr(running, "run_jobs", ended)
    return given


def run(jobs: Sequence[Job], workers: int = 1) -> tuple[int, str]:
    told = io.StringIO()
    status = run_all(jobs, Console(file=told, width=300), workers=workers, output=jobs[0].output.parent)
    return status, told.getvalue()


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("IGA + consistency", "iga-consistency"),
        ("ERM, no cues", "erm-no-cues"),
        ("before training", "before-training"),
        ("../x/tau=0.5", "x-tau-0.5"),
        ("V-REx (β 10)", "v-rex-β-10"),
        ("..", ""),
    ],
)
def test_a_label_as_a_folder(label: str, folder: str) -> None:
    assert slug(label) == folder


def test_a_run_that_left_no_record_gets_one(monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]) -> None:
    job = make_job()
    ends(monkeypatch, -9)
    status, told = run([job])
    assert status == 1
    assert f"{job.output}: failed: out of luck" in told
    kept = read_run(job.output)
    assert (kept.label, kept.status, kept.trouble) == ("ERM", "failed", "failed: out of luck")
    # What the worker needs to go on from it.
    assert json.loads((job.output / "run.json").read_text())["seconds"] == 0.0


def test_a_killed_run_is_a_failed_one_and_keeps_what_it_did(
    monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]
) -> None:
    job = make_job()
    record(job, "running", seconds=7.5)
    ends(monkeypatch, -9)
    assert run([job])[0] == 1
    kept = json.loads((job.output / "run.json").read_text())
    assert (kept["status"], kept["error"], kept["seconds"]) == ("failed", "out of luck", 7.5)


def test_the_runs_own_words_for_its_failure_stay(monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]) -> None:
    job = make_job()
    record(job, "failed", error="ValueError: its own")
    ends(monkeypatch, 1)
    run([job])
    assert read_run(job.output).trouble == "failed: ValueError: its own"


def test_a_run_that_could_not_be_measured_keeps_its_training(
    monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]
) -> None:
    job = make_job()
    record(job, "finished")
    write_json(job.output / "metrics.json", {"format": METRICS_FORMAT, "splits": {}, "measured": {"id": "other files"}})
    ends(monkeypatch, 1)
    run([job])
    kept = read_run(job.output)
    assert kept.status == "finished"
    assert kept.trouble == "incomplete: training finished but there is no metrics.json (out of luck)"
    ends(monkeypatch, 0)
    assert run([job])[0] == 0
    assert read_run(job.output).error is None


def test_an_interrupted_run_is_no_failure(monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]) -> None:
    job = make_job()
    record(job, "running")
    ends(monkeypatch, STOPPED)
    status, told = run([job])
    assert status == STOPPED
    assert "Run the same command again" in told
    assert read_run(job.output).status == "running"


def test_changed_runs_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]
) -> None:
    given = ends(monkeypatch)
    old, new = make_job("ERM"), make_job("IGA", method="iga")
    record(old, "finished")
    before = (old.output / "run.json").read_bytes()
    with pytest.raises(UserError, match="runs/erm: holds a run of another configuration; choose another"):
        run([new, make_job("ERM", max_steps=9)])
    record(new, "finished")
    with pytest.raises(UserError, match=r"configuration \(as do 1 more of 2 folders\)"):
        run([make_job("IGA", method="iga", max_steps=9), make_job("ERM", max_steps=9)])
    assert given == []
    assert (old.output / "run.json").read_bytes() == before


def test_a_failed_run_may_be_mended(monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]) -> None:
    record(make_job("ERM"), "failed")
    mended = make_job("ERM", max_steps=9)
    assert ends(monkeypatch, 0) == []
    assert run([mended])[0] == 0
    (mended.output / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    with pytest.raises(UserError, match="another configuration"):
        run([mended])


def test_no_worker_is_started_for_a_finished_and_measured_run(
    monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]
) -> None:
    from isograd.experiment.measure import _digests

    jobs = [make_job("ERM"), make_job("IGA", method="iga")]
    for job in jobs:
        record(job, "finished")
    write_json(jobs[0].output / "metrics.json", {"measured": _digests(jobs[0].output, jobs[0].splits)})
    given = ends(monkeypatch, 0)
    status, told = run(jobs)
    assert (status, given) == (0, jobs[1:])
    assert "1 of 2 runs were finished before and are reused" in told
    save_isomers(create_isomers(size=3, split="id"), jobs[0].splits["id"])
    given = ends(monkeypatch, 0, 0)
    assert run(jobs)[0] == 0
    assert given == jobs


def test_at_least_one_worker(make_job: Callable[..., Job]) -> None:
    with pytest.raises(UserError, match="workers is 0"):
        run([make_job()], workers=0)


def test_workers_inherit_the_lock_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]
) -> None:
    inherited: list[int] = []

    def popen(_arguments: list[str], *, pass_fds: Sequence[int], **_options: Any) -> Any:
        inherited.extend(os.fstat(file).st_ino for file in pass_fds)
        raise OSError

    monkeypatch.setattr(pool.subprocess, "Popen", popen)
    run([make_job("a")])
    assert inherited == [(tmp_path / "runs" / LOCK_FILE).stat().st_ino]


def test_no_room_for_a_process_fails_that_run_alone(
    monkeypatch: pytest.MonkeyPatch, make_job: Callable[..., Job]
) -> None:
    tries: list[str] = []

    def popen(_arguments: list[str], **_options: Any) -> Any:
        tries.append("another")
        raise OSError(12, f"Cannot allocate memory for try {len(tries)}")

    monkeypatch.setattr(pool.subprocess, "Popen", popen)
    outcomes = run_jobs([make_job("a"), make_job("b")], Console(file=io.StringIO()), workers=1)
    assert [outcome.status for outcome in outcomes] == [1, 1]
    assert "Cannot allocate memory for try 2" in outcomes[1].reason
