"""One reinforcement-learning run, from isomer sets and an adapter to a better adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isograd.common.models import load_causal_lm
from isograd.common.quiet import quiet_libraries
from isograd.isomers import load_isomers
from isograd.isomers.views import to_prompts
from isograd.reinforce.run_config import ReinforceConfig, adapter_folder
from isograd.runs.folder import Outcome, Progress, run_in_folder

__all__ = ["TRAINING_DEFAULTS", "check_settings", "run_reinforce"]

TRAINING_DEFAULTS: dict[str, Any] = {
    "per_device_train_batch_size": 64,
    "num_generations": 8,
    # Several steps a generation: else every ratio is 1 and the methods differ in their normalization alone.
    "steps_per_generation": 4,
    "gradient_accumulation_steps": 1,
    "learning_rate": 3e-4,
    "lr_scheduler_type": "constant",
    "beta": 0.0,
    "logging_steps": 1,
    "save_steps": 40,
    "save_total_limit": 2,
    "gradient_checkpointing": False,
    "share_prompts": True,
    "report_to": "none",
    "disable_tqdm": True,
}
"""For a student of any size; a configuration's own values win."""


def run_reinforce(
    config: ReinforceConfig, output: Path, *, model_path: str | None = None, progress: Progress | None = None
) -> Outcome:
    """Train one student by group reinforcement learning: ``run.json``, ``training.jsonl``, ``adapter/``.

    A finished run of the same configuration is reused, an interrupted one resumed; see
    :func:`~isograd.runs.folder.run_in_folder` and :func:`~isograd.runs.training.train_adapter`. ``save_steps`` should
    be a multiple of the steps that share a generation, or a resumed run draws anew what an uninterrupted one would have
    gone on using.

    Args:
        config: what to run.
        output: the run folder.
        model_path: where the model lies, if ``config.model`` is a name for it.
        progress: called with (steps done, steps in all, last logged loss).

    Returns:
        ``finished``, ``reused``, or ``stopped`` after an interruption.

    Raises:
        UserError: the folder holds another run, or the configuration does not fit model or data.
    """
    path = model_path or config.model
    return run_in_folder(
        config, output, config.digest(path), lambda record: _train(config, output, record, path, progress)
    )


def check_settings(config: ReinforceConfig) -> None:
    """Refuse settings that no training could begin with; model and data are not looked at.

    Raises:
        UserError: an impossible value, in one line.
    """
    from isograd.reinforce.config import IsomerGRPOConfig
    from isograd.runs.training import settings_as_user_errors, trainer_settings

    quiet_libraries()
    with settings_as_user_errors():
        IsomerGRPOConfig(**trainer_settings(config, Path("unused"), TRAINING_DEFAULTS))


def _train(
    config: ReinforceConfig, output: Path, record: dict[str, Any], model_path: str, progress: Progress | None
) -> bool:
    from datasets import Dataset
    from peft import PeftModel
    from transformers import set_seed

    from isograd.reinforce.config import IsomerGRPOConfig
    from isograd.reinforce.reward_names import make_reward
    from isograd.reinforce.trainer import IsomerGRPOTrainer
    from isograd.runs.training import (
        lora_config,
        refuse_processes,
        settings_as_user_errors,
        train_adapter,
        trainer_settings,
    )

    refuse_processes("reinforce", "IsomerGRPOTrainer")
    quiet_libraries()
    sets = [isomer_set for path in config.data for isomer_set in load_isomers(path)]
    model, tokenizer = load_causal_lm(model_path, trust_remote_code=config.trust_remote_code)
    lengths = [len(ids) for ids in tokenizer([m.completion for s in sets for m in s.members])["input_ids"]]
    # Room for the longest reference and half as much again.
    defaults = {"max_completion_length": max(lengths) * 3 // 2, **TRAINING_DEFAULTS}
    # The adapter's first weights must not depend on what loading the model has drawn.
    set_seed(config.seed)
    if config.adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter_folder(config.adapter)), is_trainable=True)
    with settings_as_user_errors():
        trainer = IsomerGRPOTrainer(
            model,
            [make_reward(name, parameters) for name, parameters in config.rewards.items()],
            IsomerGRPOConfig(**trainer_settings(config, output, defaults)),
            train_dataset=Dataset.from_list(to_prompts(sets)),
            processing_class=tokenizer,
            peft_config=None if config.adapter is not None else lora_config(config),
        )
    return train_adapter(trainer, tokenizer, output, record, progress)
