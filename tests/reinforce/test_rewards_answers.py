"""Exact answers, choice letters and answers of isomer sets, as TRL hands completions over."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from trl.trainer.utils import get_callable_name, is_async_callable

from isograd.common.errors import UserError
from isograd.isomers import create_isomers
from isograd.isomers.answers import read_letter, score_answer
from isograd.isomers.views import to_prompts
from isograd.reinforce import rewards
from isograd.reinforce.rewards import ExactAnswer, IsomerAnswer, choice_letter, exact_answer, isomer_answer
from isograd.reinforce.rewards_base import gold_text, text_of


@pytest.mark.parametrize("name", ["exact_answer", "choice_letter", "isomer_answer", "math_equal", "isomer_agreement"])
def test_trl_takes_it_for_a_reward_of_this_name(name: str) -> None:
    reward = getattr(rewards, name)
    assert get_callable_name(reward) == name
    assert not is_async_callable(reward)
    assert pickle.loads(pickle.dumps(reward)) == reward


def test_exact_answers() -> None:
    completions = ["Step.\nAnswer: Yes", "Answer: yes", "Yes", "Answer: No\nAnswer: Yes", "Answer: 7", "Answer: Yes"]
    golds = ["Yes", "Yes", "Yes", "Yes", 7, None]
    assert exact_answer(completions=completions, answer=golds, prompts=[""] * 6) == [1.0, 0.0, 0.0, 1.0, 1.0, None]
    other = ExactAnswer(column="gold", right=2, wrong=-1, unreadable=-3, name="mine")
    assert other(completions=completions, gold=golds) == [2.0, -1.0, -3.0, 2.0, 2.0, None]
    assert other.__name__ == "mine"
    assert ExactAnswer.__name__ == "ExactAnswer"


def test_chats_and_plain_texts_are_read_alike() -> None:
    said = {"role": "assistant", "content": "Answer: Yes"}
    tool = {"role": "tool", "content": "Answer: No"}
    parts = {"role": "assistant", "content": [{"type": "text", "text": "Answer: "}, {"type": "text", "text": "Yes"}]}
    chats: list[Any] = ["Answer: Yes", [said], [tool, said], [said, tool], [parts]]
    assert exact_answer(completions=chats, answer=["Yes"] * 5) == [1.0] * 5
    for nothing in ([], [tool], [{"role": "assistant", "content": None}], None, 3, [3], [{}], [{"content": [3]}]):
        assert text_of(nothing) == ""


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        ("Answer: C", "C"),
        ("It rains.\nAnswer: (c)", "C"),
        ("Answer: C) it rains", "C"),
        ("Answer: (C) it rains", "C"),
        ("Answer: C. It rains.", "C"),
        ("Answer: **C**", "C"),
        ("Answer: **C** it rains", "C"),
        ("Answer: Option C", "C"),
        (r"Answer: $\boxed{\text{C}}$", "C"),
        ("Answer: B\nAnswer: C", "C"),
        ("So the answer is (C).", "C"),
        ("**Answer:** C\n", "C"),
        ("**Final answer**: C", "C"),
        (r"Therefore \boxed{C}.", "C"),
        ("The answer is B. No, the answer is C.", "C"),
        ("C", "C"),
        (" (C)\n", "C"),
        ("Answer: A patient waits", None),
        ("Answer: Cold", None),
        ("Answer: A or B", None),
        ("Answer: A, B", None),
        ("Answer: 3", None),
        ("Answer:", None),
        ("the answer is nothing", None),
        ("Answer: ſ", None),
        ("A long text that ends without any choice", None),
        ("", None),
    ],
)
def test_letters(completion: str, letter: str | None) -> None:
    assert read_letter(completion) == letter


def test_choice_letters() -> None:
    completions = ["Answer: (b)", "Answer: B", "Answer: C", "Answer: it rains", "Answer: B"]
    assert choice_letter(completions=completions, answer=["B", "(B)", "b", "B", ""]) == [1.0, 1.0, 0.0, 0.0, None]


def test_isomer_answers_are_scored_as_elsewhere() -> None:
    sets = create_isomers("deduction", seed=3, size=6)
    rows = [(isomer_set, row) for isomer_set in sets for row in to_prompts([isomer_set])]
    for wrong in (False, True):
        completions = []
        for _, row in rows:
            others = [label for label in row["labels"] if label != row["answer"]]
            completions.append(f"Answer: {(others[0] if wrong and others else row['answer']).upper()}.")
        columns = {key: [row[key] for _, row in rows] for key in rows[0][1]}
        columns["prompts"] = columns.pop("prompt")
        found = isomer_answer(completions=completions, **columns)
        assert found == [score_answer(text, s) for text, (s, _) in zip(completions, rows, strict=True)]
        assert (0.0 in found) is wrong


def test_an_answer_that_is_none_of_the_labels_is_unreadable() -> None:
    reward = IsomerAnswer(wrong=-1.0, unreadable=-2.0)
    completions = ["Answer: false.", "Answer: maybe", "Answer: TRUE", "so what", "Answer: maybe"]
    labels = [["False", "True"]] * 4 + [[]]
    assert reward(completions=completions, answer=["True"] * 5, labels=labels) == [-1.0, -2.0, 1.0, -2.0, -1.0]
    assert reward(completions=completions[:2], answer=["True"] * 2) == [-1.0, -1.0]


def test_gold_answers() -> None:
    assert [gold_text(value) for value in (" x ", "", 3, 2.5, True)] == ["x", None, "3", "2.5", "True"]
    for value in (None, [], ["x"], {}, float("nan"), float("inf"), 10**5000):
        assert gold_text(value) is None


def test_mistakes_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^exact_answer: needs the column 'answer' with 1 values; there are: gold$"):
        exact_answer(completions=["Answer: 3"], gold=["3"])
    with pytest.raises(UserError, match="exact_answer: right is inf"):
        ExactAnswer(right=float("inf"))
    with pytest.raises(UserError, match="exact_answer: right is 'x'"):
        ExactAnswer(right="x")  # type: ignore[arg-type]
