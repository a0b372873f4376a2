"""Group RL rules compared: one distilled student for each family and seed, from which every rule goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from isograd.common.errors import UserError
from isograd.experiment.running import check_labels
from isograd.reinforce.job import TRAINING_DEFAULTS, check_settings
from isograd.reinforce.run_config import ReinforceConfig, parse_config

__all__ = ["DISTILLED", "ReinforceOptions", "check_rules"]

DISTILLED = "distilled"
"""The label of the students that reinforcement learning starts from."""

Settings = dict[str, Any]


class ReinforceOptions(BaseModel):
    """What all rules of a comparison share.

    Attributes:
        group_sizes: completions of a prompt; every rule is run with each, with the same number of completions a step.
        training: fields of :class:`~isograd.reinforce.IsomerGRPOConfig`.
        rewards: by name, with their parameters.
        threshold: the mean reward whose first step is counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    group_sizes: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] = [8]
    training: Settings = {}
    rewards: Any = Field(default_factory=lambda: ["isomer_answer"])
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.8

    @field_validator("group_sizes")
    @classmethod
    def _different(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("every size may be named once only")
        return value

    def run_config(
        self, settings: Mapping[str, Any], size: int, *, where: str = "reinforce", **common: Any
    ) -> ReinforceConfig:
        """The run of a rule's settings with a group size.

        Args:
            settings: the rule's own, laid over ``training``.
            size: completions of a prompt.
            where: names the configuration in errors.
            common: the other fields of :class:`~isograd.reinforce.ReinforceConfig`.

        Raises:
            UserError: an unknown or invalid setting or reward.
        """
        training = {**self.training, **settings, "num_generations": size}
        return parse_config({"rewards": self.rewards, "training": training, **common}, where)


def check_rules(options: ReinforceOptions, methods: Mapping[str, Settings], path: Path) -> None:
    """Refuse what no run could do before hours have gone by.

    Raises:
        UserError: an unknown or invalid setting or reward, labels that would share a folder, or a batch that a group
            does not fit into.
    """
    where, files = f"{path}: reinforce", ["checked elsewhere"]
    options.run_config({}, 2, where=where, data=files)
    check_labels([DISTILLED, *methods], path)
    for label, settings in methods.items():
        if "num_generations" in settings:
            raise UserError(f"{path}: methods.{label}.num_generations: use reinforce.group_sizes")
        try:
            rule = options.run_config(settings, 2, where=where, data=files)
        except UserError as error:
            raise UserError(str(error).replace(f"{where}: training.", f"{path}: methods.{label}.", 1)) from None
        rows = {**TRAINING_DEFAULTS, **rule.training}["per_device_train_batch_size"]
        for size in options.group_sizes:
            if rows % size:
                raise UserError(
                    f"{where}: per_device_train_batch_size is {rows}, which breaks groups of {size}; use a multiple "
                    f"of {size}"
                )
            try:
                check_settings(options.run_config(settings, size, where=where, data=files))
            except UserError as error:
                raise UserError(f"{path}: methods.{label}: {error}") from None
