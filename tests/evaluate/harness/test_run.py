"""Several models on the same documents: adapters and their base, kept responses, a kill, a resumption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import INVENTED, Scripted
from tests.tiny import tiny_llama

from isograd.common.errors import UserError
from isograd.evaluate import benchmarks as running
from isograd.evaluate.benchmarks import Plan, evaluate_benchmarks
from isograd.evaluate.harness.backends import Backend, Subject, _lora, fingerprint

PLAN = Plan(("gsm_symbolic", "reclor"), folder=INVENTED, max_new_tokens=4)
BACKEND = Backend(batch_size=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small random model and two random adapters on it."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    from isograd.student.tokenizer import build_tokenizer

    home = tmp_path_factory.mktemp("models")
    tokenizer = build_tokenizer(256)
    tiny_llama(tokenizer, max_position_embeddings=1024, initializer_range=0.5).save_pretrained(home / "base")
    tokenizer.save_pretrained(home / "base")
    for name in ("first", "second"):
        base = LlamaForCausalLM.from_pretrained(home / "base")
        lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        get_peft_model(base, lora).save_pretrained(home / name)
    return {name: home / name for name in ("base", "first", "second")}


@pytest.fixture
def subjects(folders: dict[str, Path]) -> list[Subject]:
    base = str(folders["base"])
    return [Subject("base", base), *(Subject(name, base, folders[name]) for name in ("first", "second"))]


def content(output: Path) -> dict[str, bytes]:
    names = ("results.json", "results.md", "scores.csv", "differences.csv", "samples.jsonl")
    return {name: (output / name).read_bytes() for name in names}


def test_adapters_and_their_base(tmp_path: Path, subjects: list[Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    results = evaluate_benchmarks(subjects, PLAN, tmp_path / "out", backend=BACKEND)
    assert [(row["benchmark"], row["model"], row["n"]) for row in results["scores"]] == [
        (name, model, 6) for name in ("gsm_symbolic", "reclor") for model in ("base", "first", "second")
    ]
    assert [(row["model"], row["minus"]) for row in results["differences"]] == [
        *[("first", "base"), ("second", "base"), ("second", "first")] * 2
    ]
    # Instances of one template are one cluster.
    assert [row["clusters"] for row in results["scores"]] == [3, 3, 3, 6, 6, 6]
    samples = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().split("\n") if line]
    said = {model: [s["response"] for s in samples if s["model"] == model] for model in ("base", "first", "second")}
    assert said["base"] != said["first"] != said["second"] != said["base"]
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    # All is known now: no model is asked, and the same bytes come out.
    first = content(tmp_path / "out")
    monkeypatch.setattr(running, "open_model", lambda *_: Scripted(lambda *_: pytest.fail("asked again")))
    evaluate_benchmarks(subjects, PLAN, tmp_path / "out", backend=BACKEND)
    assert content(tmp_path / "out") == first


def test_another_batch_size_changes_no_response(tmp_path: Path, subjects: list[Subject]) -> None:
    outputs, results = [tmp_path / "one", tmp_path / "four"], []
    for output, size in zip(outputs, (1, 4), strict=True):
        results.append(evaluate_benchmarks(subjects[:1], PLAN, output, backend=Backend(batch_size=size)))
    # It is told, and is no part of what tells one model or response from another.
    assert [found["settings"].pop("batch_size") for found in results] == [1, 4]
    assert results[0] == results[1]
    assert (outputs[0] / "samples.jsonl").read_bytes() == (outputs[1] / "samples.jsonl").read_bytes()
    (model,) = results[0]["models"]
    assert model["dtype"] == "float32"
    assert model["device"].partition(":")[0] in ("cpu", "cuda")


def hub(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """A hub that gives the invented rows of these benchmarks and nothing else."""
    import datasets

    known = {"reclor": "metaeval/reclor", "math": "EleutherAI/hendrycks_math"}
    files = {known[name]: name for name in names}

    def load_dataset(path: str, *_: Any, **__: Any) -> Any:
        if path not in files:
            raise ConnectionError(f"no way\nto {path}")
        lines = (INVENTED / f"{files[path]}.jsonl").read_text().split("\n")
        rows = datasets.Dataset.from_list([json.loads(line) for line in lines if line])
        return datasets.DatasetDict(dict.fromkeys(("test", "validation"), rows))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_of_a_group_what_the_hub_does_not_give_is_left_out(
    tmp_path: Path, subjects: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub(monkeypatch, "reclor", "math")
    monkeypatch.setattr(running, "open_model", lambda *_: Scripted(lambda *_: "Answer: A"))
    results = evaluate_benchmarks(subjects[:1], Plan(("iga",)), tmp_path, backend=BACKEND)
    assert [row["benchmark"] for row in results["scores"]] == ["math", "reclor"]
    why = "cannot be loaded; ConnectionError: no way to {}; or give --data-dir"
    lines = [f"gsm8k: {why.format('openai/gsm8k')}", f"logiqa2: {why.format('baber/logiqa2')}"]
    assert results["left_out"] == lines
    assert f"\n- {lines[0]}\n- {lines[1]}\n" in (tmp_path / "results.md").read_text()
    # What is named itself must be there, and so must one of a group.
    with pytest.raises(UserError, match=r"^gsm8k: cannot be loaded; ConnectionError: no way to openai/gsm8k"):
        evaluate_benchmarks(subjects[:1], Plan(("iga", "gsm8k")), tmp_path, backend=BACKEND)
    hub(monkeypatch)
    with pytest.raises(UserError, match=r"^none of gsm8k, math, logiqa2, reclor can be had from the hub; gsm8k: cann"):
        evaluate_benchmarks(subjects[:1], Plan(("iga",)), tmp_path, backend=BACKEND)


def test_what_makes_a_model_another_one(tmp_path: Path, folders: dict[str, Path], subjects: list[Subject]) -> None:
    base, first, _ = subjects
    prints = [fingerprint(subject, BACKEND) for subject in subjects]
    assert len(set(prints)) == 3
    # A name or a place is none of it.
    moved = tmp_path / "moved"
    shutil.copytree(folders["first"], moved)
    assert fingerprint(replace(first, label="other", adapter=moved), BACKEND) == prints[1]
    # A weight is, and so is a setting.
    settings = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 99}))
    assert fingerprint(replace(first, adapter=moved), BACKEND) != prints[1]
    shutil.copy(folders["second"] / "adapter_model.safetensors", moved)
    (moved / "adapter_config.json").write_text(json.dumps(settings))
    assert fingerprint(replace(first, adapter=moved), BACKEND) != prints[1]
    assert fingerprint(base, Backend("vllm")) != prints[0]
    # So is a vocabulary, and the code of a model if it may run.
    copied = replace(base, model=str(tmp_path / "copied"))
    shutil.copytree(folders["base"], copied.model)
    assert fingerprint(copied, BACKEND) == prints[0]
    (tmp_path / "copied" / "modeling.py").write_text("x = 1")
    trusted = replace(copied, trust_remote_code=True)
    assert fingerprint(copied, BACKEND) == prints[0] != fingerprint(trusted, BACKEND)
    (tmp_path / "copied" / "merges.txt").write_text("a b")
    assert fingerprint(copied, BACKEND) != prints[0]
    (moved / "adapter_model.safetensors").rename(moved / "adapter_model.bin")
    with pytest.raises(UserError, match=r"adapter_model\.safetensors is missing"):
        fingerprint(replace(first, adapter=moved), BACKEND)


def test_a_new_version_of_a_task_is_asked_again(
    tmp_path: Path, subjects: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Scripted(lambda *_: "Answer: A")
    monkeypatch.setattr(running, "open_model", lambda *_: asked)
    plan = replace(PLAN, tasks=("reclor",))
    evaluate_benchmarks(subjects[:1], plan, tmp_path, backend=BACKEND)
    assert asked.asked == 6
    # Other settings of generation are other requests; the first two are known.
    evaluate_benchmarks(subjects[:1], replace(plan, max_new_tokens=5, limit=2), tmp_path, backend=BACKEND)
    assert asked.asked == 8
    load = running.load_tasks

    def renewed(*arguments: Any, **settings: Any) -> dict[str, Any]:
        tasks = load(*arguments, **settings)
        for task in tasks.values():
            task.VERSION = 2.0
        return tasks

    monkeypatch.setattr(running, "load_tasks", renewed)
    evaluate_benchmarks(subjects[:1], plan, tmp_path, backend=BACKEND)
    assert asked.asked == 14


def test_an_interruption_in_the_midst_of_a_batch_loses_only_that_batch(
    tmp_path: Path, subjects: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying(Scripted):
        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            if self.asked >= 4:
                raise KeyboardInterrupt
            return super().generate_until(requests)

    monkeypatch.setattr(running, "open_model", lambda *_: Dying(lambda *_: "Answer: A"))
    plan = replace(PLAN, tasks=("reclor",))
    with pytest.raises(KeyboardInterrupt):
        evaluate_benchmarks(subjects[:1], plan, tmp_path, backend=BACKEND)
    rest = Scripted(lambda *_: "Answer: A")
    monkeypatch.setattr(running, "open_model", lambda *_: rest)
    results = evaluate_benchmarks(subjects[:1], plan, tmp_path, backend=BACKEND)
    assert rest.asked == 2
    assert results["scores"][0]["accuracy"] == pytest.approx(2 / 6)


PROGRAM = """
import sys, time
from pathlib import Path
from isograd.evaluate.benchmarks import Plan, evaluate_benchmarks
from isograd.evaluate.harness.backends import Backend, Subject

