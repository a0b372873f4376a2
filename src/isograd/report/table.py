"""The main table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from isograd.report.runs import read_runs
from isograd.report.summary import Cell, Method, chance_level, describe_split, group_runs, split_order

__all__ = ["results_table"]


def results_table(run_dirs: Sequence[Path]) -> Table:
    """Accuracies, chain accuracy and LCS of each method: means over seeds, ± standard deviation.

    The title names the accuracy of guessing where the runs and splits agree on it.

    Raises:
        UserError: as :func:`isograd.report.runs.read_runs`.
    """
    runs = read_runs(run_dirs)
    methods = group_runs(runs)
    splits = split_order(methods)
    seeds = len({run.seed for run in runs})
    chance = chance_level(methods, splits)
    title = "Accuracy" if chance is None else f"Accuracy (chance {chance:.2g})"
    # No lines between columns, and words whole: five seeds fit 80 characters.
    table = Table(title=f"{title}, {seeds} seed{'s' * (seeds > 1)}", box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("student", no_wrap=True)
    titles = ["ID" if split == "id" else describe_split(split).title for split in splits]
    for title in (*titles, "chain, ID", "LCS, last", "between sets"):
        table.add_column(title.replace(" ", "\n"), justify="right", no_wrap=True)
    for method in methods:
        table.add_row(*_row(method, splits))
    return table


def _row(method: Method, splits: Sequence[str]) -> list[str | Text]:
    label = Text("\n".join(wrap(method.label, 13)))
    if not method.scored:
        return [label, method.runs[0].status]
    cells = [method.accuracy(split) for split in splits]
    cells += [method.chain_accuracy("id"), method.lcs("last", "within"), method.lcs("last", "between")]
    return [label, *(_text(cell) for cell in cells)]


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell.mean:.3f}" + (f"\n±{cell.sd:.3f}" if cell.sd is not None else "")
