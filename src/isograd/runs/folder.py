"""A run folder: what was asked for, what became of it, and whether it may be gone on with."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json
from isograd.runs.config import RunConfig

__all__ = ["RUN_FORMAT", "Outcome", "Progress", "describe_environment", "has_trained", "run_in_folder", "source_hash"]

RUN_FORMAT = 1
PACKAGES = ("isograd", "torch", "transformers", "trl", "peft", "accelerate", "datasets")

Progress = Callable[[int, int, float | None], None]
"""Called with (steps done, steps in all, last logged loss)."""
Outcome = Literal["finished", "reused", "stopped"]


@functools.cache
def source_hash() -> str:
    """Hash of isograd's own modules, which tells revisions of one version apart: 12 hexadecimal digits."""
    root = Path(__file__).parents[1]
    told = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        told.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return told.hexdigest()[:12]


def processor() -> str:
    """The processor's model where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def describe_environment() -> dict[str, Any]:
    """``versions`` of the packages that decide a run's result, and the ``machine`` it ran on."""
    import torch

    return {
        "versions": {package: version(package) for package in PACKAGES} | {"isograd source": source_hash()},
        "machine": {
            "platform": platform.platform(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
            "threads": torch.get_num_threads(),
        },
    }


def has_trained(output: Path, record: Mapping[str, Any]) -> bool:
    """Whether a run of this record has saved anything: one that has not may give way to a mended configuration."""
    return record.get("status") == "finished" or any(output.glob("checkpoints/checkpoint-*"))


def run_in_folder(config: RunConfig, output: Path, digest: str, train: Callable[[dict[str, Any]], bool]) -> Outcome:
    """Train in a run folder, and keep its ``run.json`` true at every moment.

    A finished run of the same configuration is reused; an unfinished one is gone on with, from what ``train`` finds
    there. Checkpoints are deleted at the end: their optimizer state is a torch pickle.

    Args:
        config: of the run.
        output: its folder.
        digest: hash of what determines the run.
        train: given the record of ``run.json``, in which it updates ``steps`` and ``seconds``; true where it was
            interrupted.

    Returns:
        ``finished``, ``reused``, or ``stopped`` after an interruption.

    Raises:
        UserError: the folder holds another run.
    """
    record_file = output / "run.json"
    record = read_json(record_file) if record_file.is_file() else None
    if record is not None and record.get("config_hash") != digest:
        if has_trained(output, record):
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
        stopped = train(record)
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
    for name in ("checkpoints", "adapter", "tensorboard"):
        shutil.rmtree(output / name, ignore_errors=True)
    for name in ("training.jsonl", "metrics.json", "examples.jsonl"):
        (output / name).unlink(missing_ok=True)