base, adapter, folder, output = map(Path, sys.argv[1:])
subjects = [Subject("base", str(base)), Subject("adapter", str(base), adapter)]
plan = Plan(("gsm_symbolic", "reclor"), folder=folder, max_new_tokens=4)
evaluate_benchmarks(subjects, plan, output, backend=Backend(batch_size=1), progress=lambda *_: time.sleep(0.3))
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, folders: dict[str, Path]) -> None:
    def start(output: Path) -> subprocess.Popen[bytes]:
        places = [folders["base"], folders["first"], INVENTED, output]
        command = [sys.executable, "-c", PROGRAM, *map(str, places)]
        return subprocess.Popen(command, env={**os.environ, "PYTHONWARNINGS": "ignore"}, stderr=subprocess.DEVNULL)

    def kept(output: Path) -> int:
        try:
            with sqlite3.connect(f"file:{output / 'responses.sqlite'}?mode=ro", uri=True) as database:
                return int(database.execute("SELECT count(*) FROM responses").fetchone()[0])
        except sqlite3.Error:
            return 0

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(killed)
    while kept(killed) < 8 and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    there = kept(killed)
    assert 8 <= there < 24
    assert not (killed / "results.json").exists()
    assert start(killed).wait() == 0
    base = str(folders["base"])
    both = [Subject("base", base), Subject("adapter", base, folders["first"])]
    evaluate_benchmarks(both, PLAN, whole, backend=BACKEND)
    assert kept(killed) == kept(whole) == 24
    assert content(killed) == content(whole)


