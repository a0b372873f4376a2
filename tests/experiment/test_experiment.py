"""Workers and the demo: reuse, interruption, and a failure that loses nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from isograd.common.errors import UserError
from isograd.distill.run_config import DataSource, DistillConfig
from isograd.experiment import demo, running
from isograd.experiment.pool import Outcome, run_jobs
from isograd.experiment.worker import STOPPED, Job
from isograd.isomers import FAMILIES, create_isomers, load_isomers, save_isomers

TINY = {"max_steps": 2, "per_device_train_batch_size": 8, "save_steps": 1}


@pytest.fixture
def make_job(tmp_path: Path) -> Any:
    save_isomers(create_isomers(size=4, cue="member"), tmp_path / "train.jsonl")
    save_isomers(create_isomers(size=2, split="id", cue="member"), tmp_path / "id.jsonl")

    def make(name: str, **training: Any) -> Job:
        config = DistillConfig(
            name=name, data=[DataSource(path=tmp_path / "train.jsonl")], training={**TINY, **training}
        )
        return Job(config=config, output=tmp_path / name, splits={"id": tmp_path / "id.jsonl"})

    return make


@pytest.mark.slow
def test_a_failed_run_loses_no_other(make_job: Any) -> None:
    jobs = [make_job("bad", method="no such"), make_job("good")]
    good, bad = run_jobs(jobs, Console(file=io.StringIO()), workers=2)[::-1]
    assert good.status == 0
    assert json.loads((good.job.output / "metrics.json").read_text())["splits"]["id"]["n"] == 8
    assert bad.status == 2
    assert "unknown method 'no such'" in bad.reason
    assert json.loads((bad.job.output / "run.json").read_text())["status"] == "failed"


@pytest.mark.slow
def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TRAIN_SETS", 4)
    monkeypatch.setattr(demo, "EVALUATION_SETS", 2)
    monkeypatch.setattr(demo, "TRAINING", {**demo.TRAINING, **TINY})
    monkeypatch.setattr(demo, "METHODS", {name: demo.METHODS[name] for name in ("ERM", "IGA + consistency")})
    told = io.StringIO()
    output = tmp_path / "demo"
    assert demo.run_demo(output, seeds=1, workers=2, console=Console(file=told, width=160)) == 0
    text = told.getvalue()
    assert "IGA + consistency" in text
    assert "before training" in text
    assert "One seed is an illustration, not evidence" in text
    assert (output / "runs" / "erm-seed0" / "adapter" / "adapter_model.safetensors").is_file()
    page = (output / "report.html").read_bytes()
    assert b"illustration" in page
    stamps = {path: path.stat().st_mtime_ns for path in output.glob("runs/*/adapter/*")}
    assert demo.run_demo(output, seeds=1, workers=2, console=Console(file=io.StringIO())) == 0
    assert {path: path.stat().st_mtime_ns for path in output.glob("runs/*/adapter/*")} == stamps
    assert (output / "report.html").read_bytes() == page


@pytest.mark.parametrize("family", FAMILIES)
def test_the_demo_of_any_family_has_the_same_runs_on_its_own_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setattr(demo, "TRAIN_SETS", 40)
    monkeypatch.setattr(demo, "EVALUATION_SETS", 4)
    asked: list[Job] = []

    def interrupted(jobs: list[Job], console: Console, *, workers: int) -> list[Outcome]:
        asked.extend(jobs)
        return [Outcome(job, STOPPED) for job in jobs]

    monkeypatch.setattr(running, "run_jobs", interrupted)
    told = io.StringIO()
    assert demo.run_demo(tmp_path, seeds=2, workers=1, console=Console(file=told), family=family) == STOPPED
    assert "Run the same command again" in told.getvalue()
    assert [(job.config.name, job.config.seed, job.train) for job in asked] == [
        (name, seed, name != "before training")
        for seed in (0, 1)
        for name in ("IGA", "IGA + consistency", "ERM", "consistency", "before training")
    ]
    for job in asked:
        (source,) = job.config.data
        train = load_isomers(source.path)
        options = {"seed": job.config.seed, "cue": "member", "agreement": demo.AGREEMENT}
        assert train == create_isomers(family, size=40, noise=demo.NOISE, **options)[:]
        assert set(job.splits) == {"id", "ood_domain", "cue_random", "cue_reversed"}
        for split, path in job.splits.items():
            assert load_isomers(path) == create_isomers(family, size=4, split=split, **options)[:]
    assert len({job.output for job in asked}) == len(asked)


def test_a_demo_of_no_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown family 'algebra'"):
        demo.run_demo(tmp_path, seeds=1, workers=1, console=Console(file=io.StringIO()), family="algebra")
