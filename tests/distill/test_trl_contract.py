"""The overridden methods of TRL and transformers still look as they did when the overrides were written."""

from __future__ import annotations

import inspect

import pytest
from transformers import Trainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_trainer import SFTTrainer
from trl.trainer.utils import FusedCausalLMOutput

SIGNATURES = {
    "_prepare_dataset": (
        SFTTrainer,
        ["self", "dataset", "processing_class", "args", "packing", "formatting_func", "dataset_name"],
    ),
    "_set_signature_columns_if_needed": (SFTTrainer, ["self"]),
    "compute_loss": (SFTTrainer, ["self", "model", "inputs", "return_outputs", "num_items_in_batch"]),
    "training_step": (SFTTrainer, ["self", "args", "kwargs"]),
    "_get_train_sampler": (Trainer, ["self", "train_dataset"]),
    "get_batch_samples": (Trainer, ["self", "epoch_iterator", "num_batches", "device"]),
    "_prepare_inputs": (GRPOTrainer, ["self", "generation_batch"]),
    "_compute_loss": (GRPOTrainer, ["self", "model", "inputs"]),
    "_generate_single_turn": (
        GRPOTrainer,
        ["self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
    ),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    owner, wanted = SIGNATURES[name]
    assert list(inspect.signature(getattr(owner, name)).parameters) == wanted


def test_fused_head_gives_shifted_log_probabilities() -> None:
    assert {"log_probs", "label_mask"} <= set(FusedCausalLMOutput.__dataclass_fields__)
    assert "fused_lm_head=True" in inspect.getsource(SFTTrainer.compute_loss)


def test_the_loss_may_say_that_it_is_scaled_for_accumulation() -> None:
    assert "self.loss_is_scaled_for_ga is not None" in inspect.getsource(Trainer.training_step)


def test_the_first_arguments_of_scoring() -> None:
    scoring = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies)
    wanted = ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy"]
    assert list(scoring.parameters)[:7] == wanted


def test_trl_logs_what_it_clipped_under_these_names() -> None:
    source = inspect.getsource(GRPOTrainer._compute_loss)
    for name in ("low_mean", "high_mean", "region_mean", "low_min", "high_max"):
        assert f'"clip_ratio/{name}"' in source
