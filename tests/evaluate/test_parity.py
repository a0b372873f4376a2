"""An adapter, merged into its model or not, from memory or from disk, is one student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from isograd.evaluate.generate import generate_greedy
from isograd.isomers import create_isomers
from isograd.student import student_path

PROMPTS = 200
TOKENS = 60


def base() -> Any:
    return AutoModelForCausalLM.from_pretrained(student_path(), use_safetensors=True)


@pytest.fixture(scope="module")
def adapted() -> Any:
    """The built-in student with an adapter that changes what it says."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    sets = create_isomers("arithmetic", seed=9, size=PROMPTS // 4, split="id")
    found = [member.prompt for isomer_set in sets for member in isomer_set.members]
    assert len(set(found)) == PROMPTS
    return found


def said(model: Any, prompts: list[str]) -> list[str]:
    tokenizer = AutoTokenizer.from_pretrained(student_path())
    return generate_greedy(model.eval(), tokenizer, prompts, max_new_tokens=TOKENS, batch_size=100)


@pytest.fixture(scope="module")
def variants(adapted: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("parity")
    adapted.save_pretrained(folder / "adapter")
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    merged = PeftModel.from_pretrained(base(), str(folder / "adapter")).merge_and_unload()
    merged.save_pretrained(folder / "merged")
    assert not list(folder.glob("**/*.bin"))
    return {
        "adapter": adapted,
        "adapter, reloaded": PeftModel.from_pretrained(base(), str(folder / "adapter")),
        "merged": merged,
        "merged, reloaded": AutoModelForCausalLM.from_pretrained(folder / "merged", use_safetensors=True),
    }


def test_200_prompts_are_answered_alike(variants: dict[str, Any], prompts: list[str]) -> None:
    texts = {name: said(model, prompts) for name, model in variants.items()}
    untouched = said(base(), prompts)
    # The adapter matters: else all would be alike whatever became of it.
    assert sum(a != b for a, b in zip(untouched, texts["adapter"], strict=True)) > PROMPTS // 4
    # And so do the prompts.
    assert len(set(texts["adapter"])) > PROMPTS // 4
    for name in variants:
        assert texts[name] == texts["adapter"], name


def test_logits_are_alike(variants: dict[str, Any], prompts: list[str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(student_path())
    batch = tokenizer(prompts[0], return_tensors="pt")
    with torch.no_grad():
        logits = {name: model.eval()(**batch).logits for name, model in variants.items()}
        untouched = base().eval()(**batch).logits
    assert (logits["adapter"] - untouched).abs().max() > 0.1
    assert torch.equal(logits["adapter"], logits["adapter, reloaded"])
    assert torch.equal(logits["merged"], logits["merged, reloaded"])
    torch.testing.assert_close(logits["merged"], logits["adapter"], atol=1e-4, rtol=1e-5)
