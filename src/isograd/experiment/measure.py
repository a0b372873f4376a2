"""Measuring the student of a run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from isograd.common.errors import UserError
from isograd.common.files import read_json
from isograd.common.quiet import quiet_libraries
from isograd.evaluate import METRICS_FORMAT
from isograd.evaluate.harness.backends import Subject
from isograd.isomers import load_isomers
from isograd.student import student_path

__all__ = ["evaluate_run", "is_measured", "load_run_student", "named_subjects", "resolve_model"]

Progress = Callable[[int, int], None]


def resolve_model(name: str) -> str:
    """``builtin`` is the student that isograd brings; any other name stands for itself."""
    return str(student_path()) if name == "builtin" else name


def load_run_student(output: Path) -> tuple[Any, Any]:
    """The student of a finished run and its tokenizer; the base model where the run trained none.

    Raises:
        UserError: no run, or one that is not finished.
    """
    from isograd.evaluate.suite import load_student

    quiet_libraries()
    model, adapter, trust_remote_code = _run_parts(output)
    return load_student(resolve_model(model), adapter, trust_remote_code=trust_remote_code)


def _run_parts(output: Path) -> tuple[str, Path | None, bool]:
    record = read_json(output / "run.json")
    if record["status"] != "finished":
        raise UserError(f"{output}: its run is not finished (status {record['status']}); run it again to resume it")
    config = record["config"]
    adapter = None if record.get("base") else output / "adapter"
    return config["model"], adapter, config["trust_remote_code"]


def named_subjects(names: Sequence[str], *, base: bool = False, trust_remote_code: bool = False) -> list[Subject]:
    """The models that names stand for, in order.

    Args:
        names: run folders, folders of adapters, or models: a folder, a hub id, or ``builtin``.
        base: also the models under the adapters, before them.
        trust_remote_code: let the repositories run their own code.

    Raises:
        UserError: a run that is not finished, or an adapter that does not name its model.
    """
    found = []
    for name in names:
        model, adapter = name, None
        if (Path(name) / "run.json").is_file():
            # Whether code may be run is for this caller to say, not for a folder that may be another's.
            model, adapter, _ = _run_parts(Path(name))
        elif (Path(name) / "adapter_config.json").is_file():
            model, adapter = read_json(Path(name) / "adapter_config.json").get("base_model_name_or_path"), Path(name)
            if not model:
                raise UserError(f"{name}: adapter_config.json names no base model (base_model_name_or_path)")
        found.append((model, Subject(name, resolve_model(model), adapter, trust_remote_code)))
    bases = {}
    for model, subject in found:
        if base and subject.adapter is not None and model not in names:
            bases[subject.model] = replace(subject, label=model, adapter=None)
    return [*bases.values(), *(subject for _, subject in found)]


def evaluate_run(output: Path, splits: Mapping[str, Path], *, progress: Progress | None = None) -> dict[str, Any]:
    """Measure a run's student on isomer sets and write ``metrics.json`` and ``examples.jsonl``.

    Measurements of the same adapter on the same files are reused, if they are in today's format.

    Args:
        output: a run folder.
        splits: evaluation files by split name.
        progress: called with (completions done, completions in all).

    Raises:
        UserError: an unreadable file, or a folder without a finished run.
    """
    from isograd.evaluate.suite import evaluate_student

    sets = {name: load_isomers(path) for name, path in splits.items()}
    digests = _digests(output, splits)
    known = _known_metrics(output)
    if known.get("measured") == digests:
        return known
    model, tokenizer = load_run_student(output)
    return evaluate_student(model, tokenizer, sets, output=output, measured=digests, progress=progress)


def is_measured(output: Path, splits: Mapping[str, Path]) -> bool:
    """Whether a run folder holds measurements of its present adapter on these files, in today's format."""
    if not all(path.is_file() for path in splits.values()):
        return False
    return bool(_known_metrics(output).get("measured") == _digests(output, splits))


def _digests(output: Path, splits: Mapping[str, Path]) -> dict[str, str]:
    adapter = output / "adapter" / "adapter_model.safetensors"
    read = {**splits, **({"adapter": adapter} if adapter.is_file() else {})}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in read.items()}
    return {**digests, "metrics format": str(METRICS_FORMAT)}


def _known_metrics(output: Path) -> dict[str, Any]:
    file = output / "metrics.json"
    known: dict[str, Any] = read_json(file) if file.is_file() else {}
    return known
