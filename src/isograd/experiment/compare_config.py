"""The configuration of a comparison: methods x seeds x families, read from YAML and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from isograd.common.errors import UserError
from isograd.experiment.config import (
    ExperimentConfig,
    beside,
    checked_methods,
    merged,
    nearest,
    read_yaml,
    resolved,
    validated,
)
from isograd.experiment.data import IsomerOptions
from isograd.experiment.reinforcement import DISTILLED, ReinforceOptions, check_rules

__all__ = ["CompareConfig", "load_compare"]


class CompareConfig(ExperimentConfig):
    """Everything that determines a comparison. Paths are relative to the configuration file.

    Attributes:
        generator: what the isomer sets of ``families`` are like.
        splits: evaluation files of one's own, by split name.
        baseline: the label that the others are compared with; by default the one called ERM, else the first.
        tuned: a file of tuned values, ``methods: {LABEL: {...}}``, laid over ``methods``.
        reinforce: group RL after distillation. ``training`` is then that of the one student which all methods of a
            family and seed start from, ``methods`` are rules of group RL, and each group size is a group of its own.
    """

    generator: IsomerOptions = IsomerOptions()
    splits: Annotated[dict[str, Path], Field(min_length=1)] | None = None
    baseline: str = ""
    tuned: Path | None = None
    reinforce: ReinforceOptions | None = None

    @property
    def parts(self) -> dict[str, tuple[str, int | None]]:
        """By the name of each group: its family (or ``data``), and the group size where rules of group RL compete."""
        if self.reinforce is None:
            return {name: (name, None) for name in super().groups}
        return {f"{name}-g{size}": (name, size) for name in super().groups for size in self.reinforce.group_sizes}

    @property
    def groups(self) -> list[str]:
        """What has a table of its own."""
        return [*self.parts]


def load_compare(path: Path) -> CompareConfig:
    """Read and check a configuration, with tuned values laid over and paths resolved.

    Args:
        path: a YAML file.

    Raises:
        UserError: an unreadable file; an unknown or invalid field, setting, method, parameter or family; labels that
            would share a folder.
    """
    content = read_yaml(path)
    for name in content:
        if name not in CompareConfig.model_fields:
            raise UserError(f"{path}: {name}: no such field{nearest(str(name), CompareConfig.model_fields)}")
    config = validated(CompareConfig, content, path)
    if config.families is None and "generator" in content:
        raise UserError(f"{path}: generator: says what the sets of families are like; name families")
    config = _resolved(config, path)
    _check_data(config, path)
    if config.reinforce is None:
        config = checked_methods(config, path)
    else:
        check_rules(config.reinforce, config.methods, path)
        # Without methods: the student that they start from.
        checked_methods(config.model_copy(update={"methods": {DISTILLED: {}}}), path)
    baseline = config.baseline or next((label for label in config.methods if label.casefold() == "erm"), "")
    baseline = baseline or next(iter(config.methods))
    if baseline not in config.methods:
        raise UserError(f"{path}: baseline: no method {baseline!r}{nearest(baseline, config.methods)}")
    return config.model_copy(update={"baseline": baseline})


def _resolved(config: CompareConfig, path: Path) -> CompareConfig:
    config, folder, generator = resolved(config, path), path.parent.absolute(), config.generator
    domains = {"domains": beside(path, generator.domains), "unseen_domains": beside(path, generator.unseen_domains)}
    update: dict[str, Any] = {"generator": generator.model_copy(update=domains)}
    if config.splits is not None:
        update["splits"] = {split: folder / file for split, file in config.splits.items()}
    if config.tuned is not None:
        values = read_yaml(folder / config.tuned).get("methods")
        if not isinstance(values, dict) or not all(isinstance(value, dict) for value in values.values()):
            raise UserError(f"{folder / config.tuned}: needs a section methods: LABEL: {{setting: value}}")
        if missing := [label for label in config.methods if label not in values]:
            raise UserError(
                f"{folder / config.tuned}: has no values for {missing[0]!r}, which would compete untuned; tune it, or "
                f"say so there: {missing[0]}: {{}}"
            )
        update["methods"] = {label: merged(own, values[label]) for label, own in config.methods.items()}
    return config.model_copy(update=update)


def _check_data(config: CompareConfig, path: Path) -> None:
    own = [field for field in ("train", "splits") if getattr(config, field) is not None]
    if config.families is None and len(own) < 2:
        raise UserError(f"{path}: name families to make isomer sets of, or give train and splits, files of your own")
    if config.families is not None and own:
        raise UserError(f"{path}: {own[0]}: isomer sets are either made (families) or your own (train and splits)")
    if config.families is None:
        files = {"train": config.train, **{f"splits.{name}": file for name, file in (config.splits or {}).items()}}
        for place, file in files.items():
            if file is not None and not file.is_file():
                raise UserError(f"{path}: {place}: {file}: no such file")
        return
    for family in config.families:
        try:
            config.generator.train(family, 0)
            config.generator.evaluation(family, 0)
        except UserError as error:
            raise UserError(f"{path}: families and generator: {error}") from None
