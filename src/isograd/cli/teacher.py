"""The commands of ``isograd isomers`` that work with a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from isograd.isomers.parsing import Fault
    from isograd.isomers.teacher.costs import Prices
    from isograd.isomers.teacher.harvest import Harvest, RunFolder
    from isograd.isomers.teacher.recipe import Recipe
    from isograd.isomers.teacher.seeds import Seed
    from isograd.isomers.teacher.teaching import Progress
    from isograd.isomers.verify import LeakageIndex

__all__ = ["add_teacher_commands"]

LINES_TOLD = 20
"""Rows of the seeds' file that are no seeds, told on the terminal."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as of any program that a terminal interrupts."""

Against = Annotated[
    list[str] | None,
    typer.Option(help="Evaluation file that no seed and no set may repeat: isomer sets, or FORMAT=FILE."),
]
SetsName = Annotated[str, typer.Option("--sets", help="File of sets in the folder, .jsonl or .parquet.")]


def add_teacher_commands(app: typer.Typer) -> None:
    """Add ``teach``, ``status`` and ``merge``."""
    app.command("teach")(isomers_teach)
    app.command("status")(isomers_status)
    app.command("merge")(isomers_merge)


def isomers_teach(
    seeds: Annotated[str, typer.Argument(help="Problems with answers: a file, a folder, or a data set's hub id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder; an unfinished run in it is resumed.")],
    model: Annotated[str, typer.Option(help="The teacher's name on its server.")],
    base_url: Annotated[
        str, typer.Option(help="Any OpenAI-compatible server; its key comes from ISOGRAD_API_KEY or OPENAI_API_KEY.")
    ] = "http://localhost:8000/v1",
    domains: Annotated[
        str, typer.Option(help="Comma-separated names, or .yaml files of NAME: DESCRIPTION.")
    ] = "mathematics,medicine,law,science",
    seed_format: Annotated[
        str | None, typer.Option("--format", help="gsm8k, math, logiqa2 ...; else detected.")
    ] = None,
    fields: Annotated[
        str | None, typer.Option(help="Fields of plain rows: problem=question,answer=gold[,choices=...].")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to read, or what a file is.")] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of a hub id (LegalBench: the task).")] = None,
    force_test: Annotated[
        bool, typer.Option("--force-test", help="Take evaluation items all the same; never evaluate on them then.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many seeds.")] = None,
    solutions: Annotated[int, typer.Option(help="Independent solutions of each telling; most must agree.")] = 3,
    repairs: Annotated[int, typer.Option(help="How often a telling that fails goes back.")] = 2,
    least_score: Annotated[float, typer.Option(help="Alignment score that is needed; it is never sufficient.")] = 0.85,
    least_domains: Annotated[
        int | None, typer.Option(help="Domains that a set needs; by default all, else the sets may lack some.")
    ] = None,
    against: Against = None,
    max_cost: Annotated[float | None, typer.Option(help="Stop before more than this is spent in all.")] = None,
    prompt_price: Annotated[float, typer.Option(help="Price of a million prompt tokens.")] = 0.0,
    completion_price: Annotated[float, typer.Option(help="Price of a million completion tokens.")] = 0.0,
    concurrency: Annotated[int, typer.Option(help="Most calls under way.")] = 8,
    timeout: Annotated[float, typer.Option(help="Seconds for one try of a call.")] = 300.0,
    retries: Annotated[int, typer.Option(help="Tries after the first one.")] = 6,
    shard: Annotated[
        str, typer.Option(help="i/n: this machine's share of the seeds; merge the folders later.")
    ] = "1/1",
    sets: SetsName = "sets.jsonl",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate calls, tokens and price; call nobody.")] = False,
) -> None:
    """Have a language model tell problems anew in other domains, and keep what passes all checks."""
    from isograd.common.errors import UserError
    from isograd.isomers.teacher.client import api_key_from_environment
    from isograd.isomers.teacher.costs import Prices
    from isograd.isomers.teacher.harvest import RunFolder
    from isograd.isomers.teacher.journal import parse_shard
    from isograd.isomers.teacher.recipe import Recipe, described_domains
    from isograd.isomers.teacher.teaching import Server, numbered, teach

    files, part = RunFolder(output, sets), parse_shard(shard)
    recipe = Recipe(model, described_domains(domains.split(",")), solutions, repairs, least_score, least_domains)
    prices = Prices(prompt_price, completion_price)
    if max_cost is not None and not (prompt_price or completion_price):
        raise UserError("--max-cost needs to know what the teacher costs: give --prompt-price and --completion-price")
    index = _index(against)
    taken, faults = numbered(_rows(seeds, seed_format, split, fields, config, force_test), limit)
    _tell_faults(seeds, faults)
    if not taken:
        raise UserError(f"{seeds}: no row is a seed; name the format with --format, or the fields with --fields")
    if dry_run:
        _foretell(files, taken, recipe, prices, part)
        return
    server = Server(base_url, api_key_from_environment(), concurrency, timeout, retries)
    with _bar() as show:
        try:
            done = teach(
                files, taken, recipe, server, prices=prices, max_cost=max_cost, part=part, against=index, progress=show
            )
        except KeyboardInterrupt:
            done = None
    if done is None:
        typer.echo(f"{output}: interrupted; finished calls are kept, the same command goes on with the rest", err=True)
        raise typer.Exit(INTERRUPTED)
    _tell(files, done)


