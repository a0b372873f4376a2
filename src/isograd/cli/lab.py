"""The commands of ``isograd lab``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["lab"]

lab = typer.Typer(help="Small exact experiments that test what is claimed about the methods.", no_args_is_help=True)

Seeds = Annotated[int | None, typer.Option(help="Seeds; at least 5 for a claim.")]
Quick = Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes; shows the form, proves nothing.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for tables and plots.")]


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


@lab.command("selectivity")
def lab_selectivity(
    output: Output = Path("lab-selectivity"),
    seeds: Seeds = None,
    quick: Quick = False,
    model: Annotated[str, typer.Option(help="A folder, a hub id, or builtin.")] = "builtin",
    family: Annotated[list[str] | None, typer.Option("--family", help="Kind of logic; may be repeated.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of training.")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Let the model's repository run its own code.")] = False,
) -> None:
    """What each mask passes of the logic and of the shortcut, on your model in training: can a mask work there?"""
    from dataclasses import replace

    from isograd.experiment.measure import resolve_model
    from isograd.lab.selectivity.experiment import FULL, QUICK, run_selectivity

    asked: dict[str, Any] = {
        "model": resolve_model(model),
        "seeds": seeds,
        "families": tuple(family) if family else None,
        "steps": steps,
        "learning_rate": learning_rate,
        "trust_remote_code": trust_remote_code,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    _show(lambda progress: run_selectivity(output, replace(QUICK if quick else FULL, **given), progress))
