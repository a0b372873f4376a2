"""The isomer sets of an experiment: what they are like, and the files of one family and seed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json
from isograd.isomers import SPLITS, IsomerDataset, IsomerSet, create_isomers, save_isomers
from isograd.isomers.symbolic.domains import domain_names, load_domain
from isograd.runs.config import file_hash

__all__ = ["EVALUATED", "IsomerOptions", "TrainingOptions", "keep_options", "save_training", "write_data"]

EVALUATED = ("id", "ood_domain", "cue_random", "cue_reversed")
"""The splits that are measured unless others are asked for."""


class TrainingOptions(BaseModel):
    """What generated sets are like that a student learns from; the defaults are those of the demo.

    It makes training and validation sets and no others: tuning knows no more than this.

    Attributes:
        sets: training sets for each family and seed.
        cue: as in :func:`~isograd.isomers.create_isomers`, like those that follow.
        agreement: how often a cue agrees with the stated answer.
        noise: share of training sets with a wrong answer.
        depth: length of the chain of reasoning.
        distractors: irrelevant sentences in each problem.
        shuffled: tell stories in random order.
        domains: names or files of the training domains; by default the built-in ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sets: Annotated[int, Field(ge=1)] = 800
    cue: Literal["none", "member", "set"] = "member"
    agreement: float = 0.95
    noise: float = 0.3
    depth: int = 2
    distractors: int = 0
    shuffled: bool = False
    domains: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    def train(self, family: str, seed: int, *, without: str | None = None) -> IsomerDataset:
        """The training sets, made on demand.

        Args:
            family: the kind of logic.
            seed: of the generator.
            without: the name of a domain that is not to tell them; the other domains' words stay the same.

        Raises:
            UserError: options that do not fit the family.
        """
        domains = self.domains
        if without is not None:
            domains = tuple(entry for name, entry in self.told_domains().items() if name != without)
        return self._make(family, seed, "train", domains, size=self.sets, noise=self.noise)

    def validation(self, family: str, seed: int, size: int, *, only: str | None = None) -> IsomerDataset:
        """Validation sets like the training sets, cues and all, but for the label noise: the stated answers are right.

        Args:
            family: the kind of logic.
            seed: of the generator.
            size: how many.
            only: the name of the one domain that is to tell them; by default all training domains do.

        Raises:
            UserError: options that do not fit the family.
        """
        domains = self.domains if only is None else (self.told_domains()[only],)
        return self._make(family, seed, "validation", domains, size=size)

    def told_domains(self) -> dict[str, str]:
        """The training domains: by the name of each, its name or file as it was given."""
        return {load_domain(entry).name: entry for entry in self.domains or domain_names("train")}

    def _make(self, family: str, seed: int, split: str, domains: tuple[str, ...] | None, **more: Any) -> IsomerDataset:
        return create_isomers(
            family,
            seed=seed,
            split=split,
            domains=domains,
            depth=self.depth,
            distractors=self.distractors,
            shuffled=self.shuffled,
            cue=self.cue,
            agreement=self.agreement,
            **more,
        )


class IsomerOptions(TrainingOptions):
    """What the generated sets of an experiment are like, those for its measurements included.

    Attributes:
        evaluation_sets: sets in each evaluation split.
        splits: the evaluation splits.
        unseen_domains: names or files of the domains of ``ood_domain``; by default the built-in ones.
    """

    evaluation_sets: Annotated[int, Field(ge=1)] = 100
    splits: Annotated[tuple[str, ...], Field(min_length=1)] = EVALUATED
    unseen_domains: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    def evaluation(self, family: str, seed: int) -> dict[str, IsomerDataset]:
        """The evaluation sets by split, made on demand: without label noise.

        Raises:
            UserError: an unknown split, options that do not fit the family, or unseen domains that training has seen.
        """
        made = {}
        seen = self.told_domains()
        for split in self.splits:
            unseen = split in SPLITS and SPLITS[split].role == "unseen"
            domains = self.unseen_domains if unseen else self.domains
            if unseen:
                told = {load_domain(entry).name for entry in domains or domain_names("unseen")}
                if both := told & seen.keys():
                    raise UserError(
                        f"{split} is told in domains that training does not see, but both name {min(both)!r}"
                    )
            made[split] = self._make(family, seed, split, domains, size=self.evaluation_sets)
        return made


def keep_options(folder: Path, runs: Path, options: dict[str, Any]) -> None:
    """Write beside data what they are like, for the next call to compare with.

    Args:
        folder: that of the data.
        runs: that of the run folders that were trained on them.
        options: what determines the training data; the evaluation files may change.

    Raises:
        UserError: there are runs, and their data had other options: these must not be overwritten.
    """
    known = folder / "options.json"
    if options.get("domains"):
        # Files of one's own by their names: folders may move. What they hold shows in the data.
        options = {**options, "domains": [Path(entry).name for entry in options["domains"]]}
    if known.is_file() and read_json(known) != options and any(runs.glob("*/run.json")):
        raise UserError(f"{known}: the runs beside it had other generator options; choose another output folder")
    write_json(known, options)


def save_training(sets: Iterable[IsomerSet], path: Path, runs: Path) -> None:
    """Write a training file, unless runs were trained on other bytes.

    Args:
        sets: what goes into it.
        path: the file.
        runs: that of the run folders that were trained on it.

    Raises:
        UserError: there are runs, and the file is another one than it would be: the generator or a domain has changed.
    """
    new = path.with_name(f"new-{path.name}")
    save_isomers(sets, new)
    if any(runs.glob("*/run.json")) and path.is_file() and file_hash(path) != file_hash(new):
        new.unlink()
        raise UserError(
            f"{path}: the runs beside it learnt from it, and the generator or a domain has changed since; choose "
            "another output folder"
        )
    new.replace(path)


def write_data(
    folder: Path, family: str, seed: int, options: IsomerOptions, runs: Path
) -> tuple[Path, dict[str, Path]]:
    """Write the training file and the evaluation files of a family and seed.

    They are made anew each time (it takes a second): the same bytes, unless the generator has changed.

    Args:
        folder: where the files go.
        family: the kind of logic.
        seed: of the generator.
        options: what the sets are like.
        runs: that of the run folders that were trained on them.

    Returns:
        The path of the training file, and those of the evaluation files by split.

    Raises:
        UserError: options that do not fit the family; or as :func:`save_training`.
    """
    train, evaluation = options.train(family, seed), options.evaluation(family, seed)
    path = folder / f"train-seed{seed}.jsonl"
    splits = {split: folder / f"{split}-seed{seed}.jsonl" for split in evaluation}
    save_training(train, path, runs)
    for split, sets in evaluation.items():
        save_isomers(sets, splits[split])
    return path, splits