def isomers_status(
    run: Annotated[Path, typer.Argument(help="A run folder of `isograd isomers teach`, or its journal.")],
) -> None:
    """Show where a run of a teacher stands, also while it runs."""
    from rich.console import Console

    from isograd.cli.teacher_views import status_view
    from isograd.isomers.teacher.journal import Journal
    from isograd.isomers.teacher.teaching import journal_in

    with Journal(journal_in(run), read_only=True) as journal:
        Console().print(status_view(journal.status()))


def isomers_merge(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of the other machines; none of them in use.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder to merge into; made where missing.")],
    against: Against = None,
    sets: SetsName = "sets.jsonl",
) -> None:
    """Merge the run folders of several machines (see `teach --shard`) into one, and write its files."""
    from isograd.isomers.teacher.harvest import RunFolder
    from isograd.isomers.teacher.teaching import merge

    files = RunFolder(output, sets)
    report, done = merge(files, runs, _index(against))
    typer.echo(str(report))
    _tell(files, done)


def _index(against: list[str] | None) -> LeakageIndex | None:
    from isograd.isomers.verify import LeakageIndex, evaluation_items

    return LeakageIndex(item for file in against for item in evaluation_items(file)) if against else None


def _rows(
    source: str, form: str | None, split: str | None, fields: str | None, config: str | None, force_test: bool
) -> list[tuple[int, Seed | Fault]]:
    import warnings

    from isograd.isomers.teacher.seed_formats import field_map
    from isograd.isomers.teacher.seeds import read_seeds

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        chosen = field_map(fields) if fields else None
        rows = list(read_seeds(source, form=form, split=split, fields=chosen, config=config, force_test=force_test))
    for warning in warned:
        typer.echo(f"warning: {warning.message}", err=True)
    return rows


def _tell_faults(source: str, faults: list[Fault]) -> None:
    for fault in faults[:LINES_TOLD]:
        typer.echo(f"{source}:{fault}", err=True)
    if faults:
        more = f"; the first {LINES_TOLD} are told" if len(faults) > LINES_TOLD else ""
        typer.echo(f"{source}: {len(faults)} rows are no seeds and were left out{more}", err=True)


def _foretell(
    files: RunFolder, taken: list[tuple[int, Seed]], recipe: Recipe, prices: Prices, part: tuple[int, int]
) -> None:
    from rich.console import Console

    from isograd.cli.teacher_views import forecast_view
    from isograd.isomers.teacher.dry_run import foretell
    from isograd.isomers.teacher.teaching import unfinished

    left = unfinished(files, [seed for _, seed in taken], part)
    forecast = foretell(left, recipe, prices)
    Console().print(forecast_view(forecast))
    domains = ", ".join(recipe.domains)
    typer.echo(f"{len(left)} of {len(taken)} seeds to work on, in {len(recipe.domains)} domains ({domains})")
    typer.echo(f"if every telling passes at once: {forecast.total}")
    typer.echo(f"if each is repaired {recipe.repairs} times: {forecast.repaired}")
    typer.echo("nobody was called")


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """A progress bar on standard error, where that is a terminal."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("Teaching"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[told]}"),
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, told="")

        def show(now: Progress) -> None:
            cost = f", cost {now.cost:.4f}" if now.cost else ""
            told = f"{now.verified} verified, {now.quarantined} quarantined, {now.calls} calls{cost}"
            bar.update(task, completed=now.verified + now.quarantined, total=now.seeds, told=told)

        yield show


def _tell(files: RunFolder, done: Harvest) -> None:
    short = f", {done.short} of them without some domain" if done.short else ""
    typer.echo(f"{files.sets}: {done.sets} sets{short}")
    if done.quarantined or done.short:
        top = ", ".join(f"{reason} {count}" for reason, count in done.reasons.most_common(5))
        typer.echo(f"{files.quarantine}: {done.quarantined} seeds quarantined{f' ({top})' if top else ''}")
    if done.unfinished:
        typer.echo(f"{files.folder}: {done.unfinished} seeds unfinished; run isograd isomers teach again to go on")
