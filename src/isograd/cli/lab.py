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


def _run(run: Any, output: Path, full: Any, quick: Any, seeds: int | None, short: bool) -> None:
    """One of the simulations, which have seeds and two sizes."""
    from dataclasses import replace

    scale = quick if short else full
    _show(lambda progress: run(output, scale if seeds is None else replace(scale, seeds=seeds), progress))


@lab.command("drift")
def lab_drift(output: Output = Path("lab-drift"), seeds: Seeds = None, quick: Quick = False) -> None:
    """Cancellation and its failure, drift, entropy, group size and the disputed cases of group policy gradients."""
    from isograd.lab.drift.experiment import FULL, QUICK, run_drift

    _run(run_drift, output, FULL, QUICK, seeds, quick)


@lab.command("bound")
def lab_bound(output: Output = Path("lab-bound"), seeds: Seeds = None, quick: Quick = False) -> None:
    """Risk on unseen domains against their number, for ERM, IGA, AND-mask and an oracle, with assumptions broken."""
    from isograd.lab.bound.experiment import FULL, QUICK, run_bound

    _run(run_bound, output, FULL, QUICK, seeds, quick)


@lab.command("convergence")
def lab_convergence(output: Output = Path("lab-convergence"), seeds: Seeds = None, quick: Quick = False) -> None:
    """Rates of masked descent, with noise and truncation, and where it comes to rest."""
    from isograd.lab.convergence.experiment import FULL, QUICK, run_convergence

    _run(run_convergence, output, FULL, QUICK, seeds, quick)


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
