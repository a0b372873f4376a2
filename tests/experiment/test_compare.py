"""Comparisons end to end: shared data, failures that stay, resuming after a kill."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from rich.console import Console

from isograd.common.errors import UserError
from isograd.experiment import running
from isograd.experiment.compare import planned_runs, run_compare
from isograd.experiment.compare_config import CompareConfig, load_compare
from isograd.experiment.pool import Outcome
from isograd.experiment.worker import STOPPED, Job
from isograd.isomers import create_isomers, load_isomers, save_isomers, symbolic

TINY: dict[str, Any] = {
    "families": ["arithmetic"],
    "generator": {"sets": 8, "evaluation_sets": 2, "splits": ["id", "cue_reversed"]},
    "seeds": 1,
    "training": {"max_steps": 3, "per_device_train_batch_size": 8, "save_steps": 1},
    "methods": {"ERM": None, "IGA": {"method": "iga"}, "broken": {"per_device_train_batch_size": 7}},
}


def write(folder: Path, **fields: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **fields}, sort_keys=False))
    return path


def compare(config: CompareConfig, output: Path, **options: Any) -> tuple[int, str]:
    told = io.StringIO()
    status = run_compare(config, output, console=Console(file=told, width=200), **options)
    return status, told.getvalue()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Job], int]]:
    """The jobs and workers of every comparison; nothing runs, all of it is interrupted."""
    calls: list[tuple[list[Job], int]] = []

    def interrupted(jobs: Sequence[Job], console: Console, *, workers: int) -> list[Outcome]:
        calls.append((list(jobs), workers))
        return [Outcome(job, STOPPED) for job in jobs]

    monkeypatch.setattr(running, "run_jobs", interrupted)
    return calls


def test_runs_of_a_family_and_seed_share_their_data(tmp_path: Path, asked: list[tuple[list[Job], int]]) -> None:
    config = load_compare(write(tmp_path, families=["arithmetic", "ordering"], seeds=[4, 2]))
    output = tmp_path / "out"
    assert compare(config, output)[0] == STOPPED
    ((jobs, _),) = asked
    assert [job.output.relative_to(output / "runs").as_posix() for job in jobs] == [
        f"{family}/{label}-seed{seed}"
        for seed in (4, 2)
        for family in ("arithmetic", "ordering")
        for label in ("erm", "iga", "broken")
    ]
    assert [*planned_runs(config, output)] == [job.output for job in jobs]
    assert all(job.train and job.threads == 1 for job in jobs)
    for first in range(0, 12, 3):
        together = jobs[first : first + 3]
        assert len({(job.config.data[0].path, *job.splits.values()) for job in together}) == 1
        job, family = together[0], together[0].output.parent.name
        options: dict[str, Any] = {"seed": job.config.seed, "cue": "member", "agreement": 0.95}
        assert load_isomers(job.config.data[0].path) == create_isomers(family, size=8, noise=0.3, **options)[:]
        for split, path in job.splits.items():
            assert load_isomers(path) == create_isomers(family, size=2, split=split, **options)[:]
    assert not list(output.glob("table.*"))


def test_own_files_are_used_where_they_lie(tmp_path: Path, asked: list[tuple[list[Job], int]]) -> None:
    save_isomers(create_isomers(size=2), tmp_path / "train.jsonl")
    path = tmp_path / "own.yaml"
    own = {"train": "train.jsonl", "splits": {"mine": "train.jsonl"}, "seeds": 2}
    path.write_text(yaml.safe_dump({**own, "training": TINY["training"], "methods": TINY["methods"]}, sort_keys=False))
    compare(load_compare(path), tmp_path / "out")
    ((jobs, _),) = asked
    assert {job.config.data[0].path for job in jobs} == {tmp_path / "train.jsonl"}
    assert {job.output.parent.name for job in jobs} == {"data"}
    assert [job.config.seed for job in jobs] == [0, 0, 0, 1, 1, 1]


def test_no_more_workers_than_cores(
    tmp_path: Path, asked: list[tuple[list[Job], int]], monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr("isograd.experiment.running.cores", lambda: 3)
    plain, configured = load_compare(write(tmp_path)), load_compare(write(tmp_path, workers=2))
    for config, workers in ((plain, None), (plain, 2), (plain, 8), (configured, None), (configured, 1)):
        compare(config, tmp_path / "out", workers=workers)
    assert [workers for _, workers in asked] == [3, 2, 3, 2, 1]
    with pytest.raises(UserError, match="workers is 0"):
        compare(plain, tmp_path / "out", workers=0)


def test_data_under_runs_are_not_overwritten(tmp_path: Path, asked: list[tuple[list[Job], int]]) -> None:
    output = tmp_path / "out"
    compare(load_compare(write(tmp_path)), output)
    train = output / "data" / "arithmetic" / "train-seed0.jsonl"
    before = train.read_bytes()
    other = load_compare(write(tmp_path, generator={**TINY["generator"], "noise": 0.0}))
    # Nothing has been trained yet: nothing is lost.
    compare(other, output)
    assert train.read_bytes() != before
    before = train.read_bytes()
    (output / "runs" / "arithmetic" / "erm-seed0").mkdir(parents=True)
    (output / "runs" / "arithmetic" / "erm-seed0" / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"options.json: the runs beside it had other generator options"):
        compare(load_compare(write(tmp_path)), output)
    assert train.read_bytes() == before


def rows(output: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((output / name).read_text())))


@pytest.mark.slow
def test_a_comparison(tmp_path: Path) -> None:
    path, output = write(tmp_path), tmp_path / "out"
    status, told = compare(load_compare(path), output, command=["isograd", "compare", "tiny.yaml"])
    assert status == 1
    assert "3 of 3 runs: " in told
    assert "broken-seed0: failed: per_device_train_batch_size is 7" in told
    assert "Paired difference to ERM: accuracy" in " ".join(told.split())
    assert "Fewer than 5 seeds are an illustration" in told
    assert [(run["method"], run["status"]) for run in rows(output, "runs.csv")] == [
        *(("ERM", "finished"), ("IGA", "finished"), ("broken", "failed"))
    ]
    table = rows(output, "table.csv")
    assert {row["method"] for row in table} == {"ERM", "IGA", "broken"}
    metrics = json.loads((output / "runs/arithmetic/iga-seed0/metrics.json").read_text())
    (within,) = [row for row in table if (row["method"], row["metric"]) == ("IGA", "lcs/mean/within")]
    assert float(within["mean"]) == metrics["lcs"]["mean"]["within"]
    text = (output / "table.md").read_text()
    for words in (
        *("| broken | 0 of 1; 1 missing | - | - |", "- broken: 0 of 1 runs; seed 0 failed: UserError: per_device"),
        *("- command: `isograd compare tiny.yaml`", '    - IGA: `{"method": "iga"}`', "- seeds: 0"),
    ):
        assert words in text
    assert b"Paired difference to ERM: chain accuracy" in (output / "report.html").read_bytes()

    # Again: the finished are reused, the failed is tried again, and the files are the same.
    stamps = {file: file.stat().st_mtime_ns for file in output.glob("runs/*/*/adapter/*")}
    before = {name: (output / name).read_bytes() for name in ("table.md", "table.csv", "runs.csv", "report.html")}
    assert stamps
    status, told = compare(load_compare(path), output, command=["isograd", "compare", "tiny.yaml"])
    assert status == 1
    assert "2 of 3 runs were finished before and are reused" in told
    assert {file: file.stat().st_mtime_ns for file in output.glob("runs/*/*/adapter/*")} == stamps
    assert {name: (output / name).read_bytes() for name in before} == before

    # A changed configuration is refused before anything starts; a mended failure is not.
    changed = {"ERM": {"learning_rate": 0.1}, "IGA": {"method": "iga"}, "broken": {}}
    with pytest.raises(UserError, match="erm-seed0: holds a run of another configuration; choose another"):
        compare(load_compare(write(tmp_path, methods=changed)), output)
    assert {name: (output / name).read_bytes() for name in before} == before
    status, _ = compare(load_compare(write(tmp_path, methods={**TINY["methods"], "broken": None})), output)
    assert status == 0
    assert "| broken | 1 of 1 |" in (output / "table.md").read_text()


def gone(process: psutil.Process) -> bool:
    """Whether it has ended; nobody may be there to wait for an orphan."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_killed_comparison_goes_on_to_the_same_result(tmp_path: Path) -> None:
    one = {"methods": {"ERM": None}, "training": {**TINY["training"], "max_steps": 8}}
    config = load_compare(write(tmp_path, **one))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert compare(config, whole)[0] == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "isograd", "compare", str(tmp_path / "tiny.yaml"), "--output", str(killed)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    run = Path("runs/arithmetic/erm-seed0")
    deadline = time.monotonic() + 400
    while not list((killed / run).glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # They hold the lock of the folder until they are gone.
    while not all(map(gone, workers)):
        time.sleep(0.02)
    assert json.loads((killed / run / "run.json").read_text())["status"] == "running"
    assert compare(config, killed)[0] == 0
    adapter = run / "adapter" / "adapter_model.safetensors"
    assert (killed / adapter).read_bytes() == (whole / adapter).read_bytes()
    timed = ("step_seconds", "peak_memory_bytes")
    assert [row for row in rows(killed, "table.csv") if row["metric"] not in timed] == [
        row for row in rows(whole, "table.csv") if row["metric"] not in timed
    ]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ctrl_c_saves_the_current_step(tmp_path: Path) -> None:
    methods = {"ERM": None, "IGA": {"method": "iga"}, "later": None}
    path = write(tmp_path, methods=methods, training={**TINY["training"], "max_steps": 2000, "save_steps": 12})
    output = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "isograd", "compare", str(path), "--output", str(output), "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A process group of its own, as a terminal would give it: Ctrl-C reaches parent and workers.
        start_new_session=True,
    )
    runs = [output / "runs" / "arithmetic" / name for name in ("erm-seed0", "iga-seed0")]
    deadline = time.monotonic() + 400
    while not all(saved_steps(run) for run in runs):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=300)[0]
    assert process.returncode == 130, told
    assert "Run the same command again" in told
    for run in runs:
        assert json.loads((run / "run.json").read_text())["status"] == "running"
        # Checkpoints are every 12 steps; the interruption saved another, wherever it struck.
        logged = [json.loads(line)["step"] for line in (run / "training.jsonl").read_text().splitlines()]
        assert max(saved_steps(run)) >= max(logged)
    assert not (output / "runs" / "arithmetic" / "later-seed0" / "run.json").exists()


