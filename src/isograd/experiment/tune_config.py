"""The configuration of a tuning: the part of a comparison's file that says nothing of test splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from isograd.common.errors import UserError
from isograd.experiment.compare_config import CompareConfig
from isograd.experiment.config import ExperimentConfig, beside, checked_methods, nearest, read_yaml, resolved, validated
from isograd.experiment.data import IsomerOptions, TrainingOptions
from isograd.isomers import SPLITS, iter_isomers
from isograd.runs.config import file_hash

__all__ = ["TuneConfig", "load_tune"]

READ = ("train", "validation")
"""The only splits of the generator that tuning reads."""
LEAST_DOMAINS = 3
"""One left out, and two that can disagree."""


class TuneConfig(ExperimentConfig):
    """Everything that determines a tuning. Neither it nor its parts have a field for a test split.

    Attributes:
        generator: what the training and validation sets of ``families`` are like.
        domains: the training domains.
    """

    generator: TrainingOptions = TrainingOptions()
    domains: tuple[str, ...] = ()

    @property
    def folds(self) -> list[str | None]:
        """The domains to be left out, one after the other; None alone where none is."""
        if self.tuning.selection == "validation":
            return [None]
        return list(self.domains[: self.tuning.folds])


def load_tune(path: Path) -> TuneConfig:
    """Read and check what tuning needs of a comparison's file.

    Fields of the comparison alone (``splits``, ``baseline``, ``tuned``, and what ``generator`` says of evaluation sets)
    are left out before anything looks at them, and their files need not exist. Of those that do, where the training
    data is one's own, the hash is taken, so that a copy of a test split is refused; nothing else is read of them.

    Args:
        path: a YAML file.

    Raises:
        UserError: as :func:`~isograd.experiment.compare_config.load_compare`; or the training or validation file is
            one of the test splits, or holds sets of one.
    """
    content = read_yaml(path)
    if "reinforce" in content:
        raise UserError(f"{path}: reinforce: isograd tune chooses settings of distillation, not of group RL")
    kept = _known(content, CompareConfig, TuneConfig, f"{path}: ")
    if isinstance(content.get("generator"), dict):
        kept["generator"] = _known(content["generator"], IsomerOptions, TrainingOptions, f"{path}: generator.")
    config = resolved(validated(TuneConfig, kept, path), path)
    generator = config.generator.model_copy(update={"domains": beside(path, config.generator.domains)})
    config = config.model_copy(update={"generator": generator})
    domains = _families(config, path) if config.families else _own_files(config, path, content.get("splits"))
    if config.tuning.selection == "leave_one_domain_out" and len(domains) < LEAST_DOMAINS:
        raise UserError(
            f"{path}: tuning.selection: to leave one domain out takes at least {LEAST_DOMAINS} training domains; "
            f"there are: {', '.join(domains)}"
        )
    return checked_methods(config.model_copy(update={"domains": domains}), path)


def _known(content: dict[Any, Any], all_of_it: Any, model: Any, where: str) -> dict[str, Any]:
    """The fields that a model has; those that only the comparison has are dropped unread, others refused."""
    for name in content:
        if name not in all_of_it.model_fields:
            raise UserError(f"{where}{name}: no such field{nearest(str(name), all_of_it.model_fields)}")
    return {name: value for name, value in content.items() if name in model.model_fields}


def _families(config: TuneConfig, path: Path) -> tuple[str, ...]:
    """Check that the families can be told; returns the training domains."""
    for place, file in (("train", config.train), ("tuning.validation", config.tuning.validation)):
        if file is not None:
            raise UserError(f"{path}: {place}: isomer sets are either made (families) or files of your own")
    for family in config.families or []:
        try:
            config.generator.train(family, 0)
            config.generator.validation(family, 0, 1)
        except UserError as error:
            raise UserError(f"{path}: families and generator: {error}") from None
    return tuple(config.generator.told_domains())


def _own_files(config: TuneConfig, path: Path, splits: Any) -> tuple[str, ...]:
    """Check that the files are those of no test split; returns the training domains."""
    if config.train is None or config.tuning.validation is None:
        raise UserError(f"{path}: name families to make isomer sets of, or give train and tuning.validation")
    files = {"tuning.validation": config.tuning.validation, "train": config.train}
    for place, file in files.items():
        if not file.is_file():
            raise UserError(f"{path}: {place}: {file}: no such file")
    # By content: a copy of a test split is one. Nothing of it is looked at but its hash.
    named = splits.values() if isinstance(splits, dict) else ()
    tests = {file_hash(test) for name in named if (test := path.parent / str(name)).is_file()}
    hashes = {place: file_hash(file) for place, file in files.items()}
    for place, file in files.items():
        if hashes[place] in tests:
            raise UserError(f"{path}: {place}: {file.name} is a test split; tuning must not read it")
    if hashes["tuning.validation"] == hashes["train"]:
        raise UserError(f"{path}: tuning.validation: is the training file; hold sets back that no student learns from")
    told: Counter[str] = Counter()
    for place, file in files.items():
        told.clear()
        for isomer_set in iter_isomers(file):
            split = isomer_set.provenance.split
            if split in SPLITS and split not in READ:
                raise UserError(f"{path}: {place}: {file.name} holds sets of the test split {split!r}; tuning must not")
            told.update(isomer_set.domains)
    return tuple(told)
