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
from isograd.experiment.lock import output_lock
from isograd.experiment.reinforcement import DISTILLED
from isograd.experiment.running import is_trained, keep_not_started, run_all, slug, worker_count
from isograd.experiment.worker import STOPPED, Job
from isograd.reinforce.run_config import ReinforceConfig

__all__ = ["planned_runs", "planned_students", "run_compare"]

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


def planned_students(config: CompareConfig, output: Path) -> dict[Path, tuple[str, int]]:
    """The run folders of the students that rules of group RL start from, each with its family and seed."""
    if config.reinforce is None:
        return {}
    return {
        _distilled(output, family, seed): (family, seed) for family, _ in config.parts.values() for seed in config.seeds
    }


def run_compare(
    config: CompareConfig,
    output: Path,
    *,
    tables: Path | None = None,
    workers: int | None = None,
    console: Console,
    command: Sequence[str] = (),
) -> int:
    """Train and measure every method on every seed and family, print the table and write it.

    Data are made once for each family and seed, and shared by all methods. Finished runs are reused, unfinished ones
    resumed, failed ones tried again; those that fail lose no other and stay in the table. Runs that would start from a
    student that could not be distilled are failures too.

    Args:
        config: what to compare.
        output: the folder for ``data`` and ``runs``; no other process may be at work in it.
        tables: the folder for ``table.md``, ``table.csv``, ``runs.csv`` and ``report.html``; by default ``output``.
        workers: runs at a time, one thread each; by default the configuration's, or the number of cores. More than
            there are cores are not started.
        console: for progress and tables.
        command: the words that started this, to be told under the table.

    Returns:
        0, or 1 if a run failed, or 130 after an interruption (then there is no table yet).

    Raises:
        UserError: ``workers`` is not positive, ``output`` holds runs of another configuration, or another process is at
            work in it.
    """
    at_once = worker_count(workers, config.workers)
    # From the data to the tables: they too must be those of one command.
    with output_lock(output):
        data = _all_data(config, output, console)
        jobs, failed = _jobs(config, output, data), 0
        if students := _distilling(config, output, data):
            console.print(f"First {len(students)} distillations, then {len(jobs)} runs that start from them.")
            failed = run_all(students, console, workers=at_once, output=output)
            if failed == STOPPED:
                return failed
            jobs = _startable(jobs, students, console)
        status = run_all(jobs, console, workers=at_once, output=output) or failed
        if status != STOPPED:
            _tell(config, output, tables or output, console, command)
        return status


def _startable(jobs: Sequence[Job], students: Sequence[Job], console: Console) -> list[Job]:
    """The runs whose student there is; the others are kept as failures, and tried again by the next call."""
    lost = {student.output for student in students if not is_trained(student)}
    startable = []
    for job in jobs:
        student = job.config.adapter if isinstance(job.config, ReinforceConfig) else None
        if student not in lost:
            startable.append(job)
            continue
        reason = f"not started: the student {DISTILLED}/{student.name} that it starts from could not be distilled"
        keep_not_started(job, reason)
        console.print(f"{job.output}: {reason}", markup=False, style="red")
    return startable


def _tell(config: CompareConfig, output: Path, tables: Path, console: Console, command: Sequence[str]) -> None:
    """Write the tables and print them; all of it from the run folders."""
    from isograd.report.comparison import read_comparison
    from isograd.report.comparison_files import save_comparison
    from isograd.report.comparison_page import save_comparison_pages
    from isograd.report.comparison_tables import group_tables, rich_view
    from isograd.report.words import SEEDS_FOR_A_CLAIM

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
    title = config.name if tables == output else f"{config.name}: selected runs"
    files = save_comparison(comparison, tables, title=title, notes=_notes(config, command))
    page = save_comparison_pages(comparison, tables, title=title)
    for group in comparison.groups:
        console.rule(group.name)
        for table in group_tables(group):
            if table.key in TOLD:
                console.print(rich_view(table))
    if len(config.seeds) < SEEDS_FOR_A_CLAIM:
        console.print(f"Fewer than {SEEDS_FOR_A_CLAIM} seeds are an illustration, not evidence.")
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
    plain, jobs = config.model_copy(update={"methods": {DISTILLED: {}}}), []
    for folder, (family, seed) in planned_students(config, output).items():
        train, splits = data[family, seed]
        jobs.append(Job(config=plain.run_config(DISTILLED, train, seed), output=folder, splits=splits))
    return jobs


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
    # Evaluation sets may change: students are measured again. The field stays, as older folders have it.
    trained_on = config.generator.model_copy(update={"unseen_domains": None})
    options = trained_on.model_dump(mode="json", exclude={"evaluation_sets", "splits"})
    runs = output / "runs" / (DISTILLED if config.reinforce else family)
    keep_options(folder, runs, options)
    return write_data(folder, family, seed, config.generator, runs)


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
