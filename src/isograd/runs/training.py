"""Training of an adapter that survives interruptions."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerState

from isograd.common.files import write_json
from isograd.runs.callbacks import RunFolderCallback, is_last_step, last_checkpoint, peak_memory_bytes
from isograd.runs.folder import Progress

__all__ = ["train_adapter"]


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
        record: of ``run.json``; gets ``steps``, ``seconds``, ``step_seconds`` and ``peak_memory_bytes``.
        progress: told of every step.

    Returns:
        Whether it was interrupted.
    """
    callback = RunFolderCallback(output, progress)
    trainer.add_callback(callback)
    trainer.remove_callback(PrinterCallback)
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
    return False
