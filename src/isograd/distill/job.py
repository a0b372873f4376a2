"""One distillation run: data, training, and a run folder that says what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isograd.common.errors import UserError
from isograd.common.models import load_causal_lm
from isograd.common.quiet import quiet_libraries
from isograd.distill.run_config import DataSource, DistillConfig
from isograd.isomers import IsomerSet, load_isomers
from isograd.isomers.benchmarks import read_benchmark
from isograd.runs.folder import Outcome, Progress, run_in_folder

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["TRAINING_DEFAULTS", "check_settings", "load_data", "run_distill"]

TRAINING_DEFAULTS: dict[str, Any] = {
    "per_device_train_batch_size": 32,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 20,
    "logging_steps": 10,
    "save_steps": 100,
    "save_total_limit": 2,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
}
"""For a student of any size; a configuration's own values win."""


def load_data(sources: Sequence[DataSource]) -> list[IsomerSet] | Dataset:
    """Isomer sets, or one dataset of rows with a domain each.

    Raises:
        UserError: unreadable files, sets and rows mixed, or rows without a domain.
    """
    kinds = {source.format == "isomers" for source in sources}
    if kinds == {True}:
        sets = [isomer_set for source in sources for isomer_set in load_isomers(source.path)]
        for name, count in Counter(isomer_set.id for isomer_set in sets).items():
            if count > 1:
                raise UserError(f"the data holds {count} isomer sets with the id {name!r}; ids must differ")
        return sets
    if len(kinds) > 1:
        raise UserError("data mixes isomer sets and plain rows; train on one kind at a time")
    from datasets import Dataset

    rows = []
    for source in sources:
        if source.domain is None:
            raise UserError(f"{source.path}: say which domain its rows belong to (field domain)")
        rows += [
            {"prompt": row.prompt, "completion": row.completion, "domain": source.domain}
            for row in read_benchmark(source.path, source.format)
        ]
    return Dataset.from_list(rows)


def check_settings(config: DistillConfig) -> None:
    """Refuse settings that no training could begin with; model and data are not looked at.

    Raises:
        UserError: an impossible value, in one line.
    """
    from isograd.distill.config import IsomerSFTConfig
    from isograd.distill.inputs import refuse_inexact
    from isograd.runs.training import lora_config, settings_as_user_errors, trainer_settings

    quiet_libraries()
    with settings_as_user_errors():
        refuse_inexact(IsomerSFTConfig(**trainer_settings(config, Path("unused"), TRAINING_DEFAULTS)), {})
        lora_config(config)


def run_distill(
    config: DistillConfig, output: Path, *, model_path: str | None = None, progress: Progress | None = None
) -> Outcome:
    """Train one student and write its run folder: ``run.json``, ``training.jsonl``, ``adapter/``.

    A finished run of the same configuration is reused, an interrupted one resumed; see
    :func:`~isograd.runs.folder.run_in_folder` and :func:`~isograd.runs.training.train_adapter`.

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


def _train(
    config: DistillConfig, output: Path, record: dict[str, Any], model_path: str, progress: Progress | None
) -> bool:
    from transformers import set_seed

    from isograd.distill.config import IsomerSFTConfig
    from isograd.distill.trainer import IsomerSFTTrainer
    from isograd.runs.training import (
        lora_config,
        refuse_processes,
        settings_as_user_errors,
        train_adapter,
        trainer_settings,
    )

    refuse_processes("distill", "IsomerSFTTrainer")
    quiet_libraries()
    data = load_data(config.data)
    set_seed(config.seed)
    model, tokenizer = load_causal_lm(model_path, trust_remote_code=config.trust_remote_code)
    # The adapter's first weights must not depend on what loading the model has drawn.
    set_seed(config.seed)
    with settings_as_user_errors():
        trainer = IsomerSFTTrainer(
            model=model,
            args=IsomerSFTConfig(**trainer_settings(config, output, TRAINING_DEFAULTS)),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=lora_config(config),
        )
    return train_adapter(trainer, tokenizer, output, record, progress)
