"""Rewards by the names that configurations use."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

from isograd.common.errors import UserError
from isograd.reinforce.rewards import ChoiceLetter, ExactAnswer, IsomerAgreement, IsomerAnswer, MathEqual

__all__ = ["REWARDS", "make_reward"]

REWARDS: Final[Mapping[str, type]] = MappingProxyType(
    {
        "isomer_answer": IsomerAnswer,
        "isomer_agreement": IsomerAgreement,
        "exact_answer": ExactAnswer,
        "choice_letter": ChoiceLetter,
        "math_equal": MathEqual,
    }
)
"""Reward classes by name."""


def make_reward(name: str, parameters: Mapping[str, Any]) -> Callable[..., list[float | None]]:
    """A reward function for TRL, by name.

    Raises:
        UserError: an unknown name or parameter, with the nearest one; a value that the reward refuses.
    """
    if name not in REWARDS:
        raise UserError(f"there is no reward {name!r}; there are: {', '.join(REWARDS)}")
    known = [field.name for field in fields(REWARDS[name])]
    for parameter in parameters:
        if parameter not in known:
            close = difflib.get_close_matches(str(parameter), known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UserError(f"reward {name}: no parameter {parameter!r}{hint}")
    # What judges the completions of another reward is a reward itself.
    given = {key: make_reward(value, {}) if key == "judge" else value for key, value in parameters.items()}
    reward: Callable[..., list[float | None]] = REWARDS[name](**given)
    return reward
