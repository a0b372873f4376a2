"""The demo: the built-in student falls for a shortcut, and does not when gradients and predictions must agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console

from isograd.common.errors import UserError
from isograd.distill.run_config import DataSource, DistillConfig
from isograd.experiment.data import EVALUATED, IsomerOptions, write_data
from isograd.experiment.running import run_all, slug
from isograd.experiment.worker import STOPPED, Job

__all__ = ["METHODS", "TRAINING", "demo_data", "run_demo"]

CONSISTENCY: Final = {"consistency": "logit_variance", "consistency_weight": 10.0}
METHODS: Final[dict[str, dict[str, Any]]] = {
    "ERM": {"method": "erm"},
    "IGA": {"method": "iga", "method_params": {"tau": 1.0}},
    "consistency": {"method": "erm", **CONSISTENCY},
    "IGA + consistency": {"method": "iga", "method_params": {"tau": 1.0}, **CONSISTENCY},
}
"""The demo's students by label. Values are the library's defaults, tuned for no method."""

TRAIN_SETS: Final = 800
AGREEMENT: Final = 0.95
"""How often a cue agrees with the stated answer."""
NOISE: Final = 0.3
"""Share of wrong answers: enough for the cue to predict what is taught clearly better than the logic does."""
EVALUATION_SETS: Final = 100
TRAINING: Final[dict[str, Any]] = {
    "max_steps": 200,
    "learning_rate": 5e-3,
    "per_device_train_batch_size": 32,
    "save_steps": 20,
}


def run_demo(output: Path, *, seeds: int, workers: int, console: Console, family: str = "arithmetic") -> int:
    """Make isomers, train the four students of :data:`METHODS`, measure them, print the table, write the page.

    Every cue agrees with the stated answer in 19 of 20 renderings and :data:`NOISE` of the answers are wrong, so
    that the cue predicts what is taught better than the logic does. Finished runs are reused.

    Args:
        output: the folder for data, runs, ``report.html`` and ``picture.png``.
        seeds: how many; each has training and evaluation data of its own.
        workers: processes at a time, one thread each.
        console: for progress and table.
        family: the kind of logic.

    Returns:
        0, or 1 if a run failed, or 130 after an interruption.

    Raises:
        UserError: ``seeds`` or ``workers`` is not positive, or ``output`` holds runs of another configuration.
    """
    from isograd.report import build_report, save_picture
    from isograd.report.table import results_table

    if seeds < 1 or workers < 1:
        raise UserError(f"seeds is {seeds} and workers is {workers}; both must be at least 1")
    jobs = [job for seed in range(seeds) for job in _jobs(output, family, seed)]
    status = run_all(jobs, console, workers=workers, output=output)
    if status == STOPPED:
        return status
    labels = [*METHODS, "before training"]
    folders = [job.output for job in sorted(jobs, key=lambda job: labels.index(job.config.label))]
    console.print(results_table(folders))
    if seeds == 1:
        console.print("One seed is an illustration, not evidence: run it with --seeds 5 for means and intervals.")
    page = build_report(folders, output / "report.html", title="The isograd demo")
    picture = save_picture(folders, output / "picture.png")
    console.print(f"Adapters: {output / 'runs'}/*/adapter   Page: {page}   Picture: {picture}", markup=False)
    return status


def demo_data(cue: Literal["none", "member", "set"]) -> IsomerOptions:
    """What the demo's isomer sets are like."""
    return IsomerOptions(
        sets=TRAIN_SETS, evaluation_sets=EVALUATION_SETS, splits=EVALUATED, cue=cue, agreement=AGREEMENT, noise=NOISE
    )


def _jobs(output: Path, family: str, seed: int) -> list[Job]:
    train, splits = write_data(output / "data", family, seed, demo_data("member"), output / "runs")

    def job(label: str, training: dict[str, Any], *, train_it: bool = True) -> Job:
        config = DistillConfig(name=label, data=[DataSource(path=train)], training=training, seed=seed)
        return Job(config=config, output=output / "runs" / f"{slug(label)}-seed{seed}", splits=splits, train=train_it)

    # IGA first: the longest runs should not be the last to start.
    order = sorted(METHODS, key=lambda label: METHODS[label]["method"] != "iga")
    jobs = {label: job(label, {**TRAINING, **METHODS[label]}) for label in order}
    return [*jobs.values(), job("before training", {}, train_it=False)]
