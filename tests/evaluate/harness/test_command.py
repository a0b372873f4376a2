"""`isograd evaluate --tasks`: its options, what it tells and writes, and what a mistake looks like."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from scripted import INVENTED

from isograd.cli import main
from isograd.cli.app import app
from isograd.common.errors import UserError
from isograd.experiment.measure import named_subjects
from isograd.student import student_path


@pytest.fixture
def isograd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str | Path) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["isograd", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told, errors = capsys.readouterr()
        return SimpleNamespace(status=ended.value.code or 0, told=told, errors=errors)

    return run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the built-in student, with an adapter that changes something."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("runs") / "iga"
    base = AutoModelForCausalLM.from_pretrained(student_path())
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(base, lora).save_pretrained(folder / "adapter")
    record = {"status": "finished", "config": {"model": "builtin", "trust_remote_code": False}}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_its_options_are_these() -> None:
    command = typer.main.get_command(app).commands["evaluate"]  # type: ignore[attr-defined]
    assert {tuple(parameter.opts) for parameter in command.params} == {
        ("models",),
        ("--data", "-d"),
        ("--tasks",),
        ("--data-dir",),
        ("--base",),
        ("--limit",),
        ("--backend",),
        ("--base-url",),
        ("--tokenizer",),
        ("--batch-size",),
        ("--max-new-tokens",),
        ("--chat-template",),
        ("--instructions",),
        ("--trust-remote-code",),
        ("--output", "-o"),
    }


def test_a_run_and_its_base(tmp_path: Path, isograd, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out"
    settings = ("--data-dir", INVENTED, "--limit", "2", "--max-new-tokens", "4", "-o", output)
    done = isograd("evaluate", run_folder, "--base", "--tasks", "reclor,iga", *settings)
    assert done.status == 0, done.errors
    results = json.loads((output / "results.json").read_text())
    assert [model["label"] for model in results["models"]] == ["builtin", str(run_folder)]
    assert [(row["benchmark"], row["n"]) for row in results["scores"]] == [*[("reclor", 2)] * 2, *[("math", 14)] * 2]
    assert results["left_out"] == ["gsm8k: no local file", "logiqa2: no local file"]
    assert "Left out: gsm8k: no local file\nLeft out: logiqa2: no local file" in done.told
    assert "Differences on the same documents" in done.told
    assert str(output / "results.md") in done.told
    table = (output / "results.md").read_text()
    assert "Left out:\n\n- gsm8k: no local file\n- logiqa2: no local file\n" in table
    assert "| reclor | builtin | 2 |" in table
    assert len((output / "scores.csv").read_text().splitlines()) == 5
    assert len((output / "differences.csv").read_text().splitlines()) == 3
    # The adapter's folder is another name for the same model: nothing is generated again.
    from isograd.evaluate.harness.store import StoredModel

    monkeypatch.setattr(StoredModel, "_ask", lambda *_: pytest.fail("asked again"))
    adapter = run_folder / "adapter"
    again = isograd("evaluate", adapter, "--tasks", "reclor", *settings)
    assert again.status == 0, again.errors
    known = json.loads((output / "results.json").read_text())
    assert known["models"][0]["fingerprint"] == results["models"][1]["fingerprint"]


def test_what_names_stand_for(tmp_path: Path, run_folder: Path) -> None:
    builtin = str(student_path())
    run, adapter, base = named_subjects([str(run_folder), str(run_folder / "adapter"), "builtin"])
    assert (run.model, run.adapter) == (builtin, run_folder / "adapter")
    assert (adapter.model, adapter.adapter) == (builtin, run_folder / "adapter")
    assert (base.model, base.adapter) == (builtin, None)
    # A base that is named already is not added, and none is added twice.
    assert len(named_subjects([str(run_folder), "builtin"], base=True)) == 2
    copy = tmp_path / "copy"
    shutil.copytree(run_folder, copy)
    assert [subject.label for subject in named_subjects([str(run_folder), str(copy)], base=True)] == [
        "builtin",
        str(run_folder),
        str(copy),
    ]
    record = json.loads((copy / "run.json").read_text())
    # A folder cannot ask for its code to be run.
    (copy / "run.json").write_text(json.dumps(record | {"config": record["config"] | {"trust_remote_code": True}}))
    assert [s.trust_remote_code for s in named_subjects([str(copy)])] == [False]
    assert [s.trust_remote_code for s in named_subjects([str(copy)], trust_remote_code=True)] == [True]
    (copy / "run.json").write_text(json.dumps(record | {"status": "running"}))
    with pytest.raises(UserError, match="is not finished"):
        named_subjects([str(copy)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("builtin",), "give --data id=FILE or --tasks iga"),
        (("builtin", "--tasks", "folo"), "unknown task 'folo'; did you mean folio"),
        (("builtin", "--tasks", "arb"), "arb: no hub id is known"),
        (("builtin", "--tasks", "gsm8k", "--data-dir", "none"), "none: no such folder"),
        (("builtin", "--tasks", "gsm8k", "--limit", "0"), "limit is 0"),
        (("builtin", "--tasks", "gsm8k", "--backend", "gpt"), "unknown backend 'gpt'"),
        (("builtin", "--tasks", "gsm8k", "--backend", "openai"), "--base-url http://localhost:8000/v1"),
        (("m", "--tasks", "mmlu_law", "--backend", "openai", "--base-url", "http://x/v1"), "compares log-likelihoods"),
        (
            ("m", "--base", "--tasks", "gsm8k", "--backend", "openai", "--base-url", "http://x/v1"),
            "name the base model",
        ),
    ],
)
def test_a_mistake_is_one_line(isograd, arguments: tuple[str, ...], message: str) -> None:
    done = isograd("evaluate", *arguments)
    assert done.status == 2
    lines = [line for line in done.errors.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("isograd: error: ")
    assert message in lines[0]


def test_without_the_extra_one_line_says_what_to_install(isograd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    done = isograd("evaluate", "builtin", "--tasks", "gsm8k")
    assert done.status == 2
    assert "pip install 'isograd[eval]'" in done.errors