def saved_steps(run: Path) -> list[int]:
    states = (run / "checkpoints").glob("checkpoint-*/trainer_state.json")
    return [int(path.parent.name.rpartition("-")[2]) for path in states]


def test_training_data_that_a_changed_domain_would_change_stay(
    tmp_path: Path, asked: list[tuple[list[Job], int]]
) -> None:
    text = (files(symbolic) / "domains" / "law.yaml").read_text()
    (tmp_path / "ours.yaml").write_text(text)
    config = write(tmp_path, generator={**TINY["generator"], "domains": ["ours.yaml", "science"], "splits": ["id"]})
    output = tmp_path / "out"
    compare(load_compare(config), output)
    train = output / "data" / "arithmetic" / "train-seed0.jsonl"
    before = train.read_bytes()
    run = output / "runs" / "arithmetic" / "erm-seed0" / "run.json"
    run.parent.mkdir(parents=True)
    run.write_text("{}")
    # The same files in another place are the same data.
    places = [tmp_path / "moved", tmp_path / "changed"]
    for place, words in zip(places, (text, text.replace("contracts", "leases")), strict=True):
        place.mkdir()
        shutil.copy(config, place)
        (place / "ours.yaml").write_text(words)
    compare(load_compare(places[0] / "tiny.yaml"), output)
    config = places[1] / "tiny.yaml"
    with pytest.raises(UserError, match=r"train-seed0.jsonl: the runs beside it learnt from it.* has changed since"):
        compare(load_compare(config), output)
    assert train.read_bytes() == before
    assert not list(train.parent.glob("new-*"))
