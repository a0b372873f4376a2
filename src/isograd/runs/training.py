"""Training of an adapter that survives interruptions."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import PrinterCallback, TrainerState
from transformers.integrations.integration_utils import TensorBoardCallback

from isograd.common.errors import UserError
from isograd.common.files import write_json
from isograd.runs.callbacks import RunFolderCallback, is_last_step, last_checkpoint, peak_memory_bytes
from isograd.runs.card import card_facts, write_card
from isograd.runs.config import RunConfig
from isograd.runs.folder import Progress

__all__ = ["lora_config", "refuse_processes", "settings_as_user_errors", "train_adapter", "trainer_settings"]

_LORA_DEFAULTS: dict[str, Any] = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": "all-linear"}


def lora_config(config: RunConfig) -> LoraConfig:
    """The run's new adapter; its own values win over defaults for a student of any size."""
    return LoraConfig(task_type="CAUSAL_LM", **{**_LORA_DEFAULTS, **config.lora})


def trainer_settings(config: RunConfig, output: Path, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What the trainer's configuration is made with: ``defaults`` under the run's own, and what a run decides."""
    cuda = torch.cuda.is_available()
    return {
        "use_cpu": not cuda,
        "bf16": cuda and torch.cuda.is_bf16_supported(),
        **defaults,
        **config.training,
        "output_dir": str(output / "checkpoints"),
        "seed": config.seed,
    }


@contextmanager
def settings_as_user_errors() -> Iterator[None]:
    """Within the block, what TRL, transformers and PEFT raise about settings becomes one line for the user.

    Raises:
        UserError: they raised TypeError or ValueError.
    """
    try:
        yield
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"training or lora settings: {' '.join(str(error).split())}") from error


def refuse_processes(command: str, trainer: str) -> None:
    """Nothing, in a process of its own.

    Raises:
        UserError: this is one of several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"isograd {command} runs in one process; for several, call {trainer} in a script")


def train_adapter(
    trainer: Any, tokenizer: Any, output: Path, record: dict[str, Any], progress: Progress | None
) -> bool:
    """Train, or go on from the last checkpoint, until done or interrupted; then save ``adapter/``.

    An interrupted run ends with the same weights as an uninterrupted one on the same machine. On Ctrl-C (or SIGTERM)
    the current step is finished and saved first.

    Args:
        trainer: of a PEFT model; its checkpoints go to ``checkpoints/`` in the run folder.
        tokenizer: saved beside the adapter.
        output: the run folder.
        record: of ``run.json``; gets ``steps``, ``seconds``, ``step_seconds``, ``peak_memory_bytes`` and ``card``.
        progress: told of every step.

    Returns:
        Whether it was interrupted.
    """
    callback = RunFolderCallback(output, progress)
    trainer.add_callback(callback)
    trainer.remove_callback(PrinterCallback)
    for told in trainer.callback_handler.callbacks:
        if isinstance(told, TensorBoardCallback) and told.logging_dir is None:
            # Its own choice is beside the checkpoints, which are deleted when the run is finished.
            told.logging_dir = str(output / "tensorboard")
    start, before = time.perf_counter(), record["seconds"]
    with callback.catching_signals():
        callback.on_tick = lambda: write_json(
            output / "run.json", {**record, "seconds": before + time.perf_counter() - start}
        )
        saved = last_checkpoint(output / "checkpoints")
        if saved is not None and is_last_step(saved):
            # Stopped between the last checkpoint and the adapter: train() would go one step too far.
            trainer._load_from_checkpoint(saved)
            trainer.state = TrainerState.load_from_json(f"{saved}/trainer_state.json")
        else:
            trainer.train(resume_from_checkpoint=saved)
    record["seconds"] = before + time.perf_counter() - start
    record["steps"] = trainer.state.global_step
    if callback.step_seconds:
        record["step_seconds"] = statistics.median(callback.step_seconds)
        record["peak_memory_bytes"] = peak_memory_bytes()
    if callback.interrupted and trainer.state.global_step < trainer.state.max_steps:
        return True
    # Not trainer.save_model, which would add a pickle (training_args.bin) to the adapter.
    adapter: Any = trainer.accelerator.unwrap_model(trainer.model)
    adapter.save_pretrained(output / "adapter")
    tokenizer.save_pretrained(output / "adapter")
    # In place of PEFT's, which knows nothing of the run and names local folders.
    record["card"] = card_facts(record["config"], trainer.args, trainer.train_dataset, getattr(trainer, "method", None))
    write_card(output, record)
    return False
