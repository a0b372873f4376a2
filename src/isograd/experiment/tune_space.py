"""What tuning tries: for each method its defaults, and as many draws from where it and all methods are searched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from isograd.common.errors import UserError
from isograd.common.seeding import named_random
from isograd.distill.job import TRAINING_DEFAULTS
from isograd.experiment.config import ExperimentConfig, Settings, merged
from isograd.gradients import METHODS, Distribution, LogUniform, make_method

__all__ = ["Free", "Trial", "draw_trials", "free_values"]

LEARNING_RATE: Final = 3.0
"""The learning rate is searched from the configured one divided by this to the configured one times this."""
CONSISTENCY_WEIGHT: Final = LogUniform(1.0, 100.0)
"""Where the factor of the consistency term is searched, for methods that have the term."""
DIGITS: Final = 4
"""Significant digits of what is drawn: more would say nothing and read badly."""


@dataclass(frozen=True)
class Free:
    """A value that is searched: what it is by default, and where it is drawn from."""

    default: Any
    search: Distribution


@dataclass(frozen=True)
class Trial:
    """One configuration of a method: its number (0 is the defaults) and the settings laid over the method's own."""

    label: str
    number: int
    values: Settings

    @property
    def told(self) -> str:
        """The values in one line."""
        return json.dumps(self.values)


def free_values(config: ExperimentConfig, label: str) -> dict[str, Free]:
    """What is searched for a method, by dotted name.

    Values that the configuration gives under the method itself are kept, not searched; values that it gives under
    ``training`` are defaults.

    Args:
        config: a checked configuration.
        label: which method.

    Raises:
        UserError: parameters that are no mapping, or a learning rate that is no positive number.
    """
    own = config.methods[label]
    settings = merged({"learning_rate": TRAINING_DEFAULTS["learning_rate"], **config.training}, own)
    params, kept = settings.get("method_params") or {}, own.get("method_params") or {}
    if not isinstance(params, dict) or not isinstance(kept, dict):
        raise UserError(f"methods.{label}.method_params: write a mapping, so that single values can be tuned")
    free: dict[str, Free] = {}
    if "learning_rate" not in own:
        rate = settings["learning_rate"]
        if not isinstance(rate, int | float) or isinstance(rate, bool) or rate <= 0:
            raise UserError(f"training.learning_rate is {rate!r}; it must be a positive number")
        free["learning_rate"] = Free(float(rate), LogUniform(rate / LEARNING_RATE, rate * LEARNING_RATE))
    if settings.get("consistency") is not None and "consistency_weight" not in own:
        from isograd.distill import IsomerSFTConfig

        weight = settings.get("consistency_weight", IsomerSFTConfig.consistency_weight)
        free["consistency_weight"] = Free(weight, CONSISTENCY_WEIGHT)
    name = str(settings.get("method", "erm"))
    method = make_method(name, **params)
    for param, search in METHODS[name].search.items():
        if param not in kept:
            free[f"method_params.{param}"] = Free(getattr(method, param), search)
    return free


def draw_trials(config: ExperimentConfig) -> dict[str, list[Trial]]:
    """The configurations of every method, by label: number 0 is its defaults, the others are drawn.

    Every value has a generator of its own, named by method, seed, number and value: a draw changes neither with the
    budget nor with what else is in the file.

    Args:
        config: a checked configuration.

    Returns:
        ``tuning.budget`` trials for each method; one where a method has nothing free, for all would be the same.

    Raises:
        UserError: as :func:`free_values`, or a drawn value that the method refuses.
    """
    trials = {}
    for label in config.methods:
        free = free_values(config, label)
        numbers = range(config.tuning.budget if free else 1)
        trials[label] = [Trial(label, number, _values(config, label, number, free)) for number in numbers]
    return trials


def _values(config: ExperimentConfig, label: str, number: int, free: Mapping[str, Free]) -> Settings:
    values: Settings = {}
    for name, value in free.items():
        if number == 0:
            drawn = value.default
        else:
            drawn = _rounded(value.search.draw(named_random("tune", label, config.tuning.seed, number, name)))
        section, _, param = name.rpartition(".")
        (values.setdefault(section, {}) if section else values)[param] = drawn
    training = merged(merged(config.training, config.methods[label]), values)
    try:
        make_method(str(training.get("method", "erm")), **(training.get("method_params") or {}))
    except (TypeError, ValueError) as error:
        raise UserError(f"methods.{label}: drawn for tuning: {error}") from None
    return values


def _rounded(value: float | int | str | bool) -> float | int | str | bool:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
