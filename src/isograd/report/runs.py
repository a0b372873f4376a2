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
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from isograd.common.errors import UserError
from isograd.common.files import read_json

__all__ = ["POOLINGS", "Distance", "Example", "Run", "SplitScore", "read_run", "read_runs"]

POOLINGS: Final = {"mean": "mean over tokens", "last": "last token"}
"""The poolings of representations that are shown, with their titles."""

_Model = TypeVar("_Model", bound=BaseModel)

# Characters that XML forbids or UTF-8 cannot hold: a model may emit anything.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def _finite_or_none(value: Any) -> Any:
    """NaN and infinity stand for "not known" in numbers that may be absent."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _interval_or_none(value: Any) -> Any:
    if isinstance(value, list) and any(_finite_or_none(bound) is None for bound in value):
        return None
    return value


def _one_line(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


Rate = Annotated[float, Field(ge=0, le=1)]
MaybeRate = Annotated[Rate | None, BeforeValidator(_finite_or_none)]
Number = Annotated[float | None, BeforeValidator(_finite_or_none)]
Interval = Annotated[tuple[float, float] | None, BeforeValidator(_interval_or_none)]
Name = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_one_line)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DomainScore(_Record):
    """Scores of one domain in one split; rates in [0, 1]."""

    n: int
    accuracy: Rate
    chain_accuracy: Rate | None = None


class SplitScore(_Record):
    """Scores of one split; rates in [0, 1], intervals as (low, high). ``chance`` is the accuracy of guessing."""

    n: int
    n_sets: int | None = None
    chance: MaybeRate = None
    accuracy: Rate
    accuracy_ci: Interval = None
    chain_accuracy: Rate | None = None
    chain_accuracy_ci: Interval = None
    by_domain: dict[str, DomainScore] = {}


class Distance(_Record):
    """Mean distance of representations within isomer sets (the LCS: smaller is more consistent) and between sets.

    ``collapsed``: different problems have nearly the same representation, so that a small distance says nothing.
    """

    within: Number = None
    between: Number = None
    collapsed: bool = False

    @property
    def ratio(self) -> float | None:
        """Within over between; None where one is not known, or where the representation is collapsed."""
        if self.within is None or not self.between or self.collapsed:
            return None
        return self.within / self.between


class _Poolings(_Record):
    mean: Distance = Distance()
    last: Distance = Distance()


class _Lcs(_Poolings):
    layer: str | int | None = None
    n_sets: int | None = None
    by_layer: dict[int, _Poolings] = {}


class _Metrics(_Record):
    format: Literal[1]
    splits: dict[str, SplitScore]
    lcs: _Lcs = _Lcs()


class Example(_Record):
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


class Run(_Record):
    """One run folder. ``seconds`` is the wall time of training, ``step_seconds`` the median of its steps,
    ``peak_memory_bytes`` the most memory it held; ``training`` holds the finite numbers of each step.
    """

    format: Literal[1]
    name: Name
    label: Name
    seed: int
    status: Literal["finished", "failed", "running"]
    error: str | None = None
    config: dict[str, Any] = {}
    config_hash: str = ""
    versions: dict[str, Any] = {}
    machine: dict[str, Any] = {}
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
    record = _object(read_json(folder / "run.json"), folder / "run.json")
    run = _validated(Run, _without(record, "metrics", "training", "examples"), folder / "run.json")
    extra: dict[str, Any] = {}
    metrics = folder / "metrics.json"
    if metrics.is_file():
        extra["metrics"] = _validated(_Metrics, _object(read_json(metrics), metrics), metrics)
    extra["training"] = tuple(_step(row, place) for place, row in _lines(folder / "training.jsonl"))
    extra["examples"] = tuple(_validated(Example, row, place) for place, row in _lines(folder / "examples.jsonl"))
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
        rows.append((place, _object(value, place)))
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


def _object(value: Any, place: str | Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{place}: holds {type(value).__name__}, need a JSON object")
    cleaned: dict[str, Any] = _clean(value)
    return cleaned


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNPRINTABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def _without(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in keys}


def _validated(model: type[_Model], record: dict[str, Any], place: str | Path) -> _Model:
    try:
        return model.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise UserError(f"{place}: {field}: {first['msg']}; write the run folder again, or leave it out") from None
