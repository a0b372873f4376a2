"""A tiny student with the built-in tokenizer, and a few isomer sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import AutoTokenizer, PreTrainedTokenizerBase, set_seed

from isograd.distill import IsomerSFTConfig, IsomerSFTTrainer
from isograd.isomers import IsomerSet, create_isomers
from isograd.student import student_path
from tests.tiny import tiny_llama

SHAPE = {
    "intermediate_size": 48,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(student_path())


@pytest.fixture(scope="session")
def sets() -> list[IsomerSet]:
    return create_isomers(seed=3, size=12, cue="member", noise=0.2)[:]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder that ``from_pretrained`` loads, with random weights."""
    folder = tmp_path_factory.mktemp("tiny-model")
    tiny_llama(tokenizer, **SHAPE).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


MakeTrainer = Callable[..., IsomerSFTTrainer]


@pytest.fixture
def make_trainer(tmp_path: Path, tokenizer: PreTrainedTokenizerBase, sets: list[IsomerSet]) -> MakeTrainer:
    """A trainer of the tiny student in float64; keyword arguments are settings of ``IsomerSFTConfig``.

    ``options`` are further arguments of the trainer.
    """

    def make(
        *, data: Any = None, lora: dict[str, Any] | None = None, options: dict[str, Any] | None = None, **settings: Any
    ) -> IsomerSFTTrainer:
        model = tiny_llama(tokenizer, **SHAPE).double()
        arguments = IsomerSFTConfig(
            **{
                "output_dir": str(tmp_path / "out"),
                "use_cpu": True,
                "bf16": False,
                "report_to": "none",
                "save_strategy": "no",
                "disable_tqdm": True,
                "max_steps": 1,
                "per_device_train_batch_size": 8,
                "gradient_checkpointing": False,
                "max_grad_norm": 1e9,
                "logging_steps": 1,
                **settings,
            }
        )
        set_seed(1)
        trainer = IsomerSFTTrainer(
            model=model,
            args=arguments,
            train_dataset=sets if data is None else data,
            processing_class=tokenizer,
            peft_config=LoraConfig(
                task_type="CAUSAL_LM", **{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **(lora or {})}
            ),
            **(options or {}),
        )
        for name, value in trainer.model.named_parameters():
            if value.requires_grad:
                generator = torch.Generator().manual_seed(len(name))
                value.data = torch.randn(value.shape, generator=generator, dtype=torch.float64) * 0.1
        return trainer

    return make


def gradients_of_first_step(trainer: IsomerSFTTrainer) -> dict[str, torch.Tensor]:
    """Train one step with a zero learning rate and catch the gradients that reach the optimizer."""
    return gradients_of_steps(trainer)[0]


def gradients_of_steps(trainer: IsomerSFTTrainer) -> list[dict[str, torch.Tensor]]:
    """Train, and catch the gradients that reach the optimizer at each step."""
    caught: list[dict[str, torch.Tensor]] = []
    clip = trainer.accelerator.clip_grad_norm_

    def catch(parameters: Any, max_norm: float, norm_type: float = 2.0) -> Any:
        caught.append(
            {
                name: value.grad.clone()
                for name, value in trainer.model.named_parameters()
                if value.requires_grad and value.grad is not None
            }
        )
        return clip(parameters, max_norm, norm_type)

    trainer.accelerator.clip_grad_norm_ = catch
    trainer.train()
    assert caught
    assert all(caught)
    return caught
