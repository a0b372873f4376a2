"""What the built-in student can do in every family before and after plain fine-tuning: is there something to fix?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_text
from isograd.distill.run_config import DataSource, DistillConfig
from isograd.experiment.data import write_data
from isograd.experiment.demo import TRAINING, demo_data
from isograd.experiment.running import run_all, slug
from isograd.experiment.worker import Job
from isograd.isomers import FAMILIES
from isograd.isomers.symbolic.domains import domain_names, load_domain

__all__ = ["run_student_table"]

CUED: Final = "ERM"
PLAIN: Final = "ERM, no cues"


def run_student_table(output: Path, *, model: str, seed: int, workers: int, console: Console) -> int:
    """Measure the student untrained, fine-tuned with ERM on data with cues, and on data without, in every family.

    The data are those of the demo: many wrong answers, and cues that agree with 19 of 20 stated answers. The
    student without cues tells what the task allows; the one with cues, whether the cue captures it.

    Args:
        output: the folder for data, runs and ``student.md``. Finished runs are reused.
        model: ``builtin``, a folder or a hub id.
        seed: of data and training.
        workers: processes at a time, one thread each.
        console: for progress and table.

    Returns:
        0, or 1 if a run failed, or 130 after an interruption.

    Raises:
        UserError: ``workers`` is not positive, or ``output`` holds runs of another configuration.
    """
    if workers < 1:
        raise UserError(f"workers is {workers}; it must be at least 1")
    jobs = [job for family in FAMILIES for job in _jobs(output / family, family, model, seed)]
    status = run_all(jobs, console, workers=workers, output=output)
    if status:
        return status
    page = "\n".join(line for family in FAMILIES for line in _table(output / family, family)) + "\n"
    write_text(output / "student.md", page)
    console.print(page, markup=False)
    return 0


def _jobs(folder: Path, family: str, model: str, seed: int) -> list[Job]:
    jobs = []
    cues: tuple[tuple[str, Literal["member", "none"]], ...] = ((CUED, "member"), (PLAIN, "none"))
    for label, cue in cues:
        name = slug(label)
        train, splits = write_data(folder / f"data-{name}", family, seed, demo_data(cue), folder)
        training = {**TRAINING, "method": "erm"}
        config = DistillConfig(name=label, model=model, data=[DataSource(path=train)], training=training, seed=seed)
        jobs.append(Job(config=config, output=folder / name, splits=splits))
        if cue == "member":
            untrained = config.model_copy(update={"name": "before training"})
            jobs.append(Job(config=untrained, output=folder / "before", splits=splits, train=False))
    return jobs


def _table(folder: Path, family: str) -> list[str]:
    before, cued, plain = (
        read_json(folder / run / "metrics.json")["splits"] for run in ("before", "erm", "erm-no-cues")
    )
    seconds = read_json(folder / "erm" / "run.json")["seconds"]
    lines = [
        f"### {family}",
        "",
        f"Chance {before['id']['chance']:.2f}; {seconds:.0f} s of training with cues on one thread.",
        "",
        "| domain | before | ERM, ID | chain right | cue random | cue reversed | ERM without cues, ID | chain right |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for domain in (*domain_names("train"), *domain_names("unseen")):
        seen = load_domain(domain).role == "train"
        split = "id" if seen else "ood_domain"
        cells = [
            before[split]["by_domain"][domain]["accuracy"],
            *_scores(cued[split]["by_domain"][domain]),
            cued["cue_random"]["by_domain"][domain]["accuracy"] if seen else None,
            cued["cue_reversed"]["by_domain"][domain]["accuracy"] if seen else None,
            *_scores(plain[split]["by_domain"][domain]),
        ]
        name = domain if seen else f"{domain} (unseen)"
        lines.append("| " + " | ".join([name, *("-" if cell is None else f"{cell:.2f}" for cell in cells)]) + " |")
    means = [
        before["id"]["accuracy"],
        *_scores(cued["id"]),
        cued["cue_random"]["accuracy"],
        cued["cue_reversed"]["accuracy"],
        *_scores(plain["id"]),
    ]
    return [*lines, "| " + " | ".join(["**training domains**", *(f"{value:.2f}" for value in means)]) + " |", ""]


def _scores(split: dict[str, Any]) -> tuple[float, float]:
    return split["accuracy"], split["chain_accuracy"]
