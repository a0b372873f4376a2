"""The command ``isograd evaluate``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["evaluate"]


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(help="Run folders, adapter folders, or models (folder, hub id, builtin); names at a server."),
    ],
    data: Annotated[
        list[str] | None, typer.Option("--data", "-d", help="SPLIT=FILE of isomer sets; for run folders.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Benchmarks and groups, as in iga,medqa.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of local benchmark files, instead of the hub.")] = None,
    base: Annotated[bool, typer.Option("--base", help="Measure the models under the adapters too.")] = False,
    limit: Annotated[int | None, typer.Option(help="First documents of each task only; to try things out.")] = None,
    backend: Annotated[str, typer.Option(help="hf, vllm, openai (chat server) or completions (server).")] = "hf",
    base_url: Annotated[str, typer.Option(help="Of the server; its key is taken from OPENAI_API_KEY.")] = "",
    tokenizer: Annotated[str, typer.Option(help="For completions, where the model's name is none.")] = "",
    batch_size: Annotated[int, typer.Option(help="Prompts at a time.")] = 8,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest completion (default: the task's own).")] = None,
    chat_template: Annotated[bool, typer.Option("--chat-template", help="Put prompts into the chat template.")] = False,
    instructions: Annotated[
        bool, typer.Option(help="Open prompts with what is asked for; distilled students may know them without.")
    ] = True,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let a model's repository run its own code.")
    ] = False,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for benchmark results; resumed when it has some."),
    ] = Path("evaluation"),
) -> None:
    """Measure students on isomer sets (--data) or models on public benchmarks (--tasks), resumable."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from isograd.cli.views import benchmarks_view, metrics_view, named_files
    from isograd.common.errors import UserError

    if not data and not tasks:
        raise UserError("nothing to measure; give --data id=FILE or --tasks iga")
    splits = named_files("--data", data or [])
    views: list[Any] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task("Evaluating", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        if splits:
            from isograd.experiment.measure import evaluate_run

            for model in models:
                metrics = evaluate_run(Path(model), splits, progress=partial(show, model))
                views += [model, metrics_view(metrics)] if len(models) > 1 else [metrics_view(metrics)]
        if tasks:
            from isograd.evaluate.benchmarks import Plan
            from isograd.evaluate.harness.backends import Backend

            plan = Plan(
                tuple(name.strip() for name in tasks.split(",") if name.strip()),
                folder=data_dir,
                limit=limit,
                max_new_tokens=max_new_tokens,
                instructions=instructions,
            )
            runner = Backend(backend, base_url, tokenizer, batch_size, chat_template)  # type: ignore[arg-type]
            results = _benchmarks(
                models, plan, runner, output, base=base, trust_remote_code=trust_remote_code, progress=show
            )
            views.append(benchmarks_view(results))
    for view in views:
        Console().print(view, markup=False)
    if tasks:
        typer.echo(str(output / "results.md"))


def _benchmarks(
    models: list[str],
    plan: Any,
    backend: Any,
    output: Path,
    *,
    base: bool,
    trust_remote_code: bool,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    from isograd.common.errors import UserError
    from isograd.evaluate.benchmarks import check_plan, evaluate_benchmarks
    from isograd.evaluate.harness.backends import Subject

    # What is wrong with the request is said before any model is looked for.
    check_plan(plan, backend)
    # The harness draws bars of its own.
    os.environ.setdefault("TQDM_DISABLE", "1")
    if backend.served:
        if base:
            raise UserError("--base is the model under an adapter's folder; at a server, name the base model as well")
        subjects = [Subject(model, model) for model in models]
    else:
        from isograd.common.quiet import quiet_libraries
        from isograd.experiment.measure import named_subjects

        quiet_libraries()
        subjects = named_subjects(models, base=base, trust_remote_code=trust_remote_code)
    return evaluate_benchmarks(subjects, plan, output, backend=backend, progress=progress)
