"""Rules of group RL compared: one student for all of them, a group of tables for each group size."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pretended import named, pretend
from rich.console import Console

from isograd.common.errors import UserError
from isograd.experiment.compare import run_compare
from isograd.experiment.compare_config import CompareConfig, load_compare
from isograd.experiment.tune_config import load_tune

RULES: dict[str, Any] = {
    "families": ["arithmetic"],
    "generator": {"sets": 16, "evaluation_sets": 2, "splits": ["id"], "cue": "none", "noise": 0.0},
    "seeds": 1,
    "training": {"max_steps": 2, "per_device_train_batch_size": 8},
    "reinforce": {
        "group_sizes": [2, 4],
        "threshold": 0.5,
        "training": {
            "max_steps": 4,
            "save_steps": 2,
            "per_device_train_batch_size": 8,
            "steps_per_generation": 2,
            "max_completion_length": 8,
            "learning_rate": "1e-3",
        },
    },
    "methods": {
        "GRPO": {"loss_type": "grpo"},
        "DFPO-min": {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "clip": "none",
            "group_weights": "min_replace",
        },
    },
}


def written(folder: Path, **fields: Any) -> Path:
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump({**RULES, **fields}, sort_keys=False))
    return path


def run(config: CompareConfig, output: Path) -> tuple[int, str]:
    told = io.StringIO()
    status = run_compare(config, output, console=Console(file=told, width=200))
    return status, told.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_rules_start_from_one_student_and_differ_in_nothing_else(tmp_path: Path) -> None:
    assert load_compare(written(tmp_path)).groups == ["arithmetic-g2", "arithmetic-g4"]
    config, output = load_compare(written(tmp_path, **changed("reinforce/group_sizes", [4]))), tmp_path / "out"
    assert config.baseline == "GRPO"
    status, told = run(config, output)
    assert (status, "Reinforcement learning" in told) == (0, True), told
    student = output / "runs" / "distilled" / "arithmetic-seed0"
    for rule in ("grpo", "dfpo-min"):
        folder = output / "runs" / "arithmetic-g4" / f"{rule}-seed0"
        record = json.loads((folder / "run.json").read_text())
        assert record["status"] == "finished"
        assert record["config"]["adapter"] == str(student)
        assert record["config"]["training"]["num_generations"] == 4
        assert record["steps"] == 4
        assert "id" in json.loads((folder / "metrics.json").read_text())["splits"]
    rows = list(csv.DictReader((output / "table.csv").read_text().splitlines()))
    found = {(row["family"], row["method"], row["metric"]): row for row in rows}
    for label in ("GRPO", "DFPO-min"):
        for key in ("reward_end", "steps_to_threshold", "entropy_end"):
            assert found["arithmetic-g4", label, f"learning/{key}"]["n"] == "1"
    assert found["arithmetic-g4", "distilled", "learning/reward_end"]["n"] == "0"
    assert found["arithmetic-g4", "distilled", "accuracy/id"]["n"] == "1"
    assert found["arithmetic-g4", "DFPO-min", "learning/reward_end"]["difference_n"] == "1"
    table = (output / "table.md").read_text()
    assert "## arithmetic-g4" in table
    assert "steps to threshold" in table
    assert (output / "report.html").is_file()

    before = {path: path.read_bytes() for path in output.glob("table.*")}
    status, told = run(config, output)
    assert status == 0
    assert "1 of 1 runs were finished before" in told
    assert "2 of 2 runs were finished before" in told
    assert {path: path.read_bytes() for path in before} == before


def test_a_student_that_fails_loses_only_the_runs_that_start_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, output = load_compare(written(tmp_path, seeds=2)), tmp_path / "out"
    given = pretend(monkeypatch, fail=["distilled/arithmetic-seed1"])
    status, told = run(config, output)
    assert status == 1
    assert "First 2 distillations, then 8 runs that start from them." in told
    lost = [f"arithmetic-g{size}/{rule}-seed1" for size in (2, 4) for rule in ("grpo", "dfpo-min")]
    assert not {*lost} & {named(folder) for folder in given}
    assert len(given) == 2 + 4
    reason = "not started: the student distilled/arithmetic-seed1 that it starts from could not be distilled"
    rows = list(csv.DictReader((output / "runs.csv").read_text().splitlines()))
    ended = {named(Path(row["folder"])): (row["status"], row["trouble"]) for row in rows}
    assert {folder: end for folder, end in ended.items() if end[0] == "failed"} == {
        "distilled/arithmetic-seed1": ("failed", "failed: out of luck"),
        **dict.fromkeys(lost, ("failed", f"failed: {reason}")),
    }
    assert f"- DFPO-min: 1 of 2 runs; seed 1 {ended[lost[0]][1]}" in (output / "table.md").read_text()

    # Again, and better: the student and what starts from it are tried again, the others are not.
    again = pretend(monkeypatch)
    assert run(config, output)[0] == 0
    assert sorted(map(named, again)) == sorted(["distilled/arithmetic-seed1", *lost])
    assert "failed" not in (output / "runs.csv").read_text()


def test_where_no_student_could_be_distilled_the_table_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out"
    given = pretend(monkeypatch, fail=["distilled/arithmetic-seed0"])
    assert run(load_compare(written(tmp_path)), output)[0] == 1
    assert [named(folder) for folder in given] == ["distilled/arithmetic-seed0"]
    assert (output / "table.md").read_text().count(": 0 of 1 runs; seed 0 failed: ") == 2 * 3


def test_a_run_that_cannot_start_again_keeps_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, output = load_compare(written(tmp_path)), tmp_path / "out"
    pretend(monkeypatch)
    assert run(config, output)[0] == 0
    finished, begun = (output / "runs" / "arithmetic-g4" / f"{rule}-seed0" for rule in ("grpo", "dfpo-min"))
    (begun / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    record = json.loads((begun / "run.json").read_text())
    (begun / "run.json").write_text(json.dumps({**record, "status": "running"}))
    before = (finished / "run.json").read_bytes()
    shutil.rmtree(output / "runs" / "distilled")
    pretend(monkeypatch, fail=["distilled/arithmetic-seed0"])
    assert run(config, output)[0] == 1
    assert (finished / "run.json").read_bytes() == before
    kept = json.loads((begun / "run.json").read_text())
    assert (kept["status"], kept["config_hash"]) == ("failed", record["config_hash"])


def changed(place: str, value: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(RULES))
    *parents, last = place.split("/")
    section = content
    for parent in parents:
        section = section[parent]
    section[last] = value
    return content


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("methods/GRPO/los_type", "grpo", r"methods\.GRPO\.los_type: IsomerGRPOConfig has no such field; did you mean"),
        ("methods/GRPO/num_generations", 4, r"methods\.GRPO\.num_generations: use reinforce\.group_sizes$"),
        ("methods/distilled", {}, r"methods\.distilled: too like 'distilled'$"),
        ("reinforce/group_sizes", [3], r"per_device_train_batch_size is 8, which breaks groups of 3; use a multiple"),
        ("reinforce/group_sizes", [2, 2], r"every size may be named once only"),
        ("reinforce/rewards", ["isomer_anser"], r"isomer_anser"),
        ("reinforce/training/max_stepz", 3, r"reinforce: training\.max_stepz: IsomerGRPOConfig has no such field"),
        ("training/max_stepz", 3, r"training\.max_stepz: .*has no such field"),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path: Path, place: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        load_compare(written(tmp_path, **changed(place, value)))
    assert "\n" not in str(told.value)


def test_tuning_is_for_distillation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reinforce: isograd tune chooses settings of distillation"):
        load_tune(written(tmp_path))
