"""The commands of ``isograd student``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["student"]

student = typer.Typer(help="The built-in student: what it can do, how to rebuild it.", no_args_is_help=True)


@student.command("path")
def student_path_command() -> None:
    """Print the folder of the built-in checkpoint."""
    from isograd.student import student_path

    typer.echo(str(student_path()))


@student.command("show")
def student_show(
    model: Annotated[str, typer.Option(help="A checkpoint made by `isograd student build`.")] = "builtin",
    items: Annotated[int, typer.Option(help="Problems for each domain and skill.")] = 100,
) -> None:
    """Show, domain by domain, what the student can and cannot do before fine-tuning."""
    from rich.console import Console

    from isograd.cli.views import probe_view
    from isograd.common.quiet import quiet_libraries
    from isograd.evaluate import load_student, probe_student
    from isograd.experiment.measure import resolve_model

    quiet_libraries()
    network, tokenizer = load_student(resolve_model(model))
    size = sum(parameter.numel() for parameter in network.parameters())
    console = Console()
    console.print(probe_view(probe_student(network, tokenizer, items=items), items))
    console.print(f"{size:,} parameters, {len(tokenizer):,} tokens")


@student.command("build")
def student_build(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the checkpoint.")],
    seed: Annotated[int, typer.Option(help="Of initialization and corpus.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps (default: the recipe's).")] = None,
) -> None:
    """Retrain the built-in student from a seed, on CPU; start again after an interruption to resume."""
    from dataclasses import replace

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from isograd.common.quiet import quiet_libraries
    from isograd.student.build import Recipe, build_student

    quiet_libraries()
    recipe = Recipe(seed=seed)
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    columns = (TextColumn("Pretraining"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=recipe.steps, loss="")
        build_student(output, recipe, lambda step, loss: progress.update(task, completed=step, loss=f"loss {loss:.3f}"))
    typer.echo(f"{output}: built; see what it can do with: isograd student show --model {output}")


@student.command("measure")
def student_measure(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for data, runs and student.md.")],
    model: Annotated[str, typer.Option(help="A checkpoint made by `isograd student build`.")] = "builtin",
    seed: Annotated[int, typer.Option(help="Of data and training.")] = 0,
    workers: Annotated[int, typer.Option(help="Runs at a time, one thread each.")] = 2,
) -> None:
    """Fine-tune the student with ERM in every family, with cues and without, and show what it can do by domain."""
    from rich.console import Console

    from isograd.experiment.student_table import run_student_table

    raise typer.Exit(run_student_table(output, model=model, seed=seed, workers=workers, console=Console()))
