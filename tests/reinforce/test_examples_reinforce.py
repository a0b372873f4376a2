"""The configurations of examples/ load, and the commands of docs/reinforce.md run as they are printed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from isograd.distill import load_config as load_distill
from isograd.isomers import create_isomers, save_isomers
from isograd.reinforce import IsomerGRPOConfig
from isograd.reinforce import load_config as load_reinforce
from isograd.student import student_path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reinforce.md").read_text(encoding="utf-8")
LOADERS: dict[str, Callable[[Path], Any]] = {
    "benchmarks": load_distill,
    "dfpo": load_reinforce,
    "iga": load_distill,
    "zero3": lambda path: load_config_from_file(str(path)),
}
# What makes a run small; everything else is as printed.
SMALL = {
    "isomers": ["--size", "16"],
    "distill": ["--steps", "4"],
    "reinforce": ["--steps", "4", "--set", "training.max_completion_length=24"],
}


def isograd(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "isograd", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_loads(path: Path) -> None:
    assert LOADERS[path.stem](path)


def test_the_example_of_group_rl_is_dfpo() -> None:
    config = load_reinforce(ROOT / "examples" / "dfpo.yaml")
    settings = IsomerGRPOConfig(output_dir="unused", use_cpu=True, bf16=False, **config.training)
    assert (settings.group_weights, settings.clip, settings.loss_type) == ("min_replace", "none", "grpo")
    assert settings.importance_sampling_level == "sequence"
    assert settings.per_device_train_batch_size % settings.num_generations == 0
    assert settings.steps_per_generation > settings.gradient_accumulation_steps


def test_the_reward_that_its_comment_offers_acts_with_the_settings_that_it_names() -> None:
    text = (ROOT / "examples" / "dfpo.yaml").read_text(encoding="utf-8")
    comment = " ".join(line.removeprefix("#") for line in text.splitlines() if line.startswith("# "))
    reward = re.search(r"\{isomer_agreement: \{.*?\}\}", comment)
    named = dict(re.findall(r"(scale_rewards|shuffle_dataset): (\w+)", comment))
    assert reward is not None
    assert named.keys() == {"scale_rewards", "shuffle_dataset"}
    sets = [f"training.{name}={value}" for name, value in named.items()]
    config = load_reinforce(ROOT / "examples" / "dfpo.yaml", [f"rewards={reward[0]}", *sets])
    assert config.rewards == {"isomer_agreement": {"bonus": 0.5}}
    assert config.training["scale_rewards"] == "none"
    assert config.training["shuffle_dataset"] is False


@pytest.mark.slow
def test_flags_of_the_command_reach_the_run(tmp_path: Path) -> None:
    save_isomers(create_isomers(seed=0, size=4, depth=1), tmp_path / "rl.jsonl")
    small = {"num_generations": 2, "per_device_train_batch_size": 4, "max_completion_length": 8, "max_steps": 50}
    content = {
        "data": ["rl.jsonl"],
        "training": {**small, "importance_sampling_level": "sequence", "loss_type": "grpo"},
    }
    (tmp_path / "rl.yaml").write_text(yaml.safe_dump(content))
    student = AutoModelForCausalLM.from_pretrained(student_path())
    get_peft_model(student, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(tmp_path / "first")
    flags = ["--adapter", "first", "--group-weights", "orthogonal", "--clip", "none", "--steps", "2", "--seed", "3"]
    isograd(tmp_path, "reinforce", "rl.yaml", "--output", "second", *flags)
    second = json.loads((tmp_path / "second" / "run.json").read_text())
    assert second["config"]["adapter"] == "first"
    assert json.loads((tmp_path / "second" / "adapter" / "adapter_config.json").read_text())["r"] == 4
    training = second["config"]["training"]
    assert (training["group_weights"], training["clip"], training["max_steps"]) == ("orthogonal", "none", 2)
    assert (second["label"], second["steps"], second["config"]["seed"]) == ("grpo+none+orthogonal", 2, 3)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_ten_minutes_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    beginning = PAGE[: PAGE.index("\n## ")]
    commands = [shlex.split(line) for line in beginning.splitlines() if line.startswith("    isograd ")]
    assert [words[1] for words in commands] == [
        "isomers", "isomers", "isomers", "distill", "reinforce", "evaluate", "evaluate",
    ]  # fmt: skip
    told = [isograd(tmp_path, *words[1:], *SMALL.get(words[1], [])) for words in commands]
    for output in ("runs/sft", "runs/dfpo"):
        assert json.loads((tmp_path / output / "run.json").read_text())["status"] == "finished"
        assert json.loads((tmp_path / output / "metrics.json").read_text())["splits"]["id"]["n_sets"] > 0
    # The second run goes on from the first one's adapter.
    record = json.loads((tmp_path / "runs/dfpo/run.json").read_text())
    assert record["config"]["adapter"] == "runs/sft"
    assert all(told)
