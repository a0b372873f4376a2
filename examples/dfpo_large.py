"""DFPO on a model of any size, with vLLM for the generations: a script for ``accelerate launch``.

    accelerate launch --config_file zero3 examples/dfpo_large.py --model Qwen/Qwen3-32B --vllm server --output runs/dfpo

The dataset has the columns ``prompt`` and ``solution``, like ``trl-lib/DeepMath-103K``; a local JSONL file will do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from datasets import Dataset, load_dataset
from peft import LoraConfig

from isograd.reinforce import IsomerGRPOConfig, IsomerGRPOTrainer
from isograd.reinforce.rewards import MathEqual


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a hub id or a folder")
    parser.add_argument("--dataset", default="trl-lib/DeepMath-103K", help="a hub id, or a JSONL file")
    parser.add_argument("--output", required=True)
    parser.add_argument("--vllm", choices=["server", "colocate", "none"], default="none")
    parser.add_argument("--group-weights", choices=["none", "min_replace", "orthogonal"], default="min_replace")
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--groups", type=int, default=1, help="groups of each process and micro-batch")
    parser.add_argument("--max-completion-length", type=int, default=16384)
    parser.add_argument("--learning-rate", type=float, default=1e-6)
    parser.add_argument("--max-steps", type=int, default=200)
    parser.add_argument("--rank", type=int, default=0, help="of a LoRA adapter; 0 trains all weights")
    parser.add_argument("--cpu", action="store_true")
    asked = parser.parse_args()

    if Path(asked.dataset).is_file():
        data = Dataset.from_json(asked.dataset)
    else:
        data = load_dataset(asked.dataset, split="train")
    args = IsomerGRPOConfig(
        output_dir=asked.output,
        # DFPO: ratios by sequence, no clipping, the smallest weight of each group for all of it.
        loss_type="grpo",
        importance_sampling_level="sequence",
        clip="none",
        group_weights=asked.group_weights,
        num_generations=asked.group_size,
        per_device_train_batch_size=asked.groups * asked.group_size,
        # Several optimizer steps a generation: else every ratio is 1 and the methods hardly differ.
        steps_per_generation=4,
        gradient_accumulation_steps=1,
        max_completion_length=asked.max_completion_length,
        learning_rate=asked.learning_rate,
        max_steps=asked.max_steps,
        use_vllm=asked.vllm != "none",
        vllm_mode="colocate" if asked.vllm == "none" else asked.vllm,
        use_cpu=asked.cpu,
        bf16=not asked.cpu,
        gradient_checkpointing=True,
        logging_steps=1,
        report_to="none",
    )
    trainer = IsomerGRPOTrainer(
        asked.model,
        MathEqual(column="solution"),
        args,
        train_dataset=data,
        peft_config=LoraConfig(r=asked.rank, target_modules="all-linear") if asked.rank else None,
    )
    trainer.train()
    trainer.save_model(asked.output)


if __name__ == "__main__":
    main()
