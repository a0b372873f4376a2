"""Two steps with each kind of weights, under ``torchrun``: ``run_grpo.py FOLDER ROWS:STEPS ...`` saves the adapters.

Completions are drawn from the prompt and their number in the group, not by the model, so that the global batch is the
same whatever the number of processes and micro-batches. Run by test_grpo_trainer.py.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import save_file
from tests.tiny import tiny_llama
from transformers import AutoTokenizer

from isograd.reinforce import IsomerGRPOConfig, IsomerGRPOTrainer
from isograd.student import student_path

SIZE, LONGEST = 4, 6
SETTINGS: dict[str, dict[str, Any]] = {
    "grpo": {"loss_type": "grpo"},
    "dapo": {"loss_type": "dapo"},
    "dfpo": {
        "loss_type": "grpo",
        "group_weights": "min_replace",
        "clip": "none",
        "importance_sampling_level": "sequence",
    },
    "shared": {
        "loss_type": "grpo",
        "group_weights": "min_replace",
        "clip": "none",
        "importance_sampling_level": "sequence",
        "share_prompts": True,
    },
    "orthogonal": {"loss_type": "dr_grpo", "group_weights": "orthogonal", "clip": "symmetric"},
}

ACCUMULATED = ("dapo", "dfpo")


class Given(IsomerGRPOTrainer):
    """With completions, rewards and old log-probabilities of a seeded generator."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        rows = []
        for number, row in enumerate(inputs):
            rng = torch.Generator().manual_seed(10 * int(row["prompt"]) + number % SIZE)
            length = int(torch.randint(2, LONGEST + 1, (1,), generator=rng))
            ids = torch.randint(5, 90, (LONGEST,), generator=rng)
            noise = 0.3 * torch.randn(LONGEST, generator=rng, dtype=torch.float64)
            rows.append(
                (torch.tensor([3, 4 + int(row["prompt"])]), ids, length, float(torch.rand(1, generator=rng)), noise)
            )
        ids = torch.stack([row[1] for row in rows])
        mask = (torch.arange(LONGEST) < torch.tensor([[row[2]] for row in rows])).long()
        rewards = torch.tensor([row[3] for row in rows], dtype=torch.float64).unflatten(0, (-1, SIZE))
        prompt_ids = torch.stack([row[0] for row in rows])
        with torch.no_grad():
            logps, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                torch.cat([prompt_ids, ids], 1),
                torch.cat([torch.ones_like(prompt_ids), mask], 1),
                LONGEST,
            )
        tokens = self.accelerator.reduce(mask.sum(), reduction="sum")
        return {
            "prompt_ids": prompt_ids,
            "prompt_mask": torch.ones_like(prompt_ids),
            "completion_ids": ids,
            "completion_mask": mask,
            "advantages": (rewards - rewards.mean(1, keepdim=True)).flatten().float(),
            "old_per_token_logps": logps + torch.stack([row[4] for row in rows]),
            "num_items_in_batch": tokens,
        }


def train(settings: dict[str, Any], folder: Path, rows: int, steps: int, tokenizer: Any) -> dict[str, torch.Tensor]:
    arguments = IsomerGRPOConfig(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=rows,
        steps_per_generation=steps,
        gradient_accumulation_steps=steps,
        num_iterations=2,
        num_generations=SIZE,
        max_completion_length=LONGEST,
        max_steps=2,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        learning_rate=1.0,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        optim="sgd",
        ddp_find_unused_parameters=False,
        **settings,
    )
    trainer = Given(
        tiny_llama(tokenizer, hidden_size=16, intermediate_size=32).double(),
        lambda completions, **_: [0.0] * len(completions),
        arguments,
        train_dataset=Dataset.from_dict({"prompt": ["0", "1"]}),
        processing_class=tokenizer,
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear"),
    )
    for name, value in trainer.model.named_parameters():
        if value.requires_grad:
            generator = torch.Generator().manual_seed(len(name))
            value.data = torch.randn(value.shape, generator=generator, dtype=torch.float64) * 0.1
    trainer.train()
    return {name: value.detach() for name, value in trainer.model.named_parameters() if value.requires_grad}


def main() -> None:
    warnings.simplefilter("ignore")
    tokenizer = AutoTokenizer.from_pretrained(student_path())
    for layout in sys.argv[2:]:
        rows, steps = map(int, layout.split(":"))
        folder = Path(sys.argv[1]) / layout.replace(":", "x")
        folder.mkdir(parents=True, exist_ok=True)
        for name, settings in SETTINGS.items():
            # Accumulation is the same code for all rules; normalization by tokens and by groups may differ.
            if steps > 1 and name not in ACCUMULATED:
                continue
            trained = train(settings, folder, rows, steps, tokenizer)
            if int(os.environ["RANK"]) == 0:
                save_file({key: value.contiguous() for key, value in trained.items()}, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main()
