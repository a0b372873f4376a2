"""The model card: what the hub's client reads, what was done, and nothing of the machine."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from huggingface_hub import ModelCard
from transformers import PreTrainedTokenizerBase

from isograd.common.files import read_json, write_json
from isograd.distill.job import run_distill
from isograd.distill.run_config import parse_config
from isograd.evaluate import evaluate_student, load_student
from isograd.gradients import Erm, Iga
from isograd.isomers import IsomerSet, save_isomers
from isograd.runs.card import adapter_card, card_facts, update_card

ARGUMENTS = {
    "learning_rate": 0.001,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 20,
    "max_steps": 30,
    "num_train_epochs": 3.0,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "method": "iga",
    "method_params": {"tau": 3.0},
    "report_to": "none",
    "hub_token": "hf_secret",
    "run_name": "host-7",
}
ADAPTER = {"r": 8, "lora_alpha": 16, "target_modules": ["v_proj", "q_proj"]}
METRICS = {
    "splits": {
        "id": {"n": 40, "accuracy": 0.91234, "accuracy_ci": [0.8, 0.95], "chain_accuracy": 1.0, "chance": 0.25},
        "ood_domain": {"n": 40, "accuracy": 0.5, "accuracy_ci": None, "chance": None},
    },
    "lcs": {"split": "id", "mean": {"within": 0.1, "between": 0.2}, "last": {"within": 0.01, "between": None}},
}


def record(model: str = "builtin", label: str = "iga", **more: Any) -> dict[str, Any]:
    given = ("method", "method_params", "report_to", "hub_token", "run_name")
    config = {
        "model": model,
        "data": [{"path": "/home/someone/data/train set.jsonl", "format": "isomers"}],
        "training": {name: ARGUMENTS[name] for name in given},
        **more,
    }
    rows = Dataset.from_list([{"set_id": f"s{number // 2}", "domain": "ab"[number % 2]} for number in range(6)])
    return {
        "label": label,
        "seed": 4,
        "steps": 30,
        "config": config,
        "versions": {"isograd": "0.1.0", "torch": "2"},
        "card": card_facts(config, SimpleNamespace(**ARGUMENTS), rows),
    }


def test_the_header_is_the_hubs() -> None:
    card = ModelCard(adapter_card(record("owner/model-1B"), ADAPTER, METRICS))
    data = card.data.to_dict()
    assert data["base_model"] == "owner/model-1B"
    assert data["library_name"] == "peft"
    assert data["pipeline_tag"] == "text-generation"
    results = data["model-index"][0]["results"]
    assert [result["dataset"]["split"] for result in results] == ["id", "ood_domain"]
    assert [result["metrics"][0]["value"] for result in results] == [0.9123, 0.5]
    assert data["metrics"] == ["accuracy"]
    unmeasured = ModelCard(adapter_card(record(), ADAPTER, None))
    assert not {"base_model", "model-index", "metrics"} & unmeasured.data.to_dict().keys()


def test_what_the_body_tells() -> None:
    text = adapter_card(record("owner/model-1B"), ADAPTER, METRICS)
    assert "for owner/model-1B, trained" in text
    assert "6 rows in 3 isomer sets, from train set.jsonl." in text
    assert "| a | 3 |\n| b | 3 |" in text
    assert "| method | iga |" in text
    assert '| method\\_params | {"tau": 3.0} |' in text
    assert "| LoRA modules | q\\_proj, v\\_proj |" in text
    assert r"| id | 40 | 0.912 \[0.800, 0.950\] | 1.000 \[-, -\] | 0.250 |" in text
    assert "| last | 0.010 | - |" in text
    assert 'base = "owner/model-1B"' in text
    assert "Not measured yet." in adapter_card(record(), ADAPTER, None)
    assert "begun from the adapter of iga7" in adapter_card(record(adapter="/x/iga7", rewards={}), ADAPTER, None)


def test_values_that_no_one_gave_are_told() -> None:
    """A method's own defaults, and those of the consistency term where it is on."""
    config = {"model": "builtin", "data": ["rows.jsonl"], "training": {"method": "iga"}}
    rows = Dataset.from_list([{"domain": "a"}, {"domain": "b"}])
    arguments = SimpleNamespace(method="iga", method_params={}, consistency=None, consistency_weight=10.0)

    def settings(**changes: Any) -> dict[str, Any]:
        told: dict[str, Any] = card_facts(config, SimpleNamespace(**{**vars(arguments), **changes}), rows, Iga())[
            "settings"
        ]
        return told

    assert settings()["method_params"]["tau"] == Iga().tau
    assert settings()["method_params"].keys() == {field.name for field in dataclasses.fields(Iga)}
    assert "consistency_weight" not in settings()
    assert settings(consistency="js")["consistency_weight"] == 10.0
    assert card_facts(config, arguments, rows, Erm())["settings"]["method_params"] == {"balance": "domain"}
    assert "method_params" not in card_facts(config, arguments, rows)["settings"]


