"""The commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    help="Robust reasoning distillation: isomer sets, gradients that agree across domains, honest proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
isomers = typer.Typer(help="Logical Isomer Sets: make them, look at them, pass them on.", no_args_is_help=True)
student = typer.Typer(help="The built-in student: what it can do, how to rebuild it.", no_args_is_help=True)
app.add_typer(isomers, name="isomers")
app.add_typer(student, name="student")


@isomers.command("make")
def isomers_make(
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON-lines file to write.")],
    family: Annotated[str, typer.Option(help="Kind of logic.")] = "arithmetic",
    size: Annotated[int, typer.Option(help="Number of sets.")] = 100,
    seed: Annotated[int, typer.Option(help="Two seeds share no random draw.")] = 0,
    split: Annotated[str, typer.Option(help="train, validation, id, ood_domain, cue_random, ...")] = "train",
    domains: Annotated[str, typer.Option(help="Comma-separated; by default those of the split.")] = "",
    depth: Annotated[int, typer.Option(help="Reasoning steps before the decision.")] = 2,
    distractors: Annotated[int, typer.Option(help="Irrelevant sentences in each problem.")] = 0,
    cue: Annotated[str, typer.Option(help="Shortcut cue: none, member (each rendering), set (shared).")] = "none",
    agreement: Annotated[float, typer.Option(help="How often a cue agrees with the stated answer.")] = 0.9,
    noise: Annotated[float, typer.Option(help="How often a training set's stated answer is wrong.")] = 0.0,
) -> None:
    """Make isomer sets with the built-in symbolic generator."""
    from rich.progress import track

    from isograd.isomers import create_isomers, save_isomers

    sets = create_isomers(
        family,
        seed=seed,
        size=size,
        split=split,
        domains=domains.split(",") if domains else None,
        depth=depth,
        distractors=distractors,
        cue=cue,  # type: ignore[arg-type]
        agreement=agreement,
        noise=noise,
    )
    count = save_isomers(
        track(sets, description="Making sets", transient=True, disable=not sys.stdout.isatty()), output
    )
    typer.echo(f"{output}: {count} sets of {len(sets.domains)} domains ({', '.join(sets.domains)})")


@isomers.command("show")
def isomers_show(
    file: Annotated[Path, typer.Argument(help="A JSON-lines file of isomer sets.")],
    index: Annotated[int, typer.Option("--index", "-i", help="Which set to begin with, from 0.")] = 0,
    count: Annotated[int, typer.Option("--count", "-n", help="How many sets.")] = 1,
) -> None:
    """Print isomer sets side by side."""
    from itertools import islice

    from rich.console import Console

    from isograd.cli.views import set_view
    from isograd.common.errors import UserError
    from isograd.isomers import iter_isomers

    console = Console()
    shown = 0
    for isomer_set in islice(iter_isomers(file), index, index + count):
        console.print(set_view(isomer_set))
        shown += 1
    if not shown:
        raise UserError(f"{file}: has no set number {index}; sets are numbered from 0")


@isomers.command("export")
def isomers_export(
    file: Annotated[Path, typer.Argument(help="Isomer sets, .jsonl or .parquet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .jsonl or .parquet.")],
    view: Annotated[
        str, typer.Option(help="sets (as they are), sft (prompt, completion), grpo (prompt, answer).")
    ] = "sets",
) -> None:
    """Convert isomer sets: to the other file format, or to the rows that trainers take."""
    from isograd.isomers import iter_isomers, save_isomers
    from isograd.isomers.views import save_view

    sets = iter_isomers(file)
    count = save_isomers(sets, output) if view == "sets" else save_view(sets, output, view)
    typer.echo(f"{output}: {count} {'sets' if view == 'sets' else 'rows'}")


@isomers.command("card")
def isomers_card(
    file: Annotated[Path, typer.Argument(help="Isomer sets, .jsonl or .parquet.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of printing.")] = None,
    dataset_license: Annotated[str | None, typer.Option("--license", help="An identifier of the hub's.")] = None,
) -> None:
    """Describe isomer sets as a dataset card: Markdown with tables of what the file holds."""
    from isograd.common.files import write_text
    from isograd.isomers import dataset_card, iter_isomers

    card = dataset_card(iter_isomers(file), dataset_license=dataset_license)
    if output is None:
        typer.echo(card, nl=False)
    else:
        write_text(output, card)
        typer.echo(str(output))


@isomers.command("push")
def isomers_push(
    file: Annotated[Path, typer.Argument(help="Isomer sets, .jsonl or .parquet.")],
    repo: Annotated[str, typer.Argument(help="Dataset repository: user/name.")],
    split: Annotated[str, typer.Option(help="Split to write or replace.")] = "train",
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dataset_license: Annotated[str | None, typer.Option("--license", help="An identifier of the hub's.")] = None,
) -> None:
    """Upload isomer sets and their card to the Hugging Face Hub, as you are logged in there."""
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    from isograd.isomers import push_to_hub

    disable_progress_bars()
    typer.echo(push_to_hub(file, repo, split=split, private=private, dataset_license=dataset_license))


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


@app.command("distill")
def distill(
    config: Annotated[Path, typer.Argument(help="YAML configuration.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder; an unfinished run in it is resumed.")],
    method: Annotated[str | None, typer.Option(help="Gradient method (training.method).")] = None,
    consistency: Annotated[str | None, typer.Option(help="logit_variance or js (training.consistency).")] = None,
    model: Annotated[str | None, typer.Option(help="Folder, hub id, or builtin.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps (training.max_steps).")] = None,
    seed: Annotated[int | None, typer.Option(help="Of adapter, batch order and sketches.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Any field: dotted.key=value.")] = None,
) -> None:
    """Distil a LoRA student; resumes after an interruption or a kill."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from isograd.distill import load_config, run_distill
    from isograd.experiment.measure import resolve_model
    from isograd.experiment.worker import STOPPED

    flags = {
        "training.method": method,
        "training.consistency": consistency,
        "training.max_steps": steps,
        "model": model,
        "seed": seed,
    }
    named = [f"{key}={value}" for key, value in flags.items() if value is not None]
    settings = load_config(config, [*named, *(overrides or [])])
    columns = (TextColumn(settings.label), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=None, loss="")
        outcome = run_distill(
            settings,
            output,
            model_path=resolve_model(settings.model),
            progress=lambda done, total, loss: progress.update(
                task, completed=done, total=total, loss="" if loss is None else f"loss {loss:.4f}"
            ),
        )
    if outcome == "stopped":
        typer.echo(f"{output}: stopped and saved; run the same command again to resume")
        raise typer.Exit(STOPPED)
    typer.echo(f"{output}: {outcome}; adapter in {output / 'adapter'}")


