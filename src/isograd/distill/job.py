"""One distillation run: configuration, data, training, and a run folder that says what was done."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json, write_text
from isograd.common.quiet import quiet_libraries
from isograd.isomers import IsomerSet, load_isomers
from isograd.isomers.benchmarks import FORMATS, read_benchmark

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["RUN_FORMAT", "DataSource", "DistillConfig", "describe_environment", "load_config", "run_distill"]

RUN_FORMAT = 1
PACKAGES = ("isograd", "torch", "transformers", "trl", "peft", "accelerate", "datasets")


class DataSource(BaseModel):
    """A training file.

    Attributes:
        path: JSON lines.
        format: ``isomers`` (sets), or a key of ``isograd.isomers.benchmarks.FORMATS``.
        domain: the domain of all its rows; isomer sets name their own.
    """

    model_config = ConfigDict(extra="forbid")

    path: Path
    format: str = "isomers"
    domain: str | None = None

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("isomers", *FORMATS):
            raise ValueError(f"unknown format {value!r}; there are: isomers, {', '.join(FORMATS)}")
        return value


class DistillConfig(BaseModel):
    """Everything that determines a run.

    Attributes:
        name: shown in tables; by default the method's.
        model: a local folder, a hub id, or ``builtin`` for the student that isograd brings.
        trust_remote_code: let the model's repository run its own code.
        data: training files: all isomer sets, or all supervised rows with a domain each.
        lora: fields of ``peft.LoraConfig``.
        training: fields of :class:`~isograd.distill.IsomerSFTConfig`.
        seed: of adapter initialization, batch order and sketches.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    model: str = "builtin"
    trust_remote_code: bool = False
    data: Annotated[list[DataSource], Field(min_length=1)]
    lora: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0

    @property
    def label(self) -> str:
        """The name, or the method and its consistency term."""
        if self.name:
            return self.name
        method = str(self.training.get("method", "erm"))
        return f"{method}+consistency" if self.training.get("consistency") else method

    def digest(self) -> str:
        """Hash of the configuration, the contents of its data files and isograd's version: 16 hexadecimal digits."""
        content = self.model_dump(mode="json")
        content["version"] = version("isograd")
        content["files"] = [hashlib.sha256(_bytes(source.path)).hexdigest() for source in self.data]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


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


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; make isomers with: isograd isomers make") from None


def load_config(path: Path, overrides: Sequence[str] = ()) -> DistillConfig:
    """Read a YAML configuration.

    Args:
        path: the file.
        overrides: ``dotted.key=value`` texts; values are YAML.

    Raises:
        UserError: an unreadable file, an override that is not ``key=value``, or an unknown or invalid field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a configuration is a mapping with at least the field data")
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign:
            raise UserError(f"--set {override!r}: write it as key=value, for example training.max_steps=100")
        place = content
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UserError(f"--set {override!r}: {parent!r} is not a section")
        place[last] = yaml.safe_load(value)
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], where: str) -> DistillConfig:
    """Validate a configuration; ``where`` names it in errors.

    Raises:
        UserError: an unknown or invalid field.
    """
    try:
        config = DistillConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    _check_names(config.training, where, "training", "isograd.distill.config", "IsomerSFTConfig")
    _check_names(config.lora, where, "lora", "peft", "LoraConfig")
    return config


def _check_names(section: dict[str, Any], where: str, title: str, module: str, cls: str) -> None:
    if not section:
        return
    known = [field.name for field in fields(getattr(importlib.import_module(module), cls)) if field.init]
    for name in section:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UserError(f"{where}: {title}.{name}: {cls} has no such field{hint}")


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
        return [isomer_set for source in sources for isomer_set in load_isomers(source.path)]
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
    digest = config.digest()
    record_file = output / "run.json"
    record = read_json(record_file) if record_file.is_file() else None
    # A run that failed before its first checkpoint has nothing to lose: a mended configuration may take its place.
    lost = record is not None and record["status"] == "failed" and not any(output.glob("checkpoints/checkpoint-*"))
    if record is not None and record.get("config_hash") != digest and not lost:
        raise UserError(f"{output}: holds a run of another configuration; choose another folder or delete this one")
    if record is not None and record["status"] == "finished":
        return "reused"
    elapsed = record["seconds"] if record is not None and record["status"] == "running" else 0.0
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
        stopped = _train(config, output, record, model_path or config.model, progress)
    except Exception as error:
        write_json(record_file, {**record, "status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise
    if stopped:
        return "stopped"
    write_json(record_file, {**record, "status": "finished"})
    # Last: a kill before this line leaves a finished run with checkpoints too many, never one without its adapter.
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    return "finished"


def _train(
    config: DistillConfig, output: Path, record: dict[str, Any], model_path: str, progress: Progress | None
) -> bool:
    """Train until done or interrupted; returns whether it was interrupted. Updates steps and seconds of ``record``."""
    import torch
    from peft import LoraConfig
    from transformers import AutoTokenizer, PrinterCallback, set_seed

    from isograd.distill.callbacks import RunFolderCallback, last_checkpoint
    from isograd.distill.config import IsomerSFTConfig
    from isograd.distill.trainer import IsomerSFTTrainer

    quiet_libraries()
    data = load_data(config.data)
    checkpoints = output / "checkpoints"
    cuda = torch.cuda.is_available()
    set_seed(config.seed)
    arguments = IsomerSFTConfig(
        **{
            "output_dir": str(checkpoints),
            "seed": config.seed,
            "use_cpu": not cuda,
            "bf16": cuda and torch.cuda.is_bf16_supported(),
            **TRAINING_DEFAULTS,
            **config.training,
        }
    )
    model = load_model(model_path, config.trust_remote_code)
    tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=config.trust_remote_code)
    # The adapter's first weights must not depend on what loading the model has drawn.
    set_seed(config.seed)
    callback = RunFolderCallback(output, progress)
    trainer = IsomerSFTTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=LoraConfig(task_type="CAUSAL_LM", **{**LORA_DEFAULTS, **config.lora}),
        callbacks=[callback],
    )
    trainer.remove_callback(PrinterCallback)
    start, before = time.perf_counter(), record["seconds"]
    with callback.catching_signals():
        callback.on_tick = lambda: write_json(
            output / "run.json", {**record, "seconds": before + time.perf_counter() - start}
        )
        trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    record["seconds"] = before + time.perf_counter() - start
    record["steps"] = trainer.state.global_step
    if callback.interrupted and trainer.state.global_step < trainer.state.max_steps:
        return True
    # Not trainer.save_model, which would add a pickle (training_args.bin) to the adapter.
    adapter: Any = trainer.accelerator.unwrap_model(trainer.model)
    adapter.save_pretrained(output / "adapter")
    tokenizer.save_pretrained(output / "adapter")
    return False


def load_model(path: str, trust_remote_code: bool) -> Any:
    """A causal LM from a folder or the hub, safetensors only.

    Raises:
        UserError: it cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            path, use_safetensors=True, trust_remote_code=trust_remote_code, dtype="auto"
        )
    except (OSError, ValueError) as error:
        raise UserError(f"model {path!r} cannot be loaded: {' '.join(str(error).split())}") from None


def write_training_log(output: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write ``training.jsonl`` from the trainer's log history, atomically, so that a resumed run repeats no line."""
    keep = [entry for entry in history if "loss" in entry]
    write_text(output / "training.jsonl", "".join(json.dumps(entry) + "\n" for entry in keep))
