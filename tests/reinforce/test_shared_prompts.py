"""A prompt that is read once gives what reading it with every completion gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tests.tiny import tiny_llama
from torch import Tensor
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from trl.trainer.utils import add_fused_lm_head

from isograd.common.errors import UserError
from isograd.reinforce import IsomerGRPOConfig, IsomerGRPOTrainer
from isograd.reinforce.shared_prompts import prefilled_generation, score_completions, share_a_prompt
from isograd.student import student_path

WORDS, GROUPS, SIZE, PROMPT, COMPLETION = 60, 3, 4, 7, 5
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(vocab_size=WORDS, num_key_value_heads=2, pad_token_id=0, **SMALL)),
    "qwen3": lambda: Qwen3ForCausalLM(
        Qwen3Config(vocab_size=WORDS, num_key_value_heads=2, head_dim=8, pad_token_id=0, **SMALL)
    ),
    # Positions are learnt, not relative: the copies must stand where the rows stood.
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=WORDS,
            n_embd=16,
            n_layer=2,
            n_head=2,
            n_positions=32,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
        )
    ),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    base = MODELS[request.param]()
    add_fused_lm_head(base, outputs=("log_probs", "entropy"))
    module: Any = ["c_attn"] if request.param == "gpt2" else "all-linear"
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        target_modules=module,
        init_lora_weights="gaussian",
        fan_in_fan_out=request.param == "gpt2",
    )
    adapted = get_peft_model(base, lora).double()
    for name, value in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1)
    return adapted.eval()


def batch() -> tuple[Tensor, Tensor]:
    """Prompts of 4 to 7 tokens, completions of 2 to 5."""
    rng = torch.Generator().manual_seed(1)
    prompts = torch.randint(2, WORDS, (GROUPS, PROMPT), generator=rng).repeat_interleave(SIZE, 0)
    completions = torch.randint(2, WORDS, (GROUPS * SIZE, COMPLETION), generator=rng)
    starts = torch.tensor([0, 3, 1]).repeat_interleave(SIZE)
    ends = torch.randint(2, COMPLETION + 1, (GROUPS * SIZE,), generator=rng)
    before = torch.arange(PROMPT) >= starts[:, None]
    after = torch.arange(COMPLETION) < ends[:, None]
    mask = torch.cat([before, after], 1).long()
    return torch.cat([prompts, completions], 1) * mask, mask


def test_log_probabilities_entropies_and_gradients_are_equal(model: Any) -> None:
    ids, mask = batch()
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :PROMPT] = -100
    found = []
    for shared in (False, True):
        if shared:
            out = score_completions(model, model, ids, mask, COMPLETION, SIZE)
        else:
            out = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        logps, entropy = out.log_probs[:, -COMPLETION:], out.entropy[:, -COMPLETION:]
        real = mask[:, PROMPT:].bool()
        model.zero_grad()
        weights = torch.randn(logps.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        (logps * weights)[real].sum().backward()
        gradients = [value.grad.clone() for value in model.parameters() if value.grad is not None]
        found.append((logps[real].detach(), entropy[real].detach(), gradients))
    assert len(found[0][2]) > 2
    # TRL's head, and norms, compute in float32.
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_what_is_generated_is_equal(model: Any) -> None:
    ids, mask = batch()
    prompts = {"input_ids": ids[:, :PROMPT], "attention_mask": mask[:, :PROMPT]}
    calls = []
    model.register_forward_pre_hook(lambda _, __, inputs: calls.append(inputs["input_ids"].shape), with_kwargs=True)

    def generate() -> Tensor:
        torch.manual_seed(3)
        drawn: Tensor = model.generate(**prompts, do_sample=True, max_new_tokens=6, pad_token_id=0)
        return drawn

    with torch.no_grad():
        plain = generate()
        with prefilled_generation(model, SIZE):
            assert torch.equal(generate(), plain)
            assert (GROUPS, PROMPT - 1) in calls
            prompts = {name: value[:-1] for name, value in prompts.items()}
            calls.clear()
            generate()
            assert (GROUPS, PROMPT - 1) not in calls
    assert "generate" not in vars(model)


def test_only_whole_groups_share() -> None:
    ids, mask = batch()
    assert share_a_prompt(ids[:, :PROMPT], mask[:, :PROMPT], SIZE)
    assert not share_a_prompt(ids[1:, :PROMPT], mask[1:, :PROMPT], SIZE)
    assert not share_a_prompt(ids[1:-3, :PROMPT], mask[1:-3, :PROMPT], SIZE)
    assert not share_a_prompt(ids, mask, SIZE)
    assert not share_a_prompt(ids[:, :1], mask[:, :1], SIZE)
    assert not share_a_prompt(ids[:, :PROMPT], mask[:, :PROMPT], 1)
    different = mask[:, :PROMPT].clone()
    different[1, 0] = 0
    assert not share_a_prompt(ids[:, :PROMPT], different, SIZE)


def test_training_is_the_same(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(student_path())
    states = {}
    for shared in (False, True):
        args = IsomerGRPOConfig(
            output_dir=str(tmp_path / str(shared)),
            share_prompts=shared,
            per_device_train_batch_size=8,
            num_generations=4,
            steps_per_generation=2,
            max_completion_length=6,
            max_steps=4,
            learning_rate=1e-2,
            optim="sgd",
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            bf16=False,
            use_cpu=True,
        )
        trainer = IsomerGRPOTrainer(
            tiny_llama(tokenizer, **SMALL),
            lambda completion_ids, **_: [float(sum(ids) % 3) for ids in completion_ids],
            args,
            train_dataset=Dataset.from_dict({"prompt": ["Problem 1.", "A longer problem 22.", "Problem 3.", "What?"]}),
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"),
        )
        trainer.train()
        states[shared] = {n: v.detach().clone() for n, v in trainer.model.named_parameters() if v.requires_grad}
    assert any("lora_B" in name and value.abs().max() > 0 for name, value in states[True].items())
    torch.testing.assert_close(states[True], states[False], rtol=1e-4, atol=1e-6)


def test_checkpointing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"share_prompts.*set gradient_checkpointing to False"):
        IsomerGRPOConfig(
            output_dir=str(tmp_path), share_prompts=True, gradient_checkpointing=True, bf16=False, use_cpu=True
        )
