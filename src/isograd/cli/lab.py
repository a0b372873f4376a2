"""The commands of ``isograd lab``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["lab"]

lab = typer.Typer(help="Small exact experiments that test what is claimed about the methods.", no_args_is_help=True)

Seeds = Annotated[int | None, typer.Option(help="Seeds; at least 5 for a claim.")]
Quick = Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes; shows the form, proves nothing.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for tables and plots.")]


@lab.callback()
def _group() -> None:
    """Keeps ``drift`` a command of its own while it is the only one."""


def _show(run: Callable[[Callable[[int, int, str], None]], list[Path]]) -> None:
    """Run with a progress bar, then name the files."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("", total=None)
        files = run(lambda done, total, name: progress.update(task, completed=done, total=total, description=name))
    for file in files:
        typer.echo(str(file))


@lab.command("drift")
def lab_drift(output: Output = Path("lab-drift"), seeds: Seeds = None, quick: Quick = False) -> None:
    """Cancellation and its failure, drift, entropy, group size and the disputed cases of group policy gradients."""
    from dataclasses import replace

    from isograd.lab.drift.experiment import FULL, QUICK, run_drift

    scale = QUICK if quick else FULL
    if seeds is not None:
        scale = replace(scale, seeds=seeds)
    _show(lambda progress: run_drift(output, scale, progress))
