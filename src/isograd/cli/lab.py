"""The commands of ``isograd lab``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["lab"]

lab = typer.Typer(help="Small exact simulations that test what is claimed about the methods.", no_args_is_help=True)


@lab.callback()
def _group() -> None:
    """Keeps ``drift`` a command of its own while it is the only one."""


@lab.command("drift")
def lab_drift(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables and plots.")] = Path("lab-drift"),
    seeds: Annotated[int | None, typer.Option(help="Seeds; at least 5 for a claim.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds instead of minutes; shows the form, proves nothing.")
    ] = False,
) -> None:
    """Cancellation and its failure, drift, entropy, group size and the disputed cases of group policy gradients."""
    from dataclasses import replace

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from isograd.lab.drift import FULL, QUICK, run_drift

    scale = QUICK if quick else FULL
    if seeds is not None:
        scale = replace(scale, seeds=seeds)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("", total=None)
        files = run_drift(
            output,
            scale,
            lambda done, total, name: progress.update(task, completed=done, total=total, description=name),
        )
    for file in files:
        typer.echo(str(file))