def test_prompts_in_a_chat_template(tmp_path: Path, folders: dict[str, Path], subjects: list[Subject]) -> None:
    backend, plan = Backend(batch_size=2, chat_template=True), replace(PLAN, tasks=("reclor",))
    with pytest.raises(UserError, match="base: its tokenizer has no chat template"):
        evaluate_benchmarks(subjects[:1], plan, tmp_path / "none", backend=backend)
    shutil.copytree(folders["base"], tmp_path / "chat")
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    (tmp_path / "chat" / "chat_template.jinja").write_text(template)
    evaluate_benchmarks([Subject("chat", str(tmp_path / "chat"))], plan, tmp_path / "out", backend=backend)
    with sqlite3.connect(tmp_path / "out" / "responses.sqlite") as database:
        requests = [json.loads(text) for (text,) in database.execute("SELECT request FROM responses")]
    database.close()
    prompts = [prompt for _, prompt, _ in requests]
    assert len(prompts) == 6
    assert all(prompt.startswith("<system>Think step by step") for prompt in prompts)
    assert all("<user>" in prompt and prompt.endswith("<assistant>") for prompt in prompts)


def test_room_for_an_adapter_in_vllm(tmp_path: Path, folders: dict[str, Path]) -> None:
    shutil.copytree(folders["first"], tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    settings = json.loads(file.read_text())
    for rank, room in ((4, 8), (8, 8), (9, 16), (300, 320)):
        file.write_text(json.dumps(settings | {"r": rank}))
        assert _lora(tmp_path / "adapter") == {"lora_local_path": str(tmp_path / "adapter"), "max_lora_rank": room}
    file.write_text(json.dumps(settings | {"r": 1024}))
    with pytest.raises(UserError, match="rank 1024 is more than vLLM takes"):
        _lora(tmp_path / "adapter")
    assert _lora(None) == {}


def test_mistakes_are_told(tmp_path: Path, subjects: list[Subject]) -> None:
    with pytest.raises(UserError, match="different names"):
        evaluate_benchmarks([subjects[0]] * 2, PLAN, tmp_path)
    with pytest.raises(UserError, match=r"maximum sequence length.*give --max-new-tokens"):
        evaluate_benchmarks(subjects[:1], replace(PLAN, max_new_tokens=1024), tmp_path)
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "responses.sqlite").write_text("no database, but long enough to be looked at as one" * 20)
    with pytest.raises(UserError, match="cannot be used as a store"):
        evaluate_benchmarks(subjects[:1], PLAN, tmp_path / "file")
    with pytest.raises(UserError, match="pip install vllm"):
        evaluate_benchmarks(subjects[:1], PLAN, tmp_path, backend=Backend("vllm"))
    with pytest.raises(UserError, match=r"backend vllm measures one model a call.*serve them"):
        evaluate_benchmarks(subjects, PLAN, tmp_path, backend=Backend("vllm"))
    with pytest.raises(UserError, match="limit is 0"):
        Plan(("gsm8k",), limit=0)
    with pytest.raises(UserError, match="no such folder"):
        Plan(("gsm8k",), folder=tmp_path / "none")
