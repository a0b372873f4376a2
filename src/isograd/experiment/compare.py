"""A comparison: methods x seeds x families on shared data, to one table with intervals and paired differences."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from isograd.common.errors import UserError
from isograd.distill.run_config import DistillConfig
from isograd.experiment.compare_config import CompareConfig
from isograd.experiment.data import keep_options, write_data
from isograd.experiment.reinforcement import DISTILLED
from isograd.experiment.running import run_all, slug, worker_count
from isograd.experiment.worker import STOPPED, Job
from isograd.reinforce.run_config import ReinforceConfig

__all__ = ["planned_runs", "run_compare"]

CLAIM_SEEDS: Final = 5
"""Fewest seeds for a claim about a method."""
TOLD: Final = ("accuracy", "accuracy_difference", "learning", "cost")
"""The tables that are printed; the files hold all."""

Data = Mapping[tuple[str, int], tuple[Path, Mapping[str, Path]]]
"""By family and seed: the training file, and the evaluation files by split."""


def planned_runs(config: CompareConfig, output: Path) -> dict[Path, tuple[str, str, int]]:
    """The run folders of a comparison, each with its group (a family), label and seed, in the order of running.

    Seed by seed, so that what an interruption leaves is paired.
    """
    return {
        output / "runs" / group / f"{slug(label)}-seed{seed}": (group, label, seed)
        for seed in config.seeds
        for group in config.groups
        for label in config.methods
    }


def run_compare(
    config: CompareConfig,
    output: Path,
    *,
    workers: int | None = None,
    console: Console,
    command: Sequence[str] = (),
) -> int:
    """Train and measure every method on every seed and family, print the table and write it.

    Data are made once for each family and seed, and shared by all methods. Finished runs are reused, unfinished ones
    resumed, failed ones tried again; those that fail lose no other and stay in the table.

    Args:
        config: what to compare.
        output: the folder for ``data``, ``runs``, ``table.md``, ``table.csv``, ``runs.csv`` and ``report.html``.
        workers: runs at a time, one thread each; by default the configuration's, or the number of cores. More than
            there are cores are not started.
        console: for progress and tables.
        command: the words that started this, to be told under the table.

    Returns:
        0, or 1 if a run failed, or 130 after an interruption (then there is no table yet). Where students to reinforce
        could not be distilled, there is none either.

    Raises:
        UserError: ``workers`` is not positive, or ``output`` holds runs of another configuration.
    """
    at_once = worker_count(workers, config.workers)
    data = _all_data(config, output, console)
    if config.reinforce is not None:
        status = run_all(_distilling(config, output, data), console, workers=at_once, output=output)
        if status:
            return status
    status = run_all(_jobs(config, output, data), console, workers=at_once, output=output)
    if status != STOPPED:
        _tell(config, output, console, command)
    return status


def _tell(config: CompareConfig, output: Path, console: Console, command: Sequence[str]) -> None:
    """Write the tables and print them; all of it from the run folders."""
    from isograd.report.comparison import read_comparison
    from isograd.report.comparison_files import save_comparison
    from isograd.report.comparison_page import save_comparison_pages
    from isograd.report.comparison_tables import group_tables, rich_view

    # Methods in the order of the configuration.
    runs = {place: folder for folder, place in planned_runs(config, output).items()}
    folders = {
        group: [runs[group, label, seed] for label in config.methods for seed in config.seeds]
        for group in config.groups
    }
    threshold = None
    if config.reinforce is not None:
        threshold = config.reinforce.threshold
        for name, (family, _) in config.parts.items():
            folders[name] = [_distilled(output, family, seed) for seed in config.seeds] + folders[name]
    comparison = read_comparison(folders, config.baseline, threshold=threshold)
    # Written before anything is printed: whoever reads along may leave.
    files = save_comparison(comparison, output, title=config.name, notes=_notes(config, command))
    page = save_comparison_pages(comparison, output, title=config.name)
    for group in comparison.groups:
        console.rule(group.name)
        for table in group_tables(group):
            if table.key in TOLD:
                console.print(rich_view(table))
    if len(config.seeds) < CLAIM_SEEDS:
        console.print(f"Fewer than {CLAIM_SEEDS} seeds are an illustration, not evidence.")
    console.print(f"Written: {', '.join(map(str, [*files, page]))}", markup=False)


def _all_data(config: CompareConfig, output: Path, console: Console) -> Data:
    with console.status("Making data"):
        return {
            (family, seed): _data(config, output, family, seed)
            for family, _ in config.parts.values()
            for seed in config.seeds
        }


def _distilled(output: Path, family: str, seed: int) -> Path:
    return output / "runs" / DISTILLED / f"{slug(family)}-seed{seed}"


def _distilling(config: CompareConfig, output: Path, data: Data) -> list[Job]:
    plain = config.model_copy(update={"methods": {DISTILLED: {}}})
    return [
        Job(config=plain.run_config(DISTILLED, train, seed), output=_distilled(output, family, seed), splits=splits)
        for (family, seed), (train, splits) in data.items()
    ]


def _jobs(config: CompareConfig, output: Path, data: Data) -> list[Job]:
    jobs = []
    for folder, (group, label, seed) in planned_runs(config, output).items():
        family, size = config.parts[group]
        train, splits = data[family, seed]
        run: DistillConfig | ReinforceConfig
        if config.reinforce is None or size is None:
            run = config.run_config(label, train, seed)
        else:
            run = config.reinforce.run_config(
                config.methods[label],
                size,
                name=label,
                model=config.model,
                trust_remote_code=config.trust_remote_code,
                adapter=_distilled(output, family, seed),
                data=[train],
                seed=seed,
            )
        jobs.append(Job(config=run, output=folder, splits=splits))
    return jobs


def _data(config: CompareConfig, output: Path, family: str, seed: int) -> tuple[Path, Mapping[str, Path]]:
    if config.families is None:
        if config.train is None or config.splits is None:
            raise UserError("a comparison needs families, or train and splits")
        return config.train, config.splits
    folder = output / "data" / family
    options = config.generator.model_dump(mode="json", exclude={"evaluation_sets", "splits"})
    runs = output / "runs" / (DISTILLED if config.reinforce else family)
    keep_options(folder, runs, options)
    return write_data(folder, family, seed, config.generator)


def _notes(config: CompareConfig, command: Sequence[str]) -> list[str]:
    """How the runs were made, for the foot of the table."""
    lines = [f"- command: `{shlex.join(command)}`"] if command else []
    lines.append(f"- model: `{config.model}`")
    if config.families is None:
        splits = ", ".join(f"{name} `{path}`" for name, path in (config.splits or {}).items())
        lines.append(f"- data: train `{config.train}`, {splits}")
    else:
        lines.append(f"- data: `{_flat(config.generator.model_dump(mode='json', exclude_none=True))}`")
    who = "all methods" if config.reinforce is None else "the students that all start from"
    lines += [f"- {who}: training `{_flat(config.training)}`, lora `{_flat(config.lora)}`"]
    if config.reinforce is not None:
        lines += [f"- all methods: `{_flat(config.reinforce.model_dump(mode='json'))}`"]
    tuned = f" (values of `{config.tuned}` laid over)" if config.tuned else ""
    lines.append(f"- settings by method{tuned}:")
    return [*lines, *(f"    - {label}: `{_flat(settings)}`" for label, settings in config.methods.items())]


def _flat(settings: Mapping[str, object]) -> str:
    return json.dumps(settings, sort_keys=True)