def test_limits_are_those_of_this_adapter() -> None:
    """One trained on rows of benchmarks is not said to know isomer sets; one measured on them is."""
    rows = Dataset.from_list([{"domain": "a"}])
    told = record()
    told["card"] = card_facts(told["config"], SimpleNamespace(**ARGUMENTS), rows)
    unmeasured, measured = adapter_card(told, ADAPTER, None), adapter_card(told, ADAPTER, METRICS)
    assert "somer sets are short" not in unmeasured
    assert "distance within sets" not in unmeasured
    assert "- Isomer sets are short problems of one form. They say little about other tasks, and nothing" in measured
    assert "- Isomer sets are short problems" in adapter_card(record(), ADAPTER, None)


def test_nothing_of_the_machine_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its own name may be a word of the card.
    machine = "machine-4711"
    monkeypatch.setattr(socket, "gethostname", lambda: machine)
    monkeypatch.setattr(platform, "node", lambda: machine)
    model = tmp_path / "my model"
    model.mkdir()
    text = adapter_card(record(str(model)), ADAPTER, METRICS)
    assert "local model my model" in text
    for told in (str(tmp_path), "/home/", "someone", "hf_secret", "host-7", machine):
        assert told not in text
    assert "base_model" not in ModelCard(text).data.to_dict()


def test_a_folder_that_looks_like_a_hub_id_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert not record("owner/model")["card"]["base_is_on_hub"]
    assert record("owner/other")["card"]["base_is_on_hub"]


def test_texts_cannot_break_out() -> None:
    label = 'x | y <script>alert(1)</script>\n---\n# "Title" {a: b}: `code`'
    metrics = {**METRICS, "splits": {"a | b\n<img>": METRICS["splits"]["id"]}}  # type: ignore[index]
    text = adapter_card(record(label=label), ADAPTER, metrics)
    card = ModelCard(text)
    assert card.data.to_dict()["model-index"][0]["name"] == label
    assert not re.search(r"(?<!\\)<(script|img)", card.text)
    assert len([line for line in card.text.splitlines() if line.startswith("# ")]) == 1
    tables = [line for line in card.text.splitlines() if line.startswith("| a ")]
    assert len(re.findall(r"(?<!\\)\|", tables[-1])) == 6


def test_the_code_of_the_card_runs(
    tmp_path: Path,
    tiny_model: Path,
    tokenizer: PreTrainedTokenizerBase,
    sets: list[IsomerSet],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run writes the card, measuring fills it in, and neither touches the adapter."""
    save_isomers(sets, tmp_path / "train.jsonl")
    training = {"max_steps": 2, "per_device_train_batch_size": 8, "method": "iga"}
    content = {"model": str(tiny_model), "data": [{"path": str(tmp_path / "train.jsonl")}], "training": training}
    for name in ("one", "two"):
        run_distill(parse_config(content, "test"), tmp_path / name)
    first, second = ((tmp_path / name / "adapter" / "README.md").read_bytes() for name in ("one", "two"))
    assert first == second
    assert b"Not measured yet." in first
    text = first.decode()
    assert str(tmp_path) not in text
    assert str(tiny_model) not in text
    facts = read_json(tmp_path / "one" / "run.json")["card"]
    assert facts["rows"] == sum(len(item.members) for item in sets)
    assert facts["sets"] == len(sets)
    assert facts["settings"]["method_params"]["tau"] == 1.0
    assert set(facts["domains"]) == set(sets[0].domains)

    weights = (tmp_path / "one" / "adapter" / "adapter_model.safetensors").read_bytes()
    model, _ = load_student(str(tiny_model), tmp_path / "one" / "adapter")
    evaluate_student(model, tokenizer, {"id": sets[:2]}, output=tmp_path / "one", max_new_tokens=2)
    card = ModelCard.load(tmp_path / "one" / "adapter" / "README.md")
    metrics = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert f"| id | {metrics['splits']['id']['n']} |" in card.text
    assert card.data.eval_results[0].metric_value == round(metrics["splits"]["id"]["accuracy"], 4)
    assert (tmp_path / "one" / "adapter" / "adapter_model.safetensors").read_bytes() == weights

    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    code = code.replace(f'"path/to/{tiny_model.name}"', repr(str(tiny_model)))
    exec(code.replace('"path/to/this/folder"', repr(str(tmp_path / "one" / "adapter"))), {})
    assert (tmp_path / "merged" / "model.safetensors").is_file()


def test_folders_without_a_card_stay_without(tmp_path: Path) -> None:
    update_card(tmp_path)
    write_json(tmp_path / "run.json", {"base": True})
    update_card(tmp_path)
    write_json(tmp_path / "adapter" / "adapter_config.json", ADAPTER)
    update_card(tmp_path)
    assert not (tmp_path / "adapter" / "README.md").exists()
