"""The program and its main commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isograd.cli.evaluate import evaluate
from isograd.cli.isomers import isomers
from isograd.cli.lab import lab
from isograd.cli.lcs import lcs
from isograd.cli.review import review
from isograd.cli.student import student
from isograd.cli.teacher import add_teacher_commands
from isograd.cli.training import distill, reinforce

__all__ = ["app"]

app = typer.Typer(
    help="Robust reasoning distillation: isomer sets, gradients that agree across domains, honest proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
isomers.command("review")(review)
add_teacher_commands(isomers)
app.add_typer(isomers, name="isomers")
app.add_typer(student, name="student")
app.add_typer(lab, name="lab")
app.command("distill")(distill)
app.command("reinforce")(reinforce)
app.command("evaluate")(evaluate)
app.command("lcs")(lcs)


@app.command("report")
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Run folders; beside them, folders of benchmark results (evaluate --tasks).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    picture: Annotated[Path | None, typer.Option(help="Also write this PNG.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Label of the method to compare with; by default ERM, else the first.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Mean reward, 0 to 1, that group RL is to reach: also show the steps to it."),
    ] = None,
) -> None:
    """Turn run folders into one self-contained HTML page."""
    from isograd.report import build_report, save_picture
    from isograd.report.benchmarks import split_folders

    runs, benchmarks = split_folders(folders)
    typer.echo(str(build_report(runs, output, baseline=baseline, threshold=threshold, benchmarks=benchmarks)))
    if picture is not None:
        typer.echo(str(save_picture(runs, picture)))


@app.command("demo")
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all that it writes.")] = Path("demo"),
    seeds: Annotated[int, typer.Option(help="Seeds; one is an illustration, five are evidence.")] = 1,
    workers: Annotated[int, typer.Option(help="Runs at a time, one thread each.")] = 2,
    family: Annotated[str, typer.Option(help="Kind of logic.")] = "arithmetic",
) -> None:
    """Train and compare four students on a task with a shortcut; a few minutes on two cores."""
    from rich.console import Console

    from isograd.experiment.demo import run_demo

    raise typer.Exit(run_demo(output, seeds=seeds, workers=workers, console=Console(), family=family))


@app.command("compare")
def compare(
    config: Annotated[Path, typer.Argument(help="YAML configuration: methods, seeds, families.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for all that it writes; finished runs in it are kept.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Runs at a time, one thread each; at most one a core.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Label of a method: only those named, and the baseline. Repeatable.")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only the seeds named. Repeatable.")] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="Only the families named, as the tables name them. Repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and their number; run nothing.")] = False,
) -> None:
    """Train and compare methods on the same seeds and data: one table with intervals and paired differences.

    With --only, --seed or --family the tables of what was selected go to the subfolder selected; others stay.
    """
    from rich.console import Console

    from isograd.experiment.compare import planned_runs, planned_students, run_compare
    from isograd.experiment.compare_config import load_compare
    from isograd.experiment.selection import selected

    settings = selected(load_compare(config), labels=only or (), seeds=seed or (), families=family or ())
    folder = output or settings.output
    if dry_run:
        students, runs = planned_students(settings, folder), planned_runs(settings, folder)
        for place, (kind, number) in students.items():
            typer.echo(f"{place}: distilled on {kind}, seed {number}")
        for place, (group, label, number) in runs.items():
            typer.echo(f"{place}: {label} on {group}, seed {number}")
        on, first = ", ".join(settings.groups), f"{len(students)} distillations, then " if students else ""
        typer.echo(f"{first}{len(runs)} runs: {len(settings.methods)} methods, {len(settings.seeds)} seeds, on {on}")
        return
    selection = [
        word
        for option, values in (("--only", only), ("--seed", seed), ("--family", family))
        for value in values or ()
        for word in (option, str(value))
    ]
    command = ["isograd", "compare", str(config), *(["--output", str(output)] if output else []), *selection]
    tables = folder / "selected" if selection else None
    raise typer.Exit(run_compare(settings, folder, tables=tables, workers=workers, console=Console(), command=command))


@app.command("tune")
def tune(
    config: Annotated[Path, typer.Argument(help="YAML configuration, as for compare; its section tuning counts.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for all that it writes; finished runs in it are kept.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Runs at a time, one thread each; at most one a core.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be tried; run nothing.")] = False,
) -> None:
    """Choose each method's hyperparameters with equal budgets, on training and validation sets alone."""
    from rich.console import Console

    from isograd.experiment.tune import planned_runs, run_tune
    from isograd.experiment.tune_config import load_tune

    settings = load_tune(config)
    folder = output or settings.tuning.output or settings.output / "tuning"
    if dry_run:
        runs = planned_runs(settings, folder)
        trials = {(run.trial.label, run.trial.number): run.trial.told for run in runs.values()}
        for label in settings.methods:
            for (of, number), values in trials.items():
                if of == label:
                    typer.echo(f"{label} {number}: {values}")
        each = len(runs) // len(trials)
        typer.echo(f"{len(runs)} runs: {len(trials)} configurations, {each} runs each, {settings.tuning.selection}")
        return
    command = ["isograd", "tune", str(config), *(["--output", str(output)] if output else [])]
    raise typer.Exit(run_tune(settings, folder, workers=workers, console=Console(), command=command))
