"""What tuning trains on and validates on. There is no way to ask this module for a test split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from isograd.common.errors import UserError
from isograd.experiment.data import TrainingOptions, save_training
from isograd.experiment.running import slug
from isograd.isomers import IsomerSet, iter_isomers, save_isomers

__all__ = ["split_own", "write_tuning_data"]


def write_tuning_data(
    folder: Path, family: str, seed: int, options: TrainingOptions, *, sets: int, without: str | None, runs: Path
) -> tuple[Path, Path]:
    """Make and write the training and the validation file of a family, seed and fold.

    They are made anew each time: the same bytes, unless the generator has changed.

    Args:
        folder: where the files go.
        family: the kind of logic.
        seed: of the generator.
        options: what the sets are like.
        sets: how many validation sets.
        without: the domain that is left out of training and alone tells the validation sets; None: all tell both.
        runs: that of the run folders that were trained on them.

    Returns:
        The paths of both.

    Raises:
        UserError: options that do not fit the family; or as :func:`~isograd.experiment.data.save_training`.
    """
    train, validation = _paths(folder, f"seed{seed}", without)
    save_training(options.train(family, seed, without=without), train, runs)
    save_isomers(options.validation(family, seed, sets, only=without), validation)
    return train, validation


def split_own(train: Path, validation: Path, folder: Path, without: str | None) -> tuple[Path, Path]:
    """Files of one's own for a fold: themselves where no domain is left out, else copies with members left out.

    Args:
        train: a file of isomer sets.
        validation: another.
        folder: where copies go.
        without: the domain that is left out of training and alone tells the validation sets.

    Returns:
        The paths of both.

    Raises:
        UserError: an unreadable file, or no training or validation problem is left.
    """
    if without is None:
        return train, validation
    paths = _paths(folder, "own", without)
    for source, target, alone in ((train, paths[0], False), (validation, paths[1], True)):
        kept = list(_told(source, without, alone=alone))
        if not kept:
            raise UserError(f"{source}: has no problem told {'in' if alone else 'outside'} the domain {without!r}")
        save_isomers(kept, target)
    return paths


def _paths(folder: Path, name: str, without: str | None) -> tuple[Path, Path]:
    if without is None:
        return folder / f"train-{name}.jsonl", folder / f"validation-{name}.jsonl"
    domain = slug(without)
    return folder / f"train-{name}-without-{domain}.jsonl", folder / f"validation-{name}-in-{domain}.jsonl"


def _told(file: Path, domain: str, *, alone: bool) -> Iterator[IsomerSet]:
    for isomer_set in iter_isomers(file):
        members = tuple(member for member in isomer_set.members if (member.domain == domain) is alone)
        if members:
            yield isomer_set.model_copy(update={"members": members})
