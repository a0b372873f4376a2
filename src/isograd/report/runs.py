"""Run folders as typed, cleaned records. Everything the report shows comes through here.

A run folder holds ``run.json``; ``metrics.json`` once the run was evaluated; and, if kept, ``training.jsonl`` and
``examples.jsonl``. The formats are described by the models below. A line of ``training.jsonl`` holds ``step`` and any
further numbers; of those the page draws ``loss``, ``loss/DOMAIN``, what reinforcement learning logs
(:mod:`isograd.report.panels`), ``cosine/DOMAIN/DOMAIN`` (of the domains' gradients), ``conflict`` (the rate of their
signs' conflicts) and ``mask/mean``, ``mask/LAYER`` (share that a gradient mask lets through).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from isograd.common.errors import UserError
from isograd.common.files import read_json
from isograd.report.reading import Interval, MaybeRate, Name, Number, Rate, Record, cleaned_object, validated

__all__ = ["LAYER_POOLINGS", "POOLINGS", "Distance", "Example", "Run", "SplitScore", "read_run", "read_runs"]

POOLINGS: Final = {"mean": "mean over tokens", "last": "last token"}
"""The poolings of representations that every measured run has, with their titles."""
LAYER_POOLINGS: Final = {**POOLINGS, "spans": "aligned spans"}
"""Those that are shown by layer; sets without aligned spans have none of the last."""

_MEND = "write the run folder again, or leave it out"


class DomainScore(Record):
    """Scores of one domain in one split; rates in [0, 1]."""

    n: int
    accuracy: Rate
    chain_accuracy: Rate | None = None


class SplitScore(Record):
    """Scores of one split; rates in [0, 1], intervals as (low, high). ``chance`` is the accuracy of guessing."""

    n: int
    n_sets: int | None = None
    n_graphs: int | None = None
    chance: MaybeRate = None
    accuracy: Rate
    accuracy_ci: Interval = None
    chain_accuracy: Rate | None = None
    chain_accuracy_ci: Interval = None
    by_domain: dict[str, DomainScore] = Field(default_factory=dict)


class Sides(Record):
    """One number within isomer sets and between them."""

    within: Number = None
    between: Number = None


class Distance(Sides):
    """Mean cosine distance of representations within isomer sets (the LCS: smaller is more consistent) and between.

    ``collapsed``: different problems have nearly the same representation, so that a small distance says nothing.
    ``cka`` holds 1 - CKA of the same representations.
    """

    collapsed: bool = False
    cka: Sides = Sides()

    @property
    def ratio(self) -> float | None:
        """Within over between; None where one is not known, or where the representation is collapsed."""
        if self.within is None or not self.between or self.collapsed:
            return None
        return self.within / self.between


class _Poolings(Record):
    mean: Distance = Distance()
    last: Distance = Distance()
    spans: Distance = Distance()


class _Lcs(_Poolings):
    layer: str | int | None = None
    n_sets: int | None = None
    by_layer: dict[int, _Poolings] = Field(default_factory=dict)


class _Metrics(Record):
    format: Literal[3]
    splits: dict[str, SplitScore]
    lcs: _Lcs = _Lcs()


class Example(Record):
    """One problem put to one student."""

    set_id: str
    domain: str
    split: str
    cue: str | None = None
    problem: str
    reference: str
    answer: str
    completion: str
    predicted: str | None = None
    correct: bool
    chain_correct: bool | None = None


class Run(Record):
    """One run folder. ``seconds`` is the wall time of training, ``step_seconds`` the median of its steps,
    ``peak_memory_bytes`` the most memory it held; ``training`` holds the finite numbers of each step.
    """

    format: Literal[1]
    name: Name
    label: Name
    seed: int
    status: Literal["finished", "failed", "running"]
    error: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    config_hash: str = ""
    versions: dict[str, Any] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)
    steps: int | None = None
    seconds: Number = None
    step_seconds: Number = None
    peak_memory_bytes: Number = None
    base: bool = False
    metrics: _Metrics | None = None
    training: tuple[dict[str, float], ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def splits(self) -> dict[str, SplitScore]:
        """Scores by split; empty unless the run finished and was evaluated."""
        return {} if self.metrics is None or self.trouble else self.metrics.splits

    @property
    def lcs(self) -> _Lcs:
        """Distances of representations; all unknown unless the run finished and was evaluated."""
        return _Lcs() if self.metrics is None or self.trouble else self.metrics.lcs

    @property
    def trouble(self) -> str | None:
        """Why this run has no scores, in words, or None."""
        if self.status == "failed":
            return f"failed: {self.error or 'no error was recorded'}"
        if self.status == "running":
            return "incomplete: still running, or stopped before it could record an end"
        if self.metrics is None:
            why = f" ({self.error})" if self.error else ""
            return f"incomplete: training finished but there is no metrics.json{why}"
        return None


def read_runs(run_dirs: Sequence[Path]) -> list[Run]:
    """Read run folders in the given order.

    Raises:
        UserError: no folders; two scored runs with the same label and seed (they would count as independent seeds);
            or as in :func:`read_run`.
    """
    if not run_dirs:
        raise UserError("no run folders were given; name at least one folder that holds a run.json")
    runs: list[Run] = []
    seen: dict[tuple[str, int], Path] = {}
    for folder in run_dirs:
        run = read_run(Path(folder))
        if run.trouble is None:
            key = (run.label, run.seed)
            if key in seen:
                raise UserError(
                    f"{seen[key]} and {folder} are both runs of {run.label!r} with seed {run.seed}; "
                    "leave one out, or give one another label"
                )
            seen[key] = Path(folder)
        runs.append(run)
    return runs


def read_run(folder: Path) -> Run:
    """Read one run folder; only ``run.json`` must exist.

    The last line of a ``.jsonl`` file may be cut short, as a killed run leaves it; it is ignored.

    Raises:
        UserError: a file is missing, is not JSON or does not hold what its format asks for; the message names the file
            and the field.
    """
    if not (folder / "run.json").is_file():
        raise UserError(f"{folder / 'run.json'}: no such file; name run folders, each with a run.json")
    record = cleaned_object(read_json(folder / "run.json"), folder / "run.json")
    run = validated(Run, _without(record, "metrics", "training", "examples"), folder / "run.json", _MEND)
    extra: dict[str, Any] = {}
    metrics = folder / "metrics.json"
    if metrics.is_file():
        extra["metrics"] = validated(_Metrics, cleaned_object(read_json(metrics), metrics), metrics, _MEND)
    extra["training"] = tuple(_step(row, place) for place, row in _lines(folder / "training.jsonl"))
    extra["examples"] = tuple(validated(Example, row, place, _MEND) for place, row in _lines(folder / "examples.jsonl"))
    return run.model_copy(update=extra)


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """``(file:line, object)`` of each line; an absent file has none."""
    if not path.is_file():
        return []
    # Split on bytes: str.splitlines would also break inside strings that hold U+2028.
    lines = path.read_bytes().split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    rows = []
    for number, line in enumerate(lines, start=1):
        place = f"{path}:{number}"
        try:
            value = json.loads(line.decode("utf-8"))
        except ValueError as error:
            if number == len(lines):
                break
            raise UserError(f"{place}: not valid JSON ({error}); mend or remove the line") from None
        rows.append((place, cleaned_object(value, place)))
    return rows


def _step(row: dict[str, Any], place: str) -> dict[str, float]:
    numbers = {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    if "step" not in numbers:
        raise UserError(f"{place}: no 'step' number; each line of training.jsonl needs one")
    return numbers


def _without(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in keys}
