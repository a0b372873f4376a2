"""Rewards for group reinforcement learning: what an answer is worth, in the form that TRL calls.

Each comes as a class with its settings and, in lower case, ready with the defaults::

    IsomerGRPOTrainer(model, reward_funcs=[isomer_answer], ...)
    IsomerGRPOTrainer(model, reward_funcs=[ExactAnswer(column="gold", wrong=-1.0)], ...)
"""

from __future__ import annotations

from typing import Final

from isograd.reinforce.rewards_agreement import IsomerAgreement
from isograd.reinforce.rewards_answers import ChoiceLetter, ExactAnswer, IsomerAnswer
from isograd.reinforce.rewards_base import Reward, Verdict
from isograd.reinforce.rewards_math import MathEqual

__all__ = [
    "ChoiceLetter",
    "ExactAnswer",
    "IsomerAgreement",
    "IsomerAnswer",
    "MathEqual",
    "Reward",
    "Verdict",
    "choice_letter",
    "exact_answer",
    "isomer_agreement",
    "isomer_answer",
    "math_equal",
]

exact_answer: Final = ExactAnswer()
"""Right when the ``Answer:`` line is the gold answer to the letter."""

choice_letter: Final = ChoiceLetter()
"""Right when the completion names the gold choice."""

isomer_answer: Final = IsomerAnswer()
"""Right when the answer is the isomer set's true one."""

math_equal: Final = MathEqual()
"""Right when the answer equals the gold one mathematically; needs ``isograd[math]``."""

isomer_agreement: Final = IsomerAgreement()
"""``isomer_answer``, worth more the more of the set's other members are solved."""
