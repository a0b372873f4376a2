"""The commands that train one student."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["distill", "reinforce"]

_Config = Annotated[Path, typer.Argument(help="YAML configuration.")]
_Output = Annotated[Path, typer.Option("--output", "-o", help="Run folder; an unfinished run in it is resumed.")]
_Model = Annotated[str | None, typer.Option(help="Folder, hub id, or builtin.")]
_Steps = Annotated[int | None, typer.Option(help="Optimizer steps (training.max_steps).")]
_Overrides = Annotated[list[str] | None, typer.Option("--set", help="Any field: dotted.key=value.")]


def distill(
    config: _Config,
    output: _Output,
    method: Annotated[str | None, typer.Option(help="Gradient method (training.method).")] = None,
    consistency: Annotated[str | None, typer.Option(help="logit_variance or js (training.consistency).")] = None,
    model: _Model = None,
    steps: _Steps = None,
    seed: Annotated[int | None, typer.Option(help="Of adapter, batch order and sketches.")] = None,
    overrides: _Overrides = None,
) -> None:
    """Distil a LoRA student; resumes after an interruption or a kill."""
    from isograd.distill import load_config, run_distill

    flags = {
        "training.method": method,
        "training.consistency": consistency,
        "training.max_steps": steps,
        "model": model,
        "seed": seed,
    }
    _train(load_config(config, [*_named(flags), *(overrides or [])]), output, run_distill)


def reinforce(
    config: _Config,
    output: _Output,
    adapter: Annotated[str | None, typer.Option(help="Finished run folder, or folder of an adapter.")] = None,
    group_weights: Annotated[str | None, typer.Option(help="none, min_replace or orthogonal.")] = None,
    clip: Annotated[str | None, typer.Option(help="asymmetric, symmetric or none.")] = None,
    model: _Model = None,
    steps: _Steps = None,
    seed: Annotated[int | None, typer.Option(help="Of adapter, prompts and sampling.")] = None,
    overrides: _Overrides = None,
) -> None:
    """Sharpen a student by group reinforcement learning; resumes after an interruption or a kill."""
    from isograd.reinforce import load_config, run_reinforce

    flags = {
        "adapter": adapter,
        "training.group_weights": group_weights,
        "training.clip": clip,
        "training.max_steps": steps,
        "model": model,
        "seed": seed,
    }
    _train(load_config(config, [*_named(flags), *(overrides or [])]), output, run_reinforce)


def _named(flags: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in flags.items() if value is not None]


def _train(settings: Any, output: Path, run: Callable[..., str]) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from isograd.experiment.lock import output_lock
    from isograd.experiment.measure import resolve_model
    from isograd.experiment.worker import STOPPED

    columns = (TextColumn(settings.label), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"))
    with output_lock(output), Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=None, loss="")
        outcome = run(
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
