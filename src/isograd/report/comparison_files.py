"""A comparison as files: ``table.md``, ``table.csv``, ``runs.csv``."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from isograd.common.files import write_text
from isograd.common.markdown import markdown_table, without_html
from isograd.report.comparison import Comparison, Group
from isograd.report.comparison_tables import failures, group_tables
from isograd.report.summary import Cell
from isograd.report.words import few_seeds

__all__ = ["comparison_markdown", "save_comparison"]

TABLE_HEAD = (
    *("family", "method", "metric", "runs", "n", "mean", "sd", "low", "high"),
    *("difference_n", "difference", "difference_low", "difference_high"),
)
RUN_HEAD = ("family", "method", "seed", "status", "trouble", "folder", "config_hash", "steps", "seconds")


def save_comparison(comparison: Comparison, folder: Path, *, title: str, notes: Sequence[str] = ()) -> list[Path]:
    """Write ``table.md``, ``table.csv`` (a row for each family, method and metric) and ``runs.csv`` (a row a run).

    Args:
        comparison: what to write.
        folder: where to.
        title: the heading of ``table.md``.
        notes: lines of Markdown on how the runs were made: the command, the settings.

    Returns:
        The files. Equal run folders give equal bytes.
    """
    texts = {
        "table.md": comparison_markdown(comparison, title, notes),
        "table.csv": _csv(TABLE_HEAD, _table_rows(comparison)),
        "runs.csv": _runs_csv(comparison, folder),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def comparison_markdown(comparison: Comparison, title: str, notes: Sequence[str] = ()) -> str:
    """All tables, the failures, and how the runs were made, as Markdown."""
    lines = [f"# {without_html(title)}", ""]
    for group in comparison.groups:
        lines += _group_lines(group)
    lines += ["## How these runs were made", "", *notes]
    seeds = sorted({seed for group in comparison.groups for seed in group.seeds})
    lines.append(f"- seeds: {', '.join(map(str, seeds))}")
    for what, values in (
        ("machine", [run.machine for run in comparison.runs]),
        ("versions", [run.versions for run in comparison.runs]),
    ):
        lines += [f"- {what}: `{text}`" for text in dict.fromkeys(json.dumps(value) for value in values if value)]
    return "\n".join(lines) + "\n"


def _group_lines(group: Group) -> list[str]:
    lines = [f"## {without_html(group.name)}", ""]
    for number, table in enumerate(group_tables(group)):
        lines += [
            f"### {without_html(table.title)}",
            "",
            without_html(table.note),
            "",
            *markdown_table(table.head, table.rows),
            "",
        ]
        if number == 0 and (care := few_seeds(group.methods) + failures(group)):
            lines += [*(f"- {without_html(text)}" for text in care), ""]
    return lines


def _table_rows(comparison: Comparison) -> Iterable[Sequence[Any]]:
    for group in comparison.groups:
        for row in group.rows():
            mean, difference = _numbers(row.cell), _numbers(row.difference)
            yield (
                *(group.name, row.method.label, row.metric, len(row.method.runs)),
                *(mean["n"], mean["mean"], mean["sd"], mean["low"], mean["high"]),
                *(difference["n"], difference["mean"], difference["low"], difference["high"]),
            )


def _numbers(cell: Cell | None) -> dict[str, float | None]:
    """Absent numbers are empty fields, but none of nothing is 0."""
    if cell is None:
        return {"n": 0, "mean": None, "sd": None, "low": None, "high": None}
    low, high = cell.interval or (None, None)
    return {"n": cell.n, "mean": cell.mean, "sd": cell.sd, "low": low, "high": high}


def _runs_csv(comparison: Comparison, folder: Path) -> str:
    keys = list(dict.fromkeys(metric.key for group in comparison.groups for metric in group.metrics()))
    rows = []
    for group in comparison.groups:
        values = {metric.key: metric.value for metric in group.metrics()}
        for path, run in group.folders.items():
            place = Path(os.path.relpath(path, folder))
            about = (group.name, run.label, run.seed, run.status, run.trouble, place.as_posix(), run.config_hash)
            numbers = [values[key](run) if key in values else None for key in keys]
            rows.append((*about, run.steps, run.seconds, *numbers))
    return _csv((*RUN_HEAD, *keys), rows)


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
