"""Whole reinforcement runs: from a distilled adapter to a better one, resumed after a kill, mistakes in one line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM

from isograd.common.errors import UserError
from isograd.distill import DataSource, DistillConfig, run_distill
from isograd.experiment.measure import evaluate_run
from isograd.isomers import create_isomers, save_isomers
from isograd.reinforce import ReinforceConfig, run_reinforce
from isograd.reinforce.reward_names import REWARDS, make_reward
from isograd.reinforce.rewards import ExactAnswer, IsomerAgreement
from isograd.reinforce.run_config import load_config, parse_config
from isograd.student import student_path

SETTINGS: dict[str, Any] = {
    "max_steps": 8,
    "save_steps": 4,
    "steps_per_generation": 2,
    "num_generations": 4,
    "per_device_train_batch_size": 16,
    "max_completion_length": 24,
    "group_weights": "min_replace",
    "clip": "none",
    "importance_sampling_level": "sequence",
    "loss_type": "grpo",
}


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    save_isomers(create_isomers(seed=0, size=8, depth=1), tmp_path / "train.jsonl")
    return {"data": [str(tmp_path / "train.jsonl")], "training": dict(SETTINGS)}


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a student that is right at times: one that never is gets no advantage and learns nothing."""
    folder = tmp_path_factory.mktemp("distilled")
    save_isomers(create_isomers(seed=2, size=64, depth=1), folder / "train.jsonl")
    settings = {"max_steps": 30, "learning_rate": 1e-2, "per_device_train_batch_size": 16}
    config = DistillConfig(data=[DataSource(path=folder / "train.jsonl")], training=settings)
    run_distill(config, folder / "run", model_path=str(student_path()))
    return folder / "run"


def run(content: dict[str, Any], output: Path) -> str:
    return run_reinforce(parse_config(content, "here"), output, model_path=str(student_path()))


def weights(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_from_an_adapter_to_another(content: dict[str, Any], distilled: Path, tmp_path: Path) -> None:
    content["adapter"] = str(distilled)
    first, second = tmp_path / "first", tmp_path / "second"
    told: list[tuple[int, int]] = []
    config = parse_config(content, "here")
    assert (
        run_reinforce(
            config, first, model_path=str(student_path()), progress=lambda done, total, _: told.append((done, total))
        )
        == "finished"
    )
    assert told[-1] == (8, 8)
    record = json.loads((first / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["label"] == "grpo+none+min_replace"
    assert record["steps"] == 8
    assert not (first / "checkpoints").exists()
    lines = [json.loads(line) for line in (first / "training.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert any(line.get("reward_std") for line in lines)
    assert run(content, first) == "reused"

    # Run folder and adapter folder name the same adapter.
    assert run({**content, "adapter": str(first)}, second) == "finished"
    assert run({**content, "adapter": str(first / "adapter")}, second) == "reused"
    assert weights(second) != weights(first)
    base = AutoModelForCausalLM.from_pretrained(student_path())
    assert PeftModel.from_pretrained(base, second / "adapter").peft_config["default"].r == 8
    save_isomers(create_isomers(seed=1, size=3, split="id"), tmp_path / "id.jsonl")
    metrics = evaluate_run(second, {"id": tmp_path / "id.jsonl"})
    assert metrics["splits"]["id"]["n_sets"] == 3


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_and_resumed_it_ends_the_same(content: dict[str, Any], distilled: Path, tmp_path: Path) -> None:
    content["adapter"] = str(distilled)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    config = tmp_path / "rl.yaml"
    config.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "isograd", "reinforce", str(config), "--output"]
    assert run(content, whole) == "finished"
    process = subprocess.Popen([*command, str(parts)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 400
    while not (parts / "checkpoints" / "checkpoint-4" / "trainer_state.json").is_file():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not (parts / "adapter").exists()
    done = subprocess.run([*command, str(parts)], check=True, capture_output=True, text=True)
    assert "finished; adapter in" in done.stdout
    assert weights(parts) == weights(whole)
    # An update that changed nothing would hide a wrong resume.
    lines = [json.loads(line) for line in (parts / "training.jsonl").read_text().splitlines()]
    assert any(line["grad_norm"] > 0 for line in lines if line["step"] > 4)


def test_rewards_by_name() -> None:
    for name in REWARDS:
        assert callable(make_reward(name, {}))
    assert make_reward("isomer_agreement", {"judge": "exact_answer"}) == IsomerAgreement(judge=ExactAnswer())
    with pytest.raises(UserError, match="there is no reward 'maths'"):
        make_reward("isomer_agreement", {"judge": "maths"})
    with pytest.raises(UserError, match="there is no reward 'exact'; there are: isomer_answer, "):
        make_reward("exact", {})
    with pytest.raises(UserError, match="reward isomer_agreement: no parameter 'bonsu'; did you mean 'bonus'"):
        make_reward("isomer_agreement", {"bonsu": 1.0})


def test_rewards_as_a_list_or_with_parameters(content: dict[str, Any]) -> None:
    listed = parse_config({**content, "rewards": ["exact_answer", "isomer_agreement"]}, "here")
    assert listed.rewards == {"exact_answer": {}, "isomer_agreement": {}}
    named = parse_config({**content, "rewards": {"isomer_agreement": {"bonus": 0.2}, "exact_answer": None}}, "here")
    assert named.rewards == {"isomer_agreement": {"bonus": 0.2}, "exact_answer": {}}


def test_what_determines_a_run(content: dict[str, Any], tmp_path: Path) -> None:
    model = str(student_path())
    digest = parse_config(content, "here").digest(model)
    assert parse_config({**content, "seed": 1}, "here").digest(model) != digest
    assert parse_config({**content, "rewards": ["exact_answer"]}, "here").digest(model) != digest
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes((tmp_path / "train.jsonl").read_bytes())
    assert parse_config({**content, "data": [str(moved)]}, "here").digest(model) == digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": ["right"]}, "there is no reward 'right'"),
        ({"training": {"group_weight": "none"}}, "training.group_weight: IsomerGRPOConfig has no such field; did you"),
        ({"training": {"output_dir": "x"}}, "training.output_dir: the run sets this itself; use --output"),
        ({"adapter": "a", "lora": {"r": 4}}, "lora: the adapter a has its own; leave lora out"),
        ({"data": []}, "data: List should have at least 1 item"),
        ({"reward": ["x"]}, "reward: Extra inputs are not permitted"),
    ],
)
def test_mistakes_in_the_configuration(content: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config({**content, **change}, "here")


def test_mistakes_that_show_later(content: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no adapter"):
        run({**content, "adapter": str(tmp_path)}, tmp_path / "out")
    with pytest.raises(UserError, match=r"nothing\.jsonl: No such file"):
        run({**content, "data": [str(tmp_path / "nothing.jsonl")]}, tmp_path / "out")
    broken = {**content, "training": {**SETTINGS, "per_device_train_batch_size": 6, "steps_per_generation": 2}}
    with pytest.raises(UserError, match="which breaks groups of 4; use 8"):
        run(broken, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["status"] == "failed"


def test_overrides_from_the_command_line(content: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "rl.yaml"
    config.write_text(yaml.safe_dump(content))
    settings = load_config(config, ["training.clip=symmetric", "seed=3"])
    assert isinstance(settings, ReinforceConfig)
    assert (settings.training["clip"], settings.seed) == ("symmetric", 3)
