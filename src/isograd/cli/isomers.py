"""The commands of ``isograd isomers``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["isomers"]

LINES_TOLD = 50
"""Rejected lines that ``verify`` tells on the terminal."""

isomers = typer.Typer(
    help="Logical Isomer Sets: make them, look at them, verify them, pass them on.", no_args_is_help=True
)


@isomers.command("make")
def isomers_make(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .jsonl or .parquet.")],
    family: Annotated[str, typer.Option(help="arithmetic, deduction, ordering or eligibility.")] = "arithmetic",
    size: Annotated[int, typer.Option(help="Number of sets.")] = 100,
    seed: Annotated[int, typer.Option(help="Two seeds share no random draw.")] = 0,
    split: Annotated[str, typer.Option(help="train, validation, id, ood_domain, cue_random, ...")] = "train",
    domains: Annotated[
        str, typer.Option(help="Comma-separated names or .yaml files; by default those of the split.")
    ] = "",
    depth: Annotated[int, typer.Option(help="Length of the chain of reasoning.")] = 2,
    distractors: Annotated[int, typer.Option(help="Irrelevant sentences in each problem.")] = 0,
    shuffled: Annotated[bool, typer.Option("--shuffled", help="Tell stories in random order.")] = False,
    levels: Annotated[
        int | None, typer.Option(help="A curriculum: so many levels, easy to hard, instead of depth and distractors.")
    ] = None,
    cue: Annotated[str, typer.Option(help="Shortcut cue: none, member (each rendering), set (shared).")] = "none",
    agreement: Annotated[float, typer.Option(help="How often a cue agrees with the stated answer.")] = 0.9,
    noise: Annotated[float, typer.Option(help="How often a training set's stated answer is wrong.")] = 0.0,
) -> None:
    """Make isomer sets with the built-in symbolic generator."""
    from itertools import chain
    from typing import Any

    from rich.progress import track

    from isograd.isomers import create_curriculum, create_isomers, save_isomers

    options: dict[str, Any] = {
        "seed": seed,
        "size": size,
        "split": split,
        "domains": domains.split(",") if domains else None,
        "shuffled": shuffled,
        "cue": cue,
        "agreement": agreement,
        "noise": noise,
    }
    if levels is None:
        parts = [create_isomers(family, depth=depth, distractors=distractors, **options)]
    else:
        parts = create_curriculum(family, levels=levels, **options)
    sets = track(
        chain.from_iterable(parts),
        total=size,
        description="Making sets",
        transient=True,
        disable=not sys.stdout.isatty(),
    )
    count = save_isomers(sets, output)
    told = parts[0].domains
    typer.echo(f"{output}: {count} sets of {len(told)} domains ({', '.join(told)})")


@isomers.command("verify")
def isomers_verify(
    file: Annotated[Path, typer.Argument(help="Isomer sets, .jsonl or .parquet.")],
    against: Annotated[
        list[str] | None,
        typer.Option(help="Evaluation file that no set may repeat: isomer sets, or FORMAT=FILE of a benchmark."),
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Domain file (.yaml) of your own.")] = None,
    max_overlap: Annotated[
        float | None, typer.Option(help="Largest share of content words two members may share.")
    ] = None,
    unique_graphs: Annotated[
        bool, typer.Option("--unique-graphs", help="Reject a second set with the same graph and values.")
    ] = False,
    verdicts: Annotated[Path | None, typer.Option(help="Write every verdict here (.jsonl).")] = None,
    accepted: Annotated[Path | None, typer.Option(help="Write the sets that passed here (.jsonl).")] = None,
    rejected: Annotated[
        Path | None, typer.Option(help="Write what was rejected, with reasons; by default beside FILE if there is any.")
    ] = None,
) -> None:
    """Verify isomer sets, whoever made them; ends with status 1 if any set or line is rejected."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from isograd.cli.views import verdict_line, verification_view
    from isograd.common.errors import UserError
    from isograd.isomers.verify import MAX_OVERLAP, Verdict, verify_file

    aside = rejected or file.with_suffix(".rejected.jsonl")
    if rejected is None and not os.access(file.parent, os.W_OK):
        raise UserError(f"{file.parent}: cannot be written to; say where rejected sets are to go with --rejected")
    told = 0
    columns = (SpinnerColumn(), TextColumn("Verifying: {task.completed} lines"))
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task("")

        def show(verdict: Verdict) -> None:
            nonlocal told
            progress.advance(task)
            if not verdict.passed:
                told += 1
                if told <= LINES_TOLD:
                    typer.echo(verdict_line(file, verdict), err=True)
                elif told == LINES_TOLD + 1:
                    typer.echo(f"further rejected lines are told in {aside} alone", err=True)

        summary = verify_file(
            file,
            against or (),
            verdicts=verdicts,
            accepted=accepted,
            rejected=aside,
            domains=domain or (),
            max_overlap=MAX_OVERLAP if max_overlap is None else max_overlap,
            unique_graphs=unique_graphs,
            progress=show,
        )
    Console().print(verification_view(summary))
    if summary.sound:
        typer.echo(f"{file}: all {summary.sets} sets passed")
        if rejected is None:
            aside.unlink()
        return
    wrong = summary.sets - summary.passed + summary.unreadable
    typer.echo(f"{file}: {wrong} of {summary.sets + summary.unreadable} lines rejected; reasons in {aside}")
    raise typer.Exit(1)


@isomers.command("check-domain")
def isomers_check_domain(
    file: Annotated[Path, typer.Argument(help="A domain file (.yaml).")],
) -> None:
    """Tell, line by line, what a domain file lacks; ends with status 1 if it lacks anything."""
    from isograd.common.errors import UserError
    from isograd.isomers import FAMILIES, check_domain

    if not file.is_file():
        raise UserError(f"{file}: no such file")
    faults = check_domain(file.read_bytes(), str(file))
    for fault in faults:
        typer.echo(fault)
    if faults:
        raise typer.Exit(1)
    typer.echo(f"{file}: complete; it can tell {', '.join(FAMILIES)}")


@isomers.command("samples")
def isomers_samples(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write instead of printing.")] = None,
    seed: Annotated[int, typer.Option(help="Of the generator.")] = 0,
) -> None:
    """Three samples of every family in every domain, as Markdown, to be read aloud."""
    from isograd.isomers.symbolic.samples import samples_page

    _print_or_write(samples_page(seed), output)


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
    from isograd.isomers import dataset_card, iter_isomers

    _print_or_write(dataset_card(iter_isomers(file), dataset_license=dataset_license), output)


def _print_or_write(text: str, output: Path | None) -> None:
    from isograd.common.files import write_text

    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
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
