"""The main table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from isograd.report.runs import read_runs
from isograd.report.summary import SPLITS, Cell, Method, group_runs, split_order

__all__ = ["results_table"]


def results_table(run_dirs: Sequence[Path]) -> Table:
    """Accuracies, chain accuracy, LCS and training time of each method: means over seeds, ± standard deviation.

    Raises:
        UserError: as :func:`isograd.report.runs.read_runs`.
    """
    runs = read_runs(run_dirs)
    methods = group_runs(runs)
    splits = split_order(methods)
    seeds = len({run.seed for run in runs})
    table = Table(title=f"Accuracy (chance 0.5), {seeds} seed{'s' if seeds > 1 else ''}")
    table.add_column("student")
    for split in splits:
        table.add_column(SPLITS[split].title if split in SPLITS else split, justify="right")
    for title in ("chain, ID", "LCS (last)", "between sets", "train s"):
        table.add_column(title, justify="right")
    for method in methods:
        table.add_row(*_row(method, splits))
    return table


def _row(method: Method, splits: Sequence[str]) -> list[str]:
    if not method.scored:
        return [method.label, *(run.trouble or "" for run in method.runs[:1])]
    cells = [method.accuracy(split) for split in splits]
    cells += [method.chain_accuracy("id"), method.lcs("last", "within"), method.lcs("last", "between")]
    return [method.label, *(_text(cell) for cell in cells), _text(method.seconds(), digits=0)]


def _text(cell: Cell | None, digits: int = 3) -> str:
    if cell is None:
        return "-"
    return f"{cell.mean:.{digits}f}" + (f" ±{cell.sd:.{digits}f}" if cell.sd is not None else "")
