"""What the student can do in every family, as a page of tables."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from isograd.common.files import write_json
from isograd.experiment import demo, running, student_table
from isograd.experiment.pool import Outcome
from isograd.experiment.student_table import run_student_table
from isograd.experiment.worker import STOPPED, Job
from isograd.isomers import FAMILIES, load_isomers
from isograd.isomers.symbolic.domains import domain_names

TRAIN, UNSEEN = domain_names("train"), domain_names("unseen")
RUNS = ("before", "erm", "erm-no-cues")
SPLITS = ("id", "ood_domain", "cue_random", "cue_reversed")


@pytest.fixture(autouse=True)
def _few_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TRAIN_SETS", 8)
    monkeypatch.setattr(demo, "EVALUATION_SETS", 2)


def score(family: str, run: str, split: str, domain: str | None = None) -> float:
    """A number between 0 and 1 that no other place of the page has."""
    names = [None, *TRAIN, *UNSEEN]
    place = RUNS.index(run) * len(SPLITS) + SPLITS.index(split)
    return (place * len(names) + names.index(domain) + 300 * list(FAMILIES).index(family)) / 10_000


def measured(job: Job) -> None:
    """What a worker would have written."""
    family, run = job.output.parent.name, job.output.name
    splits: dict[str, Any] = {}
    for split in job.splits:
        domains = UNSEEN if split == "ood_domain" else TRAIN
        splits[split] = {
            "chance": 0.25,
            "accuracy": score(family, run, split),
            "chain_accuracy": 0.5 + score(family, run, split),
            "by_domain": {
                name: {
                    "accuracy": score(family, run, split, name),
                    "chain_accuracy": 0.5 + score(family, run, split, name),
                }
                for name in domains
            },
        }
    write_json(job.output / "metrics.json", {"splits": splits})
    write_json(job.output / "run.json", {"seconds": 12.4})


def table(monkeypatch: pytest.MonkeyPatch, output: Path, *statuses: int) -> tuple[int, list[Job], str]:
    """Exit status, the jobs that were asked for, what was told; the first runs end with the given statuses."""
    asked: list[Job] = []

    def ended(jobs: list[Job], console: Console, *, workers: int) -> list[Outcome]:
        asked.extend(jobs)
        for job in jobs:
            measured(job)
        codes = [*statuses, *[0] * (len(jobs) - len(statuses))]
        return [Outcome(job, code, "out of luck" if code else "") for job, code in zip(jobs, codes, strict=True)]

    monkeypatch.setattr(running, "run_jobs", ended)
    told = io.StringIO()
    status = run_student_table(output, model="some/model", seed=4, workers=1, console=Console(file=told, width=200))
    return status, asked, told.getvalue()


def test_three_runs_of_every_family_on_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, jobs, _ = table(monkeypatch, tmp_path)
    assert status == 0
    assert sorted((job.output.parent.name, job.output.name) for job in jobs) == sorted(
        (family, run) for family in FAMILIES for run in RUNS
    )
    for job in jobs:
        family, run = job.output.parent.name, job.output.name
        assert job.train == (run != "before")
        assert job.config.training["method"] == "erm"
        assert (job.config.model, job.config.seed) == ("some/model", 4)
        assert set(job.splits) == set(SPLITS)
        cue = "none" if run == "erm-no-cues" else "member"
        for path in (job.config.data[0].path, *job.splits.values()):
            sets = load_isomers(path)
            assert {(s.family, s.provenance.options["cue"], s.provenance.seed) for s in sets} == {(family, cue, 4)}
    # The student is measured before training on the files on which it is measured after it.
    by_run = {(job.output.parent.name, job.output.name): job.splits for job in jobs}
    for family in FAMILIES:
        assert by_run[family, "before"] == by_run[family, "erm"] != by_run[family, "erm-no-cues"]


def test_every_cell_is_the_measured_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, told = table(monkeypatch, tmp_path)
    page = (tmp_path / "student.md").read_text()
    assert status == 0
    assert page.strip() in told
    blocks = page.split("### ")[1:]
    assert [block.split("\n")[0] for block in blocks] == list(FAMILIES)
    for family, block in zip(FAMILIES, blocks, strict=True):
        assert "Chance 0.25; 12 s of training with cues on one thread." in block
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line[:1] == "|"
        ]
        assert {len(row) for row in (head, *rows)} == {8}
        assert [row[0] for row in rows] == [*TRAIN, *(f"{name} (unseen)" for name in UNSEEN), "**training domains**"]
        for row, domain in zip(rows, (*TRAIN, *UNSEEN, None), strict=True):
            split = "ood_domain" if domain in UNSEEN else "id"
            cells = [
                score(family, "before", split, domain),
                score(family, "erm", split, domain),
                0.5 + score(family, "erm", split, domain),
                None if domain in UNSEEN else score(family, "erm", "cue_random", domain),
                None if domain in UNSEEN else score(family, "erm", "cue_reversed", domain),
                score(family, "erm-no-cues", split, domain),
                0.5 + score(family, "erm-no-cues", split, domain),
            ]
            assert row[1:] == ["-" if cell is None else f"{cell:.2f}" for cell in cells], (family, domain)


def test_a_failed_run_ends_with_1_and_writes_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, jobs, told = table(monkeypatch, tmp_path, 0, 2)
    assert status == 1
    assert f"{jobs[1].output}: failed: out of luck" in told
    assert not (tmp_path / "student.md").exists()


def test_an_interruption_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, told = table(monkeypatch, tmp_path, 2, STOPPED)
    assert status == STOPPED
    assert "Run the same command again" in told
    assert not (tmp_path / "student.md").exists()


@pytest.mark.long
def test_from_workers_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What workers write is what the tables read."""
    monkeypatch.setattr(student_table, "FAMILIES", {"ordering": FAMILIES["ordering"]})
    monkeypatch.setattr(
        student_table, "TRAINING", {"max_steps": 1, "per_device_train_batch_size": 8, "save_strategy": "no"}
    )
    told = io.StringIO()
    console = Console(file=told, width=200)
    assert run_student_table(tmp_path, model="builtin", seed=0, workers=2, console=console) == 0, told.getvalue()
    page = (tmp_path / "student.md").read_text()
    assert page.startswith("### ordering\n\nChance 0.20; ")
    assert page.count("\n| ") == 2 + len(TRAIN) + len(UNSEEN)