@app.command("evaluate")
def evaluate(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    data: Annotated[list[str] | None, typer.Option("--data", "-d", help="SPLIT=FILE of isomer sets.")] = None,
    benchmark: Annotated[list[str] | None, typer.Option(help="FORMAT=FILE, for example gsm8k=test.jsonl.")] = None,
) -> None:
    """Measure a run's student: accuracy, chain accuracy and Logical Consistency Score, or benchmark accuracy."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from isograd.cli.views import benchmarks_view, metrics_view, named_files
    from isograd.common.errors import UserError
    from isograd.experiment.measure import evaluate_run, score_run

    if not data and not benchmark:
        raise UserError("nothing to measure; give --data id=FILE or --benchmark gsm8k=FILE")
    splits, benchmarks = named_files("--data", data or []), named_files("--benchmark", benchmark or [])
    views = []
    columns = (TextColumn("Evaluating"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if splits:
            views.append(metrics_view(evaluate_run(run, splits, progress=show)))
        if benchmarks:
            views.append(benchmarks_view(score_run(run, benchmarks, progress=show)))
    for view in views:
        Console().print(view)


@app.command("report")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    picture: Annotated[Path | None, typer.Option(help="Also write this PNG.")] = None,
) -> None:
    """Turn run folders into one self-contained HTML page."""
    from isograd.report import build_report, save_picture

    typer.echo(str(build_report(runs, output)))
    if picture is not None:
        typer.echo(str(save_picture(runs, picture)))


@app.command("demo")
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all that it writes.")] = Path("demo"),
    seeds: Annotated[int, typer.Option(help="Seeds; one is an illustration, five are evidence.")] = 1,
    workers: Annotated[int, typer.Option(help="Runs at a time, one thread each.")] = 2,
) -> None:
    """Train and compare four students on a task with a shortcut; a few minutes on two cores."""
    from rich.console import Console

    from isograd.experiment.demo import run_demo

    raise typer.Exit(run_demo(output, seeds=seeds, workers=workers, console=Console()))
