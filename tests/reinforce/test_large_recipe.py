"""The recipe for large models: the printed flags make a legal run that fits, and the script trains a small model."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from tests.scripts import load_script
from trl.scripts.vllm_serve import ScriptArguments, build_command

from isograd.student import student_path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "dfpo_large.py"
PAGE = (ROOT / "docs" / "reinforce.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(SCRIPT)


def printed(part: str) -> list[str]:
    """The words of the one command on the page that has ``part``."""
    (command,) = [
        line for line in re.sub(r"\\\n\s*", "", PAGE).splitlines() if line.startswith("    ") and part in line
    ]
    return shlex.split(command)


def trained() -> list[str]:
    words = printed("accelerate launch")
    return words[words.index("examples/dfpo_large.py") + 1 :]


def test_the_printed_flags_are_a_legal_configuration(script: ModuleType) -> None:
    asked = script.parse(trained())
    settings = script.settings(script.parse([*trained(), "--cpu"]))
    assert settings.use_vllm
    assert settings.vllm_mode == "server"
    # What the trainer refuses otherwise: a micro-batch that breaks groups.
    assert settings.per_device_train_batch_size % settings.num_generations == 0
    assert (settings.group_weights, settings.clip, settings.loss_type) == ("min_replace", "none", "grpo")
    assert settings.importance_sampling_level == "sequence"
    # Ratios leave 1: a generation lasts for more optimizer steps than one.
    assert settings.steps_per_generation > settings.gradient_accumulation_steps
    # Adapters on weights of 16 bits.
    assert asked.rank > 0


def test_the_server_is_started_as_the_trainer_needs_it(script: ModuleType) -> None:
    words = printed("--weight-transfer-config")
    model = script.parse(trained()).model
    needed = build_command(ScriptArguments(model=model))
    assert words[words.index("serve") + 1] == model
    for flag in ("--weight-transfer-config", "--logprobs-mode", "--max-logprobs"):
        assert words[words.index(flag) + 1] == needed[needed.index(flag) + 1]
    assert "VLLM_SERVER_DEV_MODE=1" in words
    room = int(words[words.index("--max-model-len") + 1])
    assert room > script.parse(trained()).max_completion_length + 256


def test_the_recipe_fits(script: ModuleType) -> None:
    """Qwen3-32B: 32.8 G weights, 64 layers of 5120, linear maps as in its configuration."""
    asked = script.parse(trained())
    machine = load_config_from_file(str(ROOT / "examples" / "zero3.yaml"))
    assert machine.deepspeed_config["zero_stage"] == 3
    assert machine.num_processes == len(printed("accelerate launch")[0].partition("=")[2].split(","))
    maps = [(5120, 8192), (5120, 1024), (5120, 1024), (8192, 5120), (5120, 25600), (5120, 25600), (25600, 5120)]
    layer = sum(d_in * d_out for d_in, d_out in maps)
    weights = 64 * layer + 2 * 151_936 * 5120
    assert round(weights / 1e9, 1) == 32.8
    adapter = 64 * sum(asked.rank * (d_in + d_out) for d_in, d_out in maps)
    assert round(adapter / 1e9, 2) == 0.54
    shards = 0 if machine.deepspeed_config["offload_param_device"] == "cpu" else 2 * weights / machine.num_processes
    tokens = asked.groups * asked.group_size * (asked.max_completion_length + 256)
    assert round(tokens / 1e3) == 34
    kept = tokens * 5120 * 2 * 64
    assert round(kept / 1e9) == 22
    # Of a layer's backward pass 0.51 MB a token, counted; and up to 4 GB of weights gathered on the way.
    training = shards + 16 * adapter / machine.num_processes + kept + tokens * 0.51e6 + 4e9
    handing_over = shards + 2 * (weights + adapter)
    # 80 GB less a tenth, for what the allocator, the driver and NCCL take.
    assert training < 72e9
    assert handing_over < 72e9
    # What the page says of the sizes that it advises against.
    assert round(16 * weights / machine.num_processes / 1e9) == 131
    assert round(16 * 16_384 * 5120 * 2 * 64 / 1e9) == 172
    assert 2 * weights * (1 + 1 / machine.num_processes) > 80e9


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_recipe_trains(tmp_path: Path) -> None:
    rows = [{"prompt": f"Problem: {number} and 2. Question: How many?", "solution": str(number)} for number in range(8)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {
        "model": str(student_path()),
        "dataset": str(data),
        "output": str(tmp_path / "out"),
        "group-size": "2",
        "max-completion-length": "6",
        "max-steps": "2",
        "rank": "4",
    }
    words = [word for name, value in asked.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words, "--cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert "cancellation/shared" in done.stdout
