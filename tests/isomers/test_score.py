"""What a completion is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.isomers import FAMILIES, create_isomers, score_answer


@pytest.mark.parametrize("family", FAMILIES)
def test_the_completion_of_every_member_is_worth_one_unless_it_is_noise(family: str) -> None:
    for isomer_set in create_isomers(family, size=60, noise=0.5, cue="member"):
        for member in isomer_set.members:
            assert score_answer(member.completion, isomer_set) == (0.0 if isomer_set.noisy else 1.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_true_label_scores(family: str) -> None:
    isomer_set = create_isomers(family, size=1, noise=1.0)[0]
    truth = isomer_set.graph.goal.value
    scores = {label: score_answer(f"x\nAnswer: {label}", isomer_set) for label in isomer_set.labels}
    assert scores == {label: float(label == truth) for label in isomer_set.labels}
    assert score_answer(f"Answer: {str(truth).upper()}.", isomer_set) == 1.0
    assert score_answer(str(truth), isomer_set) == 0.0
    assert score_answer(f"Answer: {truth}\nAnswer: something else", isomer_set) == 0.0


@given(st.text())
def test_any_text_has_a_score(text: str) -> None:
    assert score_answer(text, create_isomers(size=1)[0]) in (0.0, 1.0)
