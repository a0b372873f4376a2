"""The rewards in a training step of the real trainer: called, named and logged."""

from __future__ import annotations

import warnings
from pathlib import Path

from datasets import Dataset
from tests.tiny import tiny_llama
from transformers import AutoTokenizer

from isograd.isomers import create_isomers
from isograd.isomers.views import to_prompts
from isograd.reinforce import IsomerGRPOConfig, IsomerGRPOTrainer
from isograd.reinforce.rewards import choice_letter, exact_answer, isomer_agreement, isomer_answer, math_equal
from isograd.student import student_path


def test_one_step(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(student_path())
    model = tiny_llama(tokenizer, num_hidden_layers=1)
    rows = to_prompts(create_isomers("deduction", seed=1, size=2))
    members = len({row["domain"] for row in rows})
    rewards = [exact_answer, choice_letter, isomer_answer, math_equal, isomer_agreement]
    args = IsomerGRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2 * members,
        num_generations=2,
        max_completion_length=4,
        max_steps=1,
        logging_steps=1,
        shuffle_dataset=False,
        scale_rewards="none",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
    )
    with warnings.catch_warnings():
        # One generation, one step: nothing is to be learned here.
        warnings.filterwarnings("ignore", message="each generation is used for one optimizer step")
        trainer = IsomerGRPOTrainer(
            model, rewards, args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
        )
    trainer.train()
    logged = trainer.state.log_history[0]
    for reward in rewards:
        assert logged[f"rewards/{reward.__name__}/mean"] == 0.0
    assert logged["isomer_agreement/together"] == 1.0
    assert logged["isomer_agreement/agreement"] == 0.0
    assert logged["math_equal/late"] == 0.0
