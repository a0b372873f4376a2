"""One distillation run: data, training, and a run folder that says what was done."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json
from isograd.common.models import load_causal_lm
from isograd.common.quiet import quiet_libraries
from isograd.distill.run_config import DataSource, DistillConfig
from isograd.isomers import IsomerSet, load_isomers
from isograd.isomers.benchmarks import read_benchmark

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["RUN_FORMAT", "describe_environment", "load_data", "run_distill"]

RUN_FORMAT = 1
PACKAGES = ("isograd", "torch", "transformers", "trl", "peft", "accelerate", "datasets")

LORA_DEFAULTS: dict[str, Any] = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": "all-linear"}
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


def describe_environment() -> dict[str, Any]:
    """``versions`` of the packages that decide a run's result, and the ``machine`` it ran on."""
    import torch

    return {
        "versions": {package: version(package) for package in PACKAGES},
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
            "threads": torch.get_num_threads(),
        },
    }


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


Progress = Callable[[int, int, float | None], None]


def run_distill(
    config: DistillConfig, output: Path, *, model_path: str | None = None, progress: Progress | None = None
) -> Literal["finished", "reused", "stopped"]:
    """Train one student and write its run folder: ``run.json``, ``training.jsonl``, ``adapter/``.

    A finished run of the same configuration is reused; its checkpoints are deleted (their optimizer state is a torch
    pickle, the adapter that stays is safetensors). An interrupted one resumes from its last checkpoint and ends
    with the same weights as an uninterrupted run on the same machine. On Ctrl-C (or SIGTERM) the current step is
    finished and saved first.

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
    digest = config.digest(path)
    record_file = output / "run.json"
    record = read_json(record_file) if record_file.is_file() else None
    if record is not None and record.get("config_hash") != digest:
        # A run that has saved nothing has nothing to lose: a mended configuration may take its place.
        if record["status"] == "finished" or any(output.glob("checkpoints/checkpoint-*")):
            raise UserError(f"{output}: holds a run of another configuration; choose another folder or delete this one")
        record = None
    if record is None:
        _clear(output)
    elif record["status"] == "finished":
        return "reused"
    elapsed = 0.0 if record is None else record["seconds"]
    record = {
        "format": RUN_FORMAT,
        "name": output.name,
        "label": config.label,
        "seed": config.seed,
        "status": "running",
        "error": None,
        "config": config.model_dump(mode="json"),
        "config_hash": digest,
        **describe_environment(),
        "steps": 0,
        "seconds": elapsed,
    }
    write_json(record_file, record)
    try:
        stopped = _train(config, output, record, path, progress)
    except Exception as error:
        write_json(record_file, {**record, "status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise
    if stopped:
        return "stopped"
    write_json(record_file, {**record, "status": "finished"})
    # Last: a kill before this line leaves a finished run with checkpoints too many, never one without its adapter.
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    return "finished"


def _clear(output: Path) -> None:
    """Delete what an earlier run of another configuration may have left, lest it pass for this one's."""
    for name in ("checkpoints", "adapter"):
        shutil.rmtree(output / name, ignore_errors=True)
    for name in ("training.jsonl", "metrics.json", "examples.jsonl", "benchmarks.json"):
        (output / name).unlink(missing_ok=True)


def _train(
    config: DistillConfig, output: Path, record: dict[str, Any], model_path: str, progress: Progress | None
) -> bool:
    """Train until done or interrupted; returns whether it was interrupted. Updates steps and seconds of ``record``."""
    import torch
    from peft import LoraConfig
    from transformers import PrinterCallback, TrainerState, set_seed

    from isograd.distill.callbacks import RunFolderCallback, is_last_step, last_checkpoint, peak_memory_bytes
    from isograd.distill.config import IsomerSFTConfig
    from isograd.distill.trainer import IsomerSFTTrainer

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("isograd distill runs in one process; for several, call IsomerSFTTrainer in a script")
    quiet_libraries()
    data = load_data(config.data)
    checkpoints = output / "checkpoints"
    cuda = torch.cuda.is_available()
    set_seed(config.seed)
    settings = {
        "use_cpu": not cuda,
        "bf16": cuda and torch.cuda.is_bf16_supported(),
        **TRAINING_DEFAULTS,
        **config.training,
        "output_dir": str(checkpoints),
        "seed": config.seed,
    }
    model, tokenizer = load_causal_lm(model_path, trust_remote_code=config.trust_remote_code)
    # The adapter's first weights must not depend on what loading the model has drawn.
    set_seed(config.seed)
    callback = RunFolderCallback(output, progress)
    try:
        trainer = IsomerSFTTrainer(
            model=model,
            args=IsomerSFTConfig(**settings),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", **{**LORA_DEFAULTS, **config.lora}),
            callbacks=[callback],
        )
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        # TRL, transformers and PEFT check what they are given by raising these.
        raise UserError(f"training or lora settings: {' '.join(str(error).split())}") from error
    trainer.remove_callback(PrinterCallback)
    start, before = time.perf_counter(), record["seconds"]
    with callback.catching_signals():
        callback.on_tick = lambda: write_json(
            output / "run.json", {**record, "seconds": before + time.perf_counter() - start}
        )
        saved = last_checkpoint(checkpoints)
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
