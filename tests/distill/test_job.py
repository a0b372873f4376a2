"""Whole runs: the run folder, resuming after kill -9 and Ctrl-C, mistakes in one line, ordinary PEFT adapters."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM

from isograd.common.errors import UserError
from isograd.distill.job import run_distill
from isograd.distill.run_config import load_config, parse_config
from isograd.experiment.lock import output_lock
from isograd.isomers import IsomerSet, save_isomers
from isograd.runs.callbacks import last_checkpoint

SETTINGS: dict[str, Any] = {
    "max_steps": 12,
    "save_steps": 3,
    "logging_steps": 2,
    "per_device_train_batch_size": 8,
    "method": "iga",
    "learning_rate": 1e-2,
    "consistency": "logit_variance",
}


@pytest.fixture
def content(tmp_path: Path, tiny_model: Path, sets: list[IsomerSet]) -> dict[str, Any]:
    save_isomers(sets, tmp_path / "train.jsonl")
    return {"model": str(tiny_model), "data": [{"path": str(tmp_path / "train.jsonl")}], "training": dict(SETTINGS)}


def adapter_bytes(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def start(config: Path, output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "isograd", "distill", str(config), "--output", str(output)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 400
    while not condition():
        if process.poll() is not None:
            raise AssertionError(f"the run ended early:\n{process.communicate()[0]}")
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError("the run did not come so far")
        time.sleep(0.005)


def test_a_run_folder(tmp_path: Path, content: dict[str, Any], tiny_model: Path) -> None:
    output = tmp_path / "run"
    assert run_distill(parse_config(content, "test"), output) == "finished"
    record = json.loads((output / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["label"] == "iga+consistency"
    assert record["steps"] == 12
    assert record["versions"]["trl"]
    assert record["machine"]["processor"]
    lines = [json.loads(line) for line in (output / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert {"loss", "loss/law", "consistency", "grad_norm"} <= lines[0].keys()
    assert {path.suffix for path in (output / "adapter").iterdir()} <= {".json", ".safetensors", ".md", ".jinja"}
    assert not (output / "checkpoints").exists()

    before = adapter_bytes(output)
    assert run_distill(parse_config(content, "test"), output) == "reused"
    assert adapter_bytes(output) == before
    with pytest.raises(UserError, match="run of another configuration"):
        run_distill(parse_config({**content, "seed": 1}, "test"), output)

    # An ordinary PEFT adapter: loaded, merged, same outputs.
    ids = torch.arange(3, 40)[None]
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        untouched = base(ids).logits
        adapted = PeftModel.from_pretrained(base, str(output / "adapter"))
        logits = adapted(ids).logits
        assert not torch.allclose(logits, untouched, atol=1e-3)
        assert torch.equal(AutoPeftModelForCausalLM.from_pretrained(str(output / "adapter"))(ids).logits, logits)
        assert torch.allclose(adapted.merge_and_unload()(ids).logits, logits, atol=1e-5)


def test_same_seed_same_bytes_and_another_seed_others(tmp_path: Path, content: dict[str, Any]) -> None:
    content["training"].update(max_steps=3, save_strategy="no")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run_distill(parse_config({**content, "seed": seed}, "test"), tmp_path / name)
    assert adapter_bytes(tmp_path / "a") == adapter_bytes(tmp_path / "b") != adapter_bytes(tmp_path / "c")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("blow", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    tmp_path: Path, content: dict[str, Any], blow: signal.Signals
) -> None:
    content["training"].update(max_steps=30, save_steps=5)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(content))
    run_distill(load_config(config), tmp_path / "whole")

    output = tmp_path / "broken"
    process = start(config, output)
    wait_for(lambda: last_saved(output) >= 10, process)
    os.kill(process.pid, blow)
    process.communicate()
    saved = last_saved(output)
    assert 10 <= saved < 30
    status = json.loads((output / "run.json").read_text())["status"]
    assert status == "running"
    if blow == signal.SIGINT:
        assert process.returncode == 130
    assert run_distill(load_config(config), output) == "finished"
    assert adapter_bytes(output) == adapter_bytes(tmp_path / "whole")
    logs = [json.loads(line) for line in (output / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logs] == list(range(2, 31, 2))


def last_saved(output: Path) -> int:
    states = (output / "checkpoints").glob("checkpoint-*/trainer_state.json")
    return max((int(path.parent.name.rpartition("-")[2]) for path in states), default=0)


def test_half_written_checkpoints_are_passed_over(tmp_path: Path) -> None:
    for step, text in ((3, "{}"), (6, '{"cut'), (9, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if text is not None:
            (folder / "trainer_state.json").write_text(text)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-3")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


def test_a_failed_run_says_so_and_its_folder_can_be_used_again(tmp_path: Path, content: dict[str, Any]) -> None:
    output = tmp_path / "run"
    content["training"]["per_device_train_batch_size"] = 7
    with pytest.raises(UserError, match="no multiple of the 4 domains"):
        run_distill(parse_config(content, "test"), output)
    record = json.loads((output / "run.json").read_text())
    assert record["status"] == "failed"
    assert "no multiple" in record["error"]
    content["training"].update(per_device_train_batch_size=8, max_steps=1)
    assert run_distill(parse_config(content, "test"), output) == "finished"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": []}, r"config: data: "),
        ({"modle": "x"}, r"config: modle: "),
        ({"training": {"lerning_rate": 1}}, r"did you mean 'learning_rate'\?"),
        ({"lora": {"rr": 1}}, r"config: lora\.rr: LoraConfig has no such field"),
        ({"data": [{"path": "x", "format": "gsm9k"}]}, "unknown format 'gsm9k'"),
    ],
)
def test_mistakes_in_a_configuration(content: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config({**content, **change}, "config")


def test_overrides(tmp_path: Path, content: dict[str, Any]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(content))
    changed = load_config(config, ["training.max_steps=5", "seed=7", "lora.target_modules=[q_proj]"])
    assert (changed.training["max_steps"], changed.seed, changed.lora) == (5, 7, {"target_modules": ["q_proj"]})
    for override in ("seed", "data.path=x"):
        with pytest.raises(UserError, match="--set"):
            load_config(config, [override])


def test_missing_files_and_models(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"missing\.yaml"):
        load_config(tmp_path / "missing.yaml")
    missing = {**content, "data": [{"path": str(tmp_path / "none.jsonl")}]}
    with pytest.raises(UserError, match=r"none\.jsonl: No such file"):
        run_distill(parse_config(missing, "test"), tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="cannot be loaded"):
        run_distill(parse_config({**content, "model": str(tmp_path / "empty")}, "test"), tmp_path / "other")
    mixed = {**content, "data": [*content["data"], {"path": content["data"][0]["path"], "format": "rows"}]}
    with pytest.raises(UserError, match="mixes isomer sets and plain rows"):
        run_distill(parse_config(mixed, "test"), tmp_path / "mixed")


def test_a_run_stopped_after_its_last_step_trains_no_more(tmp_path: Path, content: dict[str, Any]) -> None:
    # Four steps, six to an epoch, a constant rate: one more step would show.
    content["training"].update(max_steps=4, save_steps=2, lr_scheduler_type="constant", warmup_steps=0)
    config = parse_config(content, "test")
    run_distill(config, tmp_path / "whole")

    # What a kill between the last checkpoint and the adapter leaves.
    output = tmp_path / "broken"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_args, **_kwargs: None)
        run_distill(config, output)
    record = json.loads((output / "run.json").read_text())
    (output / "run.json").write_text(json.dumps({**record, "status": "running"}))
    (output / "adapter" / "adapter_model.safetensors").unlink()
    assert run_distill(config, output) == "finished"
    assert adapter_bytes(output) == adapter_bytes(tmp_path / "whole")
    assert json.loads((output / "run.json").read_text())["steps"] == 4


def test_nothing_of_an_earlier_run_passes_for_this_one(tmp_path: Path, content: dict[str, Any]) -> None:
    content["training"].update(max_steps=2, save_strategy="no")
    output = tmp_path / "run"
    run_distill(parse_config(content, "test"), output)
    for name in ("metrics.json", "examples.jsonl"):
        (output / name).write_text("old")
    (output / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (output / "run.json").unlink()
    run_distill(parse_config({**content, "seed": 1}, "test"), output)
    assert sorted(path.name for path in output.iterdir()) == ["adapter", "run.json", "training.jsonl"]


def test_other_weights_are_another_run(tmp_path: Path, content: dict[str, Any], tiny_model: Path) -> None:
    config = parse_config(content, "test")
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    assert config.digest(str(copy)) == config.digest(str(tiny_model))
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert config.digest(str(copy)) != config.digest(str(tiny_model))


def test_numbers_that_yaml_reads_as_text(tmp_path: Path, content: dict[str, Any]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(content))
    assert load_config(config, ["training.learning_rate=1e-3"]).training["learning_rate"] == 1e-3


@pytest.mark.parametrize(
    "name",
    ["output_dir", "seed", "resume_from_checkpoint", "eval_strategy", "save_only_model", "ignore_data_skip"],
)
def test_fields_that_the_run_sets_are_refused(content: dict[str, Any], name: str) -> None:
    content["training"][name] = "x"
    with pytest.raises(UserError, match=rf"training\.{name}: the run sets this itself"):
        parse_config(content, "test")


def test_what_libraries_refuse_is_one_line_too(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"training or lora settings: .*target"):
        run_distill(parse_config({**content, "lora": {"target_modules": ["nothing"]}}, "test"), tmp_path / "run")


def test_sets_with_one_id_are_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="2 isomer sets with the id"):
        run_distill(parse_config({**content, "data": content["data"] * 2}, "test"), tmp_path / "run")


def test_a_model_is_told_by_all_of_its_files_and_not_by_their_place(
    tmp_path: Path, content: dict[str, Any], tiny_model: Path
) -> None:
    def digest(folder: Path) -> str:
        return parse_config({**content, "model": str(folder)}, "test").digest(str(folder))

    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny_model, copy)
    assert digest(copy) == digest(tiny_model)
    assert parse_config({**content, "model": "org/name"}, "test").digest("org/name") != digest(copy)
    large = copy / "extra.safetensors"
    seen = set()
    for place in (None, 0, 2**20, 33 * 2**20 + 5, 40 * 2**20):
        data = bytearray(40 * 2**20 + 7)
        if place is not None:
            data[place] = 1
        large.write_bytes(data)
        seen.add(digest(copy))
    assert len(seen) == 5


def test_a_reader_that_has_died_stops_a_run_that_saves(tmp_path: Path, content: dict[str, Any]) -> None:
    content["training"].update(max_steps=30, save_steps=30)

    def progress(done: int, total: int, loss: float | None) -> None:
        if done == 4:
            raise BrokenPipeError

    output = tmp_path / "run"
    assert run_distill(parse_config(content, "test"), output, progress=progress) == "stopped"
    assert last_saved(output) == 4


def test_one_training_at_a_time_in_a_folder(tmp_path: Path, content: dict[str, Any]) -> None:
    config, output = tmp_path / "config.yaml", tmp_path / "run"
    config.write_text(json.dumps(content))
    with output_lock(output):
        process = start(config, output)
        told = process.communicate()[0]
    assert process.returncode == 2
    assert "is running here; wait for it or stop it" in told
    file = tmp_path / "file"
    file.touch()
    process = start(config, file)
    told = process.communicate()[0]
    assert process.returncode == 2
    assert "choose another output folder" in told
    assert "Traceback" not in told
