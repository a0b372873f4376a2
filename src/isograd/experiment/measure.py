"""Measuring the student of a run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json
from isograd.common.quiet import quiet_libraries
from isograd.isomers import load_isomers
from isograd.isomers.benchmarks import read_benchmark
from isograd.student import student_path

__all__ = ["evaluate_run", "is_measured", "load_run_student", "resolve_model", "score_run"]

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
    record = read_json(output / "run.json")
    if record["status"] != "finished":
        raise UserError(f"{output}: its run is not finished (status {record['status']}); run it again to resume it")
    config = record["config"]
    return load_student(
        resolve_model(config["model"]),
        None if record.get("base") else output / "adapter",
        trust_remote_code=config["trust_remote_code"],
    )


def evaluate_run(output: Path, splits: Mapping[str, Path], *, progress: Progress | None = None) -> dict[str, Any]:
    """Measure a run's student on isomer sets and write ``metrics.json`` and ``examples.jsonl``.

    Measurements of the same adapter on the same files are reused.

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
    """Whether a run folder holds measurements of its present adapter on these files as they are now."""
    if not all(path.is_file() for path in splits.values()):
        return False
    return bool(_known_metrics(output).get("measured") == _digests(output, splits))


def _digests(output: Path, splits: Mapping[str, Path]) -> dict[str, str]:
    adapter = output / "adapter" / "adapter_model.safetensors"
    read = {**splits, **({"adapter": adapter} if adapter.is_file() else {})}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in read.items()}


def _known_metrics(output: Path) -> dict[str, Any]:
    file = output / "metrics.json"
    known: dict[str, Any] = read_json(file) if file.is_file() else {}
    return known


def score_run(output: Path, benchmarks: Mapping[str, Path], *, progress: Progress | None = None) -> dict[str, Any]:
    """Score a run's student on benchmark rows and write ``benchmarks.json``.

    Args:
        output: a run folder.
        benchmarks: files by format, a key of ``isograd.isomers.benchmarks.FORMATS``.
        progress: called with (rows done, rows in all) of each file.

    Raises:
        UserError: an unreadable file, or a folder without a finished run.
    """
    from isograd.evaluate.benchmarks import score_benchmark

    rows = {form: read_benchmark(path, form) for form, path in benchmarks.items()}
    model, tokenizer = load_run_student(output)
    scores = {form: score_benchmark(model, tokenizer, rows[form], form, progress=progress) for form in rows}
    write_json(output / "benchmarks.json", scores)
    return scores
