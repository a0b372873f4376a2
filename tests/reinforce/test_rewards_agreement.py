"""The isomer-agreement reward, against values worked out by hand."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from isograd.common.errors import UserError
from isograd.reinforce.rewards import ExactAnswer, IsomerAgreement, IsomerAnswer, isomer_agreement, isomer_answer
from isograd.reinforce.rewards_agreement import agreements
from isograd.reinforce.rewards_base import Verdict

# (set, domain, right?): set s has three members, set t one, and u another with a row that has no gold answer.
ROWS = [
    ("s", "law", True),
    ("s", "law", False),
    ("s", "medicine", True),
    ("s", "medicine", True),
    ("s", "sport", False),
    ("s", "sport", True),
    ("t", "law", True),
    ("t", "law", True),
    ("u", "law", True),
    ("u", "sport", None),
]
# law: others are T T F T; medicine: T F F T; sport: T F T T.
WORTH = [1 + 0.5 * 3 / 4, 0.0, 1.25, 1.25, 0.0, 1 + 0.5 * 3 / 4, 1.0, 1.0, 1.0, None]


def _call(reward: IsomerAgreement | IsomerAnswer, rows: list[tuple[str, str, bool | None]]) -> list[float | None]:
    return reward(
        completions=["Answer: yes" if right or right is None else "Answer: no" for _, _, right in rows],
        answer=[None if right is None else "yes" for _, _, right in rows],
        labels=[["no", "yes"]] * len(rows),
        set_id=[name for name, _, _ in rows],
        domain=[domain for _, domain, _ in rows],
    )


def _advantages(rewards: list[float | None], size: int, *, scaled: bool) -> Tensor:
    # TRL's, with scale_rewards "group" and "none"; double precision, and no epsilon to blur the comparison.
    groups = torch.tensor([float(reward or 0.0) for reward in rewards], dtype=torch.float64).view(-1, size)
    centered = groups - groups.mean(1, keepdim=True)
    return centered / groups.std(1, keepdim=True) if scaled else centered


def test_values_by_hand() -> None:
    assert _call(isomer_agreement, ROWS) == WORTH
    metrics: dict[str, float] = {}
    isomer_agreement(
        completions=["Answer: yes"] * 3,
        answer=["yes"] * 3,
        set_id=["s", "s", "t"],
        domain=["law", "sport", "law"],
        log_metric=metrics.__setitem__,
    )
    assert metrics == {"isomer_agreement/together": 2 / 3, "isomer_agreement/agreement": 1.0}


def test_bonus_and_worths() -> None:
    reward = IsomerAgreement(judge=IsomerAnswer(right=3.0, wrong=-1.0, unreadable=-2.0), bonus=0.25)
    found = reward(
        completions=["Answer: yes", "Answer: yes", "Answer: no", "what"],
        answer=["yes"] * 4,
        set_id=[1] * 4,
        domain=["a", "b", "c", "d"],
    )
    assert found == [3 + 0.25 * 4 / 3, 3 + 0.25 * 4 / 3, -1.0, -2.0]
    assert _call(IsomerAgreement(bonus=0.0), ROWS) == _call(isomer_answer, ROWS)


def test_rows_that_name_no_set_or_domain_stand_alone() -> None:
    right = [Verdict.RIGHT] * 5
    assert agreements(right, [None, [], 1.5, {}, float("nan")], ["a", "b", "c", "d", "e"]) == [None] * 5
    assert agreements(right, ["s"] * 5, [None, [], 1.5, "a", "b"]) == [None, None, None, 1.0, 1.0]
    # A number is no text, and True is not 1.
    assert agreements(right[:4], ["1", 1, True, 1], ["a", "b", "c", "b"]) == [None] * 4


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    order = list(range(len(ROWS)))
    random.Random(seed).shuffle(order)
    assert _call(isomer_agreement, [ROWS[row] for row in order]) == [WORTH[row] for row in order]


def test_one_more_right_member_never_lowers_a_reward() -> None:
    draw = random.Random(0)
    for _ in range(50):
        rows = [(draw.choice("st"), draw.choice("abc"), draw.random() < 0.5) for _ in range(12)]
        before = _call(isomer_agreement, rows)
        place = draw.randrange(12)
        rows[place] = (*rows[place][:2], True)
        after = _call(isomer_agreement, rows)
        assert all((new or 0.0) >= (old or 0.0) for new, old in zip(after, before, strict=True))
        assert all(0.0 <= (reward or 0.0) <= 1.5 for reward in after)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_constant_added_to_the_worths_changes_no_advantage(scaled: bool) -> None:
    rows = ROWS[:2] + ROWS[4:6]
    plain = _advantages(_call(isomer_agreement, rows), 2, scaled=scaled)
    shifted = IsomerAgreement(judge=IsomerAnswer(right=8.0, wrong=7.0, unreadable=7.0))
    torch.testing.assert_close(_advantages(_call(shifted, rows), 2, scaled=scaled), plain, rtol=1e-12, atol=1e-12)


def test_alone_it_acts_where_rewards_are_not_scaled_by_group() -> None:
    rows = ROWS[:2] + ROWS[4:6]
    with_bonus, without = _call(isomer_agreement, rows), _call(isomer_answer, rows)
    scaled = [_advantages(rewards, 2, scaled=True) for rewards in (with_bonus, without)]
    torch.testing.assert_close(*scaled, rtol=1e-12, atol=1e-12)
    # In this batch of four both groups have half of the others right.
    centered = [_advantages(rewards, 2, scaled=False) for rewards in (with_bonus, without)]
    torch.testing.assert_close(centered[0], 1.25 * centered[1], rtol=1e-12, atol=1e-12)


def test_beside_another_reward_it_can_reorder_a_group() -> None:
    # The first is right, the second wrong but pleasing: 1 < 1.2 without the bonus, 1.5 > 1.2 with it.
    rows = [("s", "law", True), ("s", "law", False), ("s", "sport", True), ("s", "sport", True)]
    pleasing = [0.0, 1.2, 0.0, 0.0]

    def summed(reward: IsomerAgreement | IsomerAnswer) -> list[float]:
        return [(own or 0.0) + other for own, other in zip(_call(reward, rows), pleasing, strict=True)]

    assert summed(isomer_answer)[0] < summed(isomer_answer)[1]
    assert summed(isomer_agreement)[0] > summed(isomer_agreement)[1]


def test_mistakes_are_told() -> None:
    for bonus in (-0.1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="isomer_agreement: bonus"):
            IsomerAgreement(bonus=bonus)
    with pytest.raises(UserError, match="isomer_agreement: judge is 'exact_answer'; give a reward"):
        IsomerAgreement(judge="exact_answer")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="isomer_agreement: needs the column 'domain'"):
        isomer_agreement(completions=["Answer: x"], answer=["x"], set_id=["s"])
    other = IsomerAgreement(judge=ExactAnswer(), set_column="family", name="mine")
    assert other.__name__ == "mine"
    assert other(completions=["Answer: x"], answer=["x"], family=["s"], domain=["a"]) == [1.0]
