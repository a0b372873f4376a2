"""The fused head at supervised positions only gives what TRL's gives at all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

from isograd.distill.supervised_head import score_supervised_only

OUTPUTS = ("log_probs", "entropy", "is_top1")


def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    made = LlamaForCausalLM(config)
    add_fused_lm_head(made, outputs=OUTPUTS)
    return made


def batch(supervised: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(0, 97, (3, 11), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[:, : 11 - supervised] = -100
    labels[0, -1] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def run(made: Any, inputs: dict[str, torch.Tensor]) -> tuple[Any, list[torch.Tensor], int]:
    made.zero_grad()
    with FlopCounterMode(display=False) as flops:
        outputs = made(**inputs, fused_lm_head=True)
    (outputs.log_probs.sum() + 0.5 * outputs.entropy.sum()).backward()
    return outputs, [p.grad.clone() for p in made.parameters() if p.grad is not None], flops.get_total_flops()


@pytest.mark.parametrize("supervised", [4, 11, 0])
def test_same_values_and_gradients(supervised: int) -> None:
    made = model()
    before, gradients, cost = run(made, batch(supervised))
    score_supervised_only(made)
    after, same, less = run(made, batch(supervised))

    for name in (*OUTPUTS, "label_mask"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=1e-5, atol=1e-6)
    for one, other in zip(gradients, same, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    positions = int(before.label_mask.sum())
    assert cost - less == 2 * 16 * 97 * (before.label_mask.numel() - positions)


def test_other_calls_are_as_before() -> None:
    made = model()
    inputs = batch(4)
    logits = made(**inputs)
    score_supervised_only(made)
    again = made(**inputs)
    assert torch.equal(again.logits, logits.logits)
    assert torch.equal(again.loss, logits.loss)
    prompt = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    assert made.generate(**prompt, max_new_tokens=3, do_sample=False).shape == (3, 14)
