"""Scores on public benchmarks: folders that ``isograd evaluate --tasks`` wrote, as tables of texts.

Of a folder ``results.json`` is read. ``scores`` has a row for each benchmark and model (``n`` documents, ``accuracy``
with the 95% interval ``low``, ``high``, ``chance``); ``differences`` one for each benchmark and two models (``mean`` of
``model`` minus ``minus`` on the same documents).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from isograd.common.errors import UserError
from isograd.common.files import read_json
from isograd.report.comparison_tables import TextTable
from isograd.report.reading import MaybeRate, Name, Number, Rate, Record, cleaned_object, validated

__all__ = ["benchmark_tables", "split_folders"]


class _Score(Record):
    benchmark: Name
    model: Name
    n: int
    accuracy: Rate
    low: MaybeRate = None
    high: MaybeRate = None
    chance: MaybeRate = None


class _Difference(Record):
    benchmark: Name
    model: Name
    minus: Name
    mean: float
    low: Number = None
    high: Number = None


class _Empty(Record):
    benchmark: Name
    model: Name
    n: int


class _Settings(Record):
    limit: int | None = None
    instructions: bool = True


class _Results(Record):
    format: Literal[1]
    scores: tuple[_Score, ...]
    differences: tuple[_Difference, ...]
    settings: _Settings = _Settings()
    left_out: tuple[str, ...] = ()
    empty: tuple[_Empty, ...] = ()


def split_folders(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Run folders and folders of benchmark results, told apart by the ``results.json`` of the latter.

    A folder with a ``run.json`` too is both; one with neither is left among the runs, whose reader refuses it.
    """
    results = [folder for folder in folders if (folder / "results.json").is_file()]
    return [folder for folder in folders if folder not in results or (folder / "run.json").is_file()], results


def benchmark_tables(folders: Sequence[Path]) -> list[TextTable]:
    """Accuracies, and paired differences where there are several models: two tables for each folder, in percent.

    Raises:
        UserError: a folder without ``results.json``, or one that does not hold results of benchmarks.
    """
    tables = []
    for number, folder in enumerate(folders):
        name = f"Benchmarks: {folder.resolve().name}" if len(folders) > 1 else "Benchmarks"
        tables += _tables(_read(folder), name, f"benchmarks-{number}")
    return tables


def _read(folder: Path) -> _Results:
    file = folder / "results.json"
    if not file.is_file():
        raise UserError(f"{file}: no such file; name folders that isograd evaluate --tasks wrote")
    record = cleaned_object(read_json(file), file)
    mend = "name a folder that isograd evaluate --tasks wrote"
    return validated(_Results, record, file, mend)


def _tables(results: _Results, name: str, key: str) -> list[TextTable]:
    models = list(dict.fromkeys(score.model for score in results.scores))
    benchmarks = list(dict.fromkeys(score.benchmark for score in results.scores))
    scores = {(score.benchmark, score.model): score for score in results.scores}
    rows = []
    for benchmark in benchmarks:
        found = [scores.get((benchmark, model)) for model in models]
        some = next(score for score in found if score is not None)
        chance = "-" if some.chance is None else f"{100 * some.chance:.1f}"
        cells = ["-" if score is None else _cell(score.accuracy, score.low, score.high, "") for score in found]
        rows.append((benchmark, str(some.n), chance, *cells))
    note = (
        "Accuracy in percent [95% interval over documents]: how much the choice of documents matters, not how another "
        "seed of training would turn out. Chance is guessing among the options."
    )
    tables = [TextTable(key, name, note + _made(results), ("benchmark", "documents", "chance", *models), tuple(rows))]
    if results.differences:
        gaps = {(gap.benchmark, gap.model, gap.minus): gap for gap in results.differences}
        pairs = list(dict.fromkeys((gap.model, gap.minus) for gap in results.differences))
        rows = []
        for benchmark in benchmarks:
            gained = [gaps.get((benchmark, *pair)) for pair in pairs]
            cells = ["-" if gap is None else _cell(gap.mean, gap.low, gap.high, "+") for gap in gained]
            rows.append((benchmark, *cells))
        head = ("benchmark", *(f"{model} − {minus}" for model, minus in pairs))
        note = (
            "Percentage points on the same documents [95% paired bootstrap interval over documents]. An interval that "
            "holds zero does not tell two models apart; of many intervals some exclude zero by chance."
        )
        tables.append(TextTable(f"{key}-differences", f"{name}: paired differences", note, head, tuple(rows)))
    return tables


def _made(results: _Results) -> str:
    told = ""
    if results.settings.limit is not None:
        told += f" Only the first {results.settings.limit} documents of each task were asked."
    if not results.settings.instructions:
        told += " Prompts had no instructions."
    if results.left_out:
        told += f" Left out: {'; '.join(results.left_out)}."
    if results.empty:
        places = "; ".join(f"{row.benchmark}, {row.model} ({row.n})" for row in results.empty)
        told += f" Answers without any text count as wrong: {places}."
    return told


def _cell(mean: float, low: float | None, high: float | None, sign: str) -> str:
    def said(rate: float) -> str:
        # Adding zero turns a rounded -0.0 into 0.0.
        return format(round(100 * rate, 1) + 0.0, f"{sign}.1f").replace("-", "−")

    return said(mean) + (f" [{said(low)}, {said(high)}]" if low is not None and high is not None else "")
