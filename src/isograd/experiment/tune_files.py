"""A tuning as files: the choice for comparisons to read, every trial, a table, and the curves."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table
from rich.text import Text

from isograd.common.files import write_text
from isograd.common.markdown import markdown_table, without_html
from isograd.experiment.config import OWN_FILES
from isograd.experiment.tune_config import TuneConfig
from isograd.experiment.tune_results import Result, Tuned
from isograd.report.runs import Run

__all__ = ["save_tuning", "tuning_view"]

HEAD = ("method", "trials", "failed", "defaults", "best", "number", "chosen")
SELECTIONS = {
    "validation": "accuracy on validation problems told in the training domains (cues as in training, answers right)",
    "leave_one_domain_out": "accuracy on validation problems told in a domain left out of training, mean over domains",
}


def save_tuning(
    config: TuneConfig, tuned: Sequence[Tuned], runs: Sequence[Run], output: Path, *, command: Sequence[str] = ()
) -> list[Path]:
    """Write ``tuned.yaml``, ``trials.csv``, ``tuning.md``, ``curve.csv`` and ``curve.png``.

    Args:
        config: what was tuned.
        tuned: the methods with their results.
        runs: the contents of the run folders.
        output: where the files go.
        command: the words that started this.

    Returns:
        The files. Equal run folders give equal bytes.
    """
    from isograd.report.curve import save_curve

    texts = {
        "tuned.yaml": _tuned_yaml(config, tuned, runs, command),
        "trials.csv": _trials(tuned),
        "tuning.md": _markdown(config, tuned, runs, command),
        "curve.csv": _csv(("label", "trials", "best"), _points(tuned)),
    }
    for name, text in texts.items():
        write_text(output / name, text)
    picture = save_curve({method.label: method.curve for method in tuned}, output / "curve.png")
    return [*(output / name for name in texts), picture]


def tuning_view(tuned: Sequence[Tuned]) -> Table:
    """The table of ``tuning.md`` for the terminal."""
    table = Table(title="Mean validation accuracy of the defaults and of the best configuration")
    for title in HEAD:
        table.add_column(title, justify="left" if title in ("method", "chosen") else "right")
    for row in _rows(tuned):
        table.add_row(*map(Text, row))
    return table


def _rows(tuned: Sequence[Tuned]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for method in tuned:
        chosen, default = method.chosen, method.results[0]
        failed = sum(result.mean is None for result in method.results)
        best = ("-", "-", "none: left at its defaults")
        if chosen is not None:
            values = chosen.trial.told if method.free else "nothing to tune"
            best = (_number(chosen.mean), str(chosen.trial.number), values)
        rows.append((method.label, str(len(method.results)), str(failed), _number(default.mean), *best))
    return rows


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"


def _facts(config: TuneConfig, runs: Sequence[Run], command: Sequence[str]) -> list[str]:
    """How the choice was made, one fact a line."""
    tuning = config.tuning
    lines = [f"command: {shlex.join(command)}"] if command else []
    lines.append(f"budget: {tuning.budget} configurations for each method; number 0 is its defaults")
    lines.append(f"selection: {tuning.selection}: {SELECTIONS[tuning.selection]}")
    if tuning.selection == "leave_one_domain_out":
        lines.append(f"domains left out: {', '.join(str(domain) for domain in config.folds)}")
    lines.append(f"seed of the draws: {tuning.seed}; seeds of data and training: {', '.join(map(str, tuning.seeds))}")
    lines.append(f"model: {config.model}")
    if config.families:
        options = config.generator.model_dump(mode="json", exclude_none=True)
        lines.append(f"data: {', '.join(config.families)}, {tuning.sets} validation sets, {json.dumps(options)}")
    else:
        lines.append(f"{OWN_FILES}: train {config.train}, validation {tuning.validation}")
    for what, values in (("machine", [run.machine for run in runs]), ("versions", [run.versions for run in runs])):
        lines += [f"{what}: {text}" for text in dict.fromkeys(json.dumps(value) for value in values if value)]
    return lines


def _tuned_yaml(config: TuneConfig, tuned: Sequence[Tuned], runs: Sequence[Run], command: Sequence[str]) -> str:
    head = ["Chosen by isograd tune, on training and validation sets alone; for the field tuned of isograd compare."]
    head += _facts(config, runs, command)
    head += [f"{method.label}: every trial failed; left at its defaults" for method in tuned if method.chosen is None]
    values = {method.label: method.chosen.trial.values if method.chosen else {} for method in tuned}
    comment = "".join(f"# {' '.join(line.split())}\n" for line in head)
    return comment + yaml.safe_dump({"methods": values}, sort_keys=False, allow_unicode=True)


def _markdown(config: TuneConfig, tuned: Sequence[Tuned], runs: Sequence[Run], command: Sequence[str]) -> str:
    lines = [f"# Tuning: {without_html(config.name)}", ""]
    lines += [
        "Mean validation accuracy of each method's defaults and of its best configuration. Every method with something "
        "to tune had the same number of trials. The best of several is flattered by the choice: only a comparison on "
        "other seeds and on test splits says how good it is.",
        "",
        *markdown_table(HEAD, _rows(tuned)),
        "",
        "![best score so far](curve.png)",
        "",
        "## What was searched",
        "",
        *markdown_table(("method", "value", "default", "drawn from"), _searched(tuned)),
        "",
    ]
    failed = [result for method in tuned for result in method.results if result.mean is None]
    if failed:
        lines += ["## Failed trials", "", *(f"- {without_html(_trouble(result))}" for result in failed), ""]
    lines += ["## How the choice was made", "", *(f"- {without_html(fact)}" for fact in _facts(config, runs, command))]
    return "\n".join(lines) + "\n"


def _searched(tuned: Sequence[Tuned]) -> Iterable[tuple[str, ...]]:
    for method in tuned:
        for name, free in method.free.items():
            yield method.label, name, str(free.default), str(free.search)


def _trouble(result: Result) -> str:
    first = next(iter(result.troubles.items()), None)
    where = f"{first[0].key}: {' '.join(first[1].split())}" if first else "no runs"
    return f"{result.trial.label}, configuration {result.trial.number}: {where}"


def _trials(tuned: Sequence[Tuned]) -> str:
    results = [result for method in tuned for result in method.results]
    places = list(dict.fromkeys(place for result in results for place in (*result.scores, *result.troubles)))
    places.sort(key=lambda place: place.key)
    rows = []
    for result in results:
        scores = [result.scores.get(place) for place in places]
        status, reason = ("finished", "") if result.mean is not None else ("failed", _trouble(result))
        rows.append((result.trial.label, result.trial.number, result.trial.told, *scores, result.mean, status, reason))
    return _csv(("label", "number", "values", *(place.key for place in places), "mean", "status", "reason"), rows)


def _points(tuned: Sequence[Tuned]) -> Iterable[Sequence[Any]]:
    for method in tuned:
        for count, best in enumerate(method.curve, 1):
            yield method.label, count, best


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
