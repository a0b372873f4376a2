"""Two steps with some methods under ``torchrun``: ``run_methods.py FOLDER METHOD ...`` writes the second's gradients.

The global batch is the same whatever the number of processes. Run by test_methods_in_trainer.py.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from transformers import AutoTokenizer, set_seed

from isograd.common.errors import UserError
from isograd.distill import IsomerSFTConfig, IsomerSFTTrainer
from isograd.isomers import create_isomers
from isograd.student import student_path
from tests.distill.conftest import SHAPE
from tests.distill.method_settings import EVERY
from tests.tiny import tiny_llama

WORLD = int(os.environ["WORLD_SIZE"])
GLOBAL_BATCH = 16


def build(settings: dict[str, Any], tokenizer: Any, folder: Path) -> IsomerSFTTrainer:
    arguments = IsomerSFTConfig(
        **{
            "output_dir": str(folder / "out"),
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            "max_steps": 2,
            "per_device_train_batch_size": GLOBAL_BATCH // WORLD,
            "gradient_checkpointing": False,
            "max_grad_norm": 1e9,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",
            # Adam's first steps make much of the last digits of gradients near zero.
            "optim": "sgd",
            "ddp_find_unused_parameters": False,
            **settings,
        }
    )
    set_seed(1)
    trainer = IsomerSFTTrainer(
        model=tiny_llama(tokenizer, **SHAPE).double(),
        args=arguments,
        train_dataset=create_isomers(seed=3, size=12, cue="member", noise=0.2)[:],
        processing_class=tokenizer,
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear"),
    )
    for name, value in trainer.model.named_parameters():
        if value.requires_grad:
            generator = torch.Generator().manual_seed(len(name))
            value.data = torch.randn(value.shape, generator=generator, dtype=torch.float64) * 0.1
    return trainer


def train(trainer: IsomerSFTTrainer, **options: Any) -> dict[str, torch.Tensor]:
    """Train, and return the gradients of the last step, or the factors where a method leaves none."""
    caught: dict[str, torch.Tensor] = {}
    clip = trainer.accelerator.clip_grad_norm_

    def catch(*args: Any, **kwargs: Any) -> Any:
        caught.update(
            {
                name: (value if value.grad is None else value.grad).detach().clone()
                for name, value in trainer.model.named_parameters()
                if value.requires_grad
            }
        )
        return clip(*args, **kwargs)

    trainer.accelerator.clip_grad_norm_ = catch  # type: ignore[method-assign]
    trainer.train(**options)
    return caught


def main() -> None:
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(student_path())
    for name in sys.argv[2:]:
        settings = EVERY[name]
        if name == "torchjd" and importlib.util.find_spec("torchjd") is None:
            continue
        try:
            caught = train(build(settings, tokenizer, folder))
        except UserError as error:
            (folder / f"{name}.txt").write_text(str(error), encoding="utf-8")
            continue
        file = folder / f"{name}.{os.environ['RANK']}.safetensors"
        save_file({key: value.contiguous() for key, value in caught.items()}, file)


if __name__ == "__main__":
    main()
