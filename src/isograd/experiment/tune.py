"""Tuning: equal budgets for all methods, on training and validation sets alone, to one choice a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from isograd.common.errors import UserError
from isograd.distill.job import TRAINING_DEFAULTS
from isograd.experiment.config import merged
from isograd.experiment.data import keep_options
from isograd.experiment.lock import output_lock
from isograd.experiment.running import run_all, slug, worker_count
from isograd.experiment.tune_config import TuneConfig
from isograd.experiment.tune_data import split_own, write_tuning_data
from isograd.experiment.tune_results import VALIDATION, Place, Result, Tuned
from isograd.experiment.tune_space import Trial, draw_trials, free_values
from isograd.experiment.worker import STOPPED, Job
from isograd.report.runs import Run, read_run

__all__ = ["PlannedRun", "planned_runs", "run_tune"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a trial: on which family and seed, and which domain is left out."""

    trial: Trial
    place: Place

    @property
    def name(self) -> str:
        """Its label while it runs."""
        without = f", without {self.place.without}" if self.place.without else ""
        return f"{self.trial.label}, configuration {self.trial.number}{without}"


def planned_runs(config: TuneConfig, output: Path) -> dict[Path, PlannedRun]:
    """The run folders of a tuning, in the order of running.

    Number by number, so that an interruption leaves equal budgets.

    Raises:
        UserError: as :func:`~isograd.experiment.tune_space.draw_trials`.
    """
    trials = draw_trials(config)
    runs = {}
    for number in range(config.tuning.budget):
        for place in _places(config):
            for label, drawn in trials.items():
                if number < len(drawn):
                    fold = f"-without-{slug(place.without)}" if place.without else ""
                    name = f"{slug(label)}-{number}-seed{place.seed}{fold}"
                    runs[output / "runs" / place.group / name] = PlannedRun(drawn[number], place)
    return runs


def run_tune(
    config: TuneConfig, output: Path, *, workers: int | None = None, console: Console, command: Sequence[str] = ()
) -> int:
    """Train and validate the configurations of every method, choose the best of each, print and write the choice.

    A configuration is worth its mean accuracy on validation problems over families, seeds and folds; it is worth
    nothing if one of its runs failed. Each method gets one choice, over all families. Finished runs are reused,
    unfinished ones resumed, failed ones tried again.

    Args:
        config: what to tune.
        output: the folder for ``data``, ``runs``, ``tuned.yaml``, ``trials.csv``, ``tuning.md`` and the curves.
        workers: runs at a time, one thread each; by default the configuration's, or the number of cores. More than
            there are cores are not started.
        console: for progress and table.
        command: the words that started this, to be told in the files.

    Returns:
        0, or 1 if a run failed, or 130 after an interruption (then nothing has been chosen yet).

    Raises:
        UserError: ``workers`` is not positive, ``output`` holds runs of another configuration, or another process is at
            work in it.
    """
    at_once = worker_count(workers, config.workers)
    planned = planned_runs(config, output)
    # From the data to the choice: it too must be that of one command.
    with output_lock(output):
        return _tuned(config, planned, output, at_once, console, command)


def _tuned(
    config: TuneConfig,
    planned: dict[Path, PlannedRun],
    output: Path,
    workers: int,
    console: Console,
    command: Sequence[str],
) -> int:
    status = run_all(_jobs(config, planned, output, console), console, workers=workers, output=output)
    if status != STOPPED:
        from isograd.experiment.tune_files import save_tuning, tuning_view

        runs = {folder: read_run(folder) for folder in planned}
        tuned = read_tuned(config, planned, runs)
        # Written before anything is printed: whoever reads along may leave.
        files = save_tuning(config, tuned, list(runs.values()), output, command=command)
        console.print(tuning_view(tuned))
        for method in tuned:
            if method.chosen is None:
                console.print(f"{method.label}: every trial failed; left at its defaults", markup=False, style="red")
        console.print(f"Written: {', '.join(map(str, files))}", markup=False)
    return status


def read_tuned(config: TuneConfig, planned: dict[Path, PlannedRun], runs: dict[Path, Run]) -> list[Tuned]:
    """The trials of every method with their scores, from what the run folders hold.

    Args:
        config: what was tuned.
        planned: the run folders, and what each was for.
        runs: their contents.
    """
    results: dict[tuple[str, int], Result] = {}
    for folder, plan in planned.items():
        trial, run = plan.trial, runs[folder]
        result = results.setdefault((trial.label, trial.number), Result(trial, {}, {}))
        score = run.splits.get(VALIDATION)
        if score is None:
            result.troubles[plan.place] = run.trouble or "has no validation score"
        else:
            result.scores[plan.place] = score.accuracy
    return [
        Tuned(label, free_values(config, label), [result for (of, _), result in results.items() if of == label])
        for label in config.methods
    ]


def _places(config: TuneConfig) -> list[Place]:
    return [
        Place(group, seed, without)
        for seed in config.tuning.seeds
        for group in config.groups
        for without in config.folds
    ]


def _jobs(config: TuneConfig, planned: dict[Path, PlannedRun], output: Path, console: Console) -> list[Job]:
    with console.status("Making data"):
        data = _data(config, output)
    jobs = []
    for folder, plan in planned.items():
        trial, place = plan.trial, plan.place
        train, validation = data[place]
        values = merged(trial.values, _whole_sets(config, trial.label)) if place.without else trial.values
        run = config.run_config(trial.label, train, place.seed, name=plan.name, values=values)
        jobs.append(Job(config=run, output=folder, splits={VALIDATION: validation}))
    return jobs


def _data(config: TuneConfig, output: Path) -> dict[Place, tuple[Path, Path]]:
    """The training and the validation file of every place."""
    for group in config.families or []:
        keep_options(output / "data" / group, output / "runs" / group, config.generator.model_dump(mode="json"))
    files = {}
    for place in _places(config):
        folder = output / "data" / place.group
        if config.families is not None:
            made, sets = config.generator, config.tuning.sets
            runs = output / "runs" / place.group
            files[place] = write_tuning_data(
                folder, place.group, place.seed, made, sets=sets, without=place.without, runs=runs
            )
        elif config.train is not None and config.tuning.validation is not None:
            files[place] = split_own(config.train, config.tuning.validation, folder, place.without)
        else:
            raise UserError("tuning needs families, or train and tuning.validation")
    return files


def _whole_sets(config: TuneConfig, label: str) -> dict[str, Any]:
    """As many sets in a batch as there are with all domains: sets of one domain less are smaller."""
    field, domains = "per_device_train_batch_size", len(config.domains)
    settings = merged(merged(TRAINING_DEFAULTS, config.training), config.methods[label])
    rows = settings[field]
    # What does not fit now would not fit with all domains either: the trainer says so.
    fits = isinstance(rows, int) and rows % domains == 0
    return {field: rows // domains * (domains - 1)} if fits else {}
