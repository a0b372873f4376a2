"""What diagnostics cost, and what reading a prompt once saves, in group RL on the built-in student.

    python benchmarks/group_rl.py [--sizes 2 4 8 16] [--steps 32] [--rows 32] [--family arithmetic] [--depth 2]

One short GRPO run for each group size and way, all in one process: *shared* reads the prompt of a group once
(``share_prompts``), *plain* is TRL's way. Told are seconds of an optimizer step (mean over the run, its share of the
generations included), what part of it generation, scoring and the rest take, and the share of the time that the
diagnostics take: the time inside of everything that a run with ``diagnose=False`` would not do. The runs are
interleaved and repeated; medians over repeats.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback, set_seed

from isograd.common.models import load_causal_lm
from isograd.common.quiet import quiet_libraries
from isograd.isomers import create_isomers
from isograd.isomers.views import to_prompts
from isograd.reinforce import IsomerGRPOConfig, IsomerGRPOTrainer
from isograd.reinforce.job import TRAINING_DEFAULTS
from isograd.reinforce.rewards import isomer_answer
from isograd.student import student_path


class TimedTrainer(IsomerGRPOTrainer):
    """Adds up the seconds spent in its parts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        super().__init__(*args, **kwargs)

    def _timed(self, part: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        try:
            return call()
        finally:
            self.spent[part] += time.perf_counter() - start

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        return self._timed("step", lambda: super(TimedTrainer, self).training_step(*args, **kwargs))

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        return self._timed("generation", lambda: super(TimedTrainer, self)._generate_single_turn(*args, **kwargs))

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> Any:
        whole = super()._generate_and_score_completions
        return self._timed("generation and scoring", lambda: whole(*args, **kwargs))

    def _reweigh(self, *args: Any, **kwargs: Any) -> Any:
        # With TRL's own weights the rule is there for the diagnostics alone.
        return self._timed("diagnostics", lambda: super(TimedTrainer, self)._reweigh(*args, **kwargs))


def run(size: int, shared: bool, asked: argparse.Namespace) -> dict[str, float]:
    model, tokenizer = load_causal_lm(str(student_path()))
    sets = create_isomers(asked.family, seed=0, size=200, depth=asked.depth)
    lengths = [len(ids) for ids in tokenizer([m.completion for s in sets for m in s.members])["input_ids"]]
    set_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            **TRAINING_DEFAULTS,
            "output_dir": str(Path(folder)),
            "use_cpu": True,
            "bf16": False,
            "num_generations": size,
            "per_device_train_batch_size": asked.rows,
            "max_completion_length": max(lengths) + 4,
            "max_steps": asked.steps,
            "save_strategy": "no",
            "loss_type": "grpo",
            "share_prompts": shared,
            # The untrained student's answers differ in length as they do early in training.
            "learning_rate": 1e-4,
        }
        del settings["save_steps"], settings["save_total_limit"]
        trainer = TimedTrainer(
            model,
            [isomer_answer],
            IsomerGRPOConfig(**settings),
            train_dataset=Dataset.from_list(to_prompts(sets)),
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear"),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return {name: seconds / asked.steps for name, seconds in trainer.spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--rows", type=int, default=32, help="completions of an optimizer step")
    parser.add_argument("--family", default="arithmetic")
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    quiet_libraries()
    torch.set_num_threads(asked.threads)
    found: defaultdict[tuple[int, bool], list[dict[str, float]]] = defaultdict(list)
    for _ in range(asked.repeats):
        for size in asked.sizes:
            for shared in (False, True):
                found[size, shared].append(run(size, shared, asked))
    head = ("group", "prompts", "s / step", "generation", "scoring before", "rest", "diagnostics, % of step", "x plain")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for size in asked.sizes:
        plain = statistics.median(one["step"] for one in found[size, False])
        for shared in (False, True):
            runs = found[size, shared]

            def median(part: Callable[[dict[str, float]], float], runs: list[dict[str, float]] = runs) -> float:
                return statistics.median(map(part, runs))

            step = median(lambda one: one["step"])
            cells = (
                f"{size}",
                "once" if shared else "each",
                f"{step:.3f}",
                f"{median(lambda one: one['generation']):.3f}",
                f"{median(lambda one: one['generation and scoring'] - one['generation']):.3f}",
                f"{median(lambda one: one['step'] - one['generation and scoring']):.3f}",
                f"{100 * median(lambda one: one['diagnostics'] / one['step']):.1f}",
                f"{step / plain:.2f}",
            )
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
