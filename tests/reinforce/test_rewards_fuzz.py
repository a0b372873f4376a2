"""No text and no content of a column makes a reward raise."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from isograd.reinforce.rewards import ChoiceLetter, ExactAnswer, IsomerAgreement, IsomerAnswer, MathEqual

ANY_TEXT = st.text(st.characters(), max_size=60)
OTHERS = ["\\sqrt", "\\overline{3}", "\\text{", "\\le"]
PIECES = st.sampled_from(
    [
        *"}{()[]$^9A,%√½_=<\n\x00\ud800",
        "Answer:",
        "answer is ",
        "#### ",
        "\\boxed{",
        "\\frac",
        "e5",
        "1/0",
        "or",
        *OTHERS,
    ]
)
TEXTS = (
    ANY_TEXT | st.lists(PIECES, max_size=10).map("".join) | st.sampled_from(["Answer: " + "(" * 200_000, "A" * 200_000])
)
VALUES = (
    st.none() | TEXTS | st.integers() | st.floats() | st.booleans() | st.lists(TEXTS, max_size=2) | st.just({"a": 1})
)
MESSAGES = st.fixed_dictionaries({}, optional={"role": st.sampled_from(["assistant", "tool"]), "content": VALUES})
COMPLETIONS = TEXTS | st.lists(MESSAGES, max_size=3)
ROWS = st.lists(st.tuples(COMPLETIONS, VALUES, VALUES, VALUES, VALUES), max_size=4)


def _check(reward: Any, rows: list[tuple[Any, ...]]) -> None:
    columns = {
        name: [row[place] for row in rows] for place, name in enumerate(("answer", "set_id", "domain", "labels"), 1)
    }
    found = reward(
        prompts=[""] * len(rows), completions=[row[0] for row in rows], completion_ids=[[]] * len(rows), **columns
    )
    assert len(found) == len(rows)
    assert all(worth is None or (type(worth) is float and math.isfinite(worth)) for worth in found)


@pytest.mark.parametrize("kind", [ExactAnswer, ChoiceLetter, IsomerAnswer, IsomerAgreement])
@seed(0)
@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS)
def test_nothing_raises(kind: type, rows: list[tuple[Any, ...]]) -> None:
    _check(kind(), rows)


@seed(0)
@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS)
def test_nothing_raises_in_maths(rows: list[tuple[Any, ...]]) -> None:
    _check(MathEqual(timeout=1.0), rows)
