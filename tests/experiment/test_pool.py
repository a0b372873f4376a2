"""Worker processes: one does many jobs, and what is killed costs its own job only."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from isograd.distill.run_config import DataSource, DistillConfig
from isograd.experiment import pool
from isograd.experiment.pool import Outcome, run_jobs
from isograd.experiment.worker import FORKS, STOPPED, Job
from isograd.isomers import create_isomers, save_isomers

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FORKS, reason="a worker does one job here")]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[psutil.Process]:
    """The workers, as they are started."""
    workers: list[psutil.Process] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> Any:
        process = popen(*arguments, **options)
        workers.append(psutil.Process(process.pid))
        return process

    monkeypatch.setattr(pool.subprocess, "Popen", start)
    return workers


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    save_isomers(create_isomers(size=2, split="id"), tmp_path / "id.jsonl")
    save_isomers(create_isomers(size=8), tmp_path / "train.jsonl")

    def make(name: str, data: str = "train.jsonl", train: bool = True) -> Job:
        settings = {"max_steps": 5000, "per_device_train_batch_size": 8}
        config = DistillConfig(name=name, data=[DataSource(path=tmp_path / data)], training=settings)
        return Job(config=config, output=tmp_path / name, splits={"id": tmp_path / "id.jsonl"}, train=train)

    return make


def run(jobs: Sequence[Job]) -> list[Outcome]:
    return run_jobs(jobs, Console(file=io.StringIO()), workers=1)


def in_time(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 200
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value


def test_one_worker_does_many_jobs_and_a_kill_costs_one(
    started: list[psutil.Process], make_job: Callable[..., Job]
) -> None:
    jobs = [
        make_job("no data", data="missing.jsonl"),
        make_job("base", train=False),
        make_job("killed"),
        make_job("killed with its worker"),
        make_job("no data", data="missing.jsonl"),
    ]

    def running(job: Job) -> psutil.Process:
        """The fork that does it, once it trains."""
        in_time(lambda: (job.output / "run.json").exists())
        (fork,) = started[0].children()
        return fork

    def kill() -> None:
        running(jobs[2]).kill()
        fork = running(jobs[3])
        started[0].kill()
        fork.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = run(jobs)
    killer.join()
    assert [outcome.status for outcome in outcomes] == [2, 0, -signal.SIGKILL, -signal.SIGKILL, 2]
    for outcome in (outcomes[0], outcomes[4]):
        assert "missing.jsonl: No such file" in outcome.reason
    assert json.loads((jobs[1].output / "metrics.json").read_text())["splits"]["id"]["n"] == 8
    assert len(started) == 2
    assert not any(worker.is_running() for worker in started)


def test_an_interruption_while_libraries_are_loaded(
    started: list[psutil.Process], make_job: Callable[..., Job]
) -> None:
    job = make_job("stopped")

    def strike() -> None:
        in_time(lambda: (job.output / "log.txt").exists())
        started[0].send_signal(signal.SIGINT)

    striker = threading.Thread(target=strike)
    striker.start()
    (outcome,) = run([job])
    striker.join()
    assert (outcome.status, outcome.reason) == (STOPPED, "")
    assert not (job.output / "run.json").exists()


def test_a_worker_that_says_what_it_should_not_does_no_other_job(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    class Babbling:
        lives = True

        def __init__(self, environment: dict[str, str]) -> None:
            self.environment = environment

        def do(self, *_: Any) -> int:
            raise ValueError("Expecting value")

        def end(self) -> None:
            ended.append(self)

    monkeypatch.setattr(pool, "_Worker", Babbling)
    outcomes = run([make_job("one"), make_job("two")])
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [(1, "ValueError: Expecting value")] * 2
    assert len({*map(id, ended)}) == 2
