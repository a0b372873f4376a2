"""Rules of group RL compared: one student for all of them, a group of tables for each group size."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
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
@pytest.mark.timeout(600)
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
