"""DFPO on a model of any size, with vLLM for the generations: a script for ``accelerate launch``.

    accelerate launch --config_file examples/zero3.yaml examples/dfpo_large.py --model Qwen/Qwen3-32B --vllm server \
        --output runs/dfpo

The dataset has the columns ``prompt`` and ``solution``, like ``trl-lib/DeepMath-103K``; a local JSONL file will do.
What fits on which GPUs: docs/reinforce.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, load_dataset
from peft import LoraConfig

from isograd.reinforce import IsomerGRPOConfig, IsomerGRPOTrainer
from isograd.reinforce.rewards import MathEqual


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a hub id or a folder")
    parser.add_argument("--dataset", default="trl-lib/DeepMath-103K", help="a hub id, or a JSONL file")
    parser.add_argument("--output", required=True)
    parser.add_argument("--vllm", choices=["server", "colocate", "none"], default="none")
    parser.add_argument("--group-weights", choices=["none", "min_replace", "orthogonal"], default="min_replace")
    parser.add_argument("--group-size", type=int, default=4)
    parser.add_argument("--groups", type=int, default=1, help="groups of each process and micro-batch")
    parser.add_argument("--max-completion-length", type=int, default=8192)
    parser.add_argument("--learning-rate", type=float, default=1e-5, help="for an adapter; all weights take about 1e-6")
    parser.add_argument("--max-steps", type=int, default=200)
    parser.add_argument("--rank", type=int, default=64, help="of a LoRA adapter; 0 trains all weights")
    parser.add_argument("--cpu", action="store_true")
    return parser.parse_args(words)


def settings(asked: argparse.Namespace) -> IsomerGRPOConfig:
    return IsomerGRPOConfig(
        output_dir=asked.output,
        # DFPO: ratios by sequence, no clipping, the smallest weight of each group for all of it.
        loss_type="grpo",
        importance_sampling_level="sequence",
        clip="none",
        group_weights=asked.group_weights,
        num_generations=asked.group_size,
        # Whole groups: the weights look at all completions of one.
        per_device_train_batch_size=asked.groups * asked.group_size,
        # Several optimizer steps a generation: else every ratio is 1 and the methods hardly differ.
        steps_per_generation=4,
        gradient_accumulation_steps=1,
        max_completion_length=asked.max_completion_length,
        learning_rate=asked.learning_rate,
        max_steps=asked.max_steps,
        use_vllm=asked.vllm != "none",
        vllm_mode="colocate" if asked.vllm == "none" else asked.vllm,
        # TRL loads models in 32 bits; frozen weights need no more than 16.
        model_init_kwargs={"dtype": "bfloat16"} if asked.rank and not asked.cpu else None,
        use_cpu=asked.cpu,
        bf16=not asked.cpu,
        gradient_checkpointing=True,
        logging_steps=1,
        report_to="none",
    )


def main() -> None:
    asked = parse()
    if Path(asked.dataset).is_file():
        data = Dataset.from_json(asked.dataset)
    else:
        data = load_dataset(asked.dataset, split="train")
    trainer = IsomerGRPOTrainer(
        asked.model,
        MathEqual(column="solution"),
        settings(asked),
        train_dataset=data,
        peft_config=LoraConfig(r=asked.rank, lora_alpha=32, target_modules="all-linear") if asked.rank else None,
    )
    trainer.train()
    trainer.save_model(asked.output)


if __name__ == "__main__":
    main()
