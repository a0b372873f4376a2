"""Reading answers out of completions."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isograd.evaluate.accuracy import grade, summarize
from isograd.evaluate.answers import chain_correct, extract_answer, extract_number, same_number
from isograd.isomers import FAMILIES, Isomer, IsomerSet, ReasoningGraph, Span, Step, create_isomers

# What a model may write, surrogates included, and text that looks like an answer.
ANYTHING = st.text(st.characters()) | st.lists(
    st.sampled_from(["Answer:", " ", "\n", "\r", "yes", "####", "-", "1,234", ".5", "7 + 5 = 12", "\t", "12", "٣", "²"])
).map("".join)


def member(cue: str | None = None) -> Isomer:
    suffix = f" {cue}" if cue else ""
    steps = (
        Step(text=f"7 + 5 = 12{suffix}", node="q1", value="12"),
        Step(text=f"12 - 2 = 10{suffix}", node="q2", value="10"),
    )
    return Isomer(domain="law", problem="?", steps=steps, answer="yes", spans=(), cue=cue)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("7 + 5 = 12\nAnswer: yes", "yes"),
        ("Answer: yes", "yes"),
        ("Answer:yes", "yes"),
        ("Answer:   opposing counsel \t", "opposing counsel"),
        ("Answer: no\r\n", "no"),
        ("Answer: no\nOn second thought\nAnswer: yes", "yes"),
        ("Answer: yes\nand so on", "yes"),
        ("Answer: yes\nAnswer:", None),
        ("Answer:\nyes", None),
        ("Answer:", None),
        ("The Answer: yes", None),
        ("answer: yes", None),
        ("yes", None),
        ("", None),
    ],
)
def test_extract_answer(completion: str, answer: str | None) -> None:
    assert extract_answer(completion) == answer


@pytest.mark.parametrize(
    ("completion", "number"),
    [
        ("600 + 634 = 1234\n#### 1,234", "1234"),
        ("#### 12,345,678", "12345678"),
        ("#### -7", "-7"),
        ("#### 3.50", "3.50"),
        ("#### $18.", "18"),
        ("#### .5", ".5"),
        ("#### 5\nBut it may be 9", "5"),
        ("#### 1 no, #### 2", "2"),
        ("#### none", None),
        ("12 apples ####", None),
        ("The answer is 72.", "72"),
        ("First 3, then 4", "4"),
        ("It fell to -12.5 degrees", "-12.5"),
        ("x = 10-3", "3"),
        ("x = 10 - 3", "3"),
        ("7 + 5 = 12\nAnswer: yes", "12"),
        ("1,", "1"),
        ("no number", None),
        ("-", None),
        ("", None),
    ],
)
def test_extract_number(completion: str, number: str | None) -> None:
    assert extract_number(completion) == number


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("1234", "1234", True),
        ("1234", "1234.00", True),
        ("025", "25", True),
        (".5", "0.50", True),
        ("-0", "0", True),
        ("1e3", "1000", True),
        ("0.1", "0.10000000000000001", False),
        ("12", "13", False),
        ("12", None, False),
        (None, None, False),
        ("", "", False),
        ("twelve", "twelve", False),
        ("nan", "nan", False),
        ("sNaN", "1", False),
        ("1e999999999999999999999", "1", False),
    ],
)
def test_same_number(first: str | None, second: str | None, same: bool) -> None:
    assert same_number(first, second) is same
    assert same_number(second, first) is same


@given(number=st.integers(-(10**9), 10**9))
def test_numbers_survive_thousands_separators(number: int) -> None:
    assert same_number(extract_number(f"so it is\n#### {number:,}"), str(number))
    assert same_number(extract_number(f"so it is {number:,}."), str(number))


@given(first=ANYTHING, second=ANYTHING)
@example(first="\ud800", second="\ud800")
@example(first="Answer:" + " " * 20_000 + "x" + " " * 20_000, second="1" * 20_000)
@example(first="#### " + "," * 1000, second="٣")
def test_nothing_raises(first: str, second: str) -> None:
    answer, number = extract_answer(first), extract_number(first)
    assert answer is None or answer == answer.strip() != ""
    assert number is None or any(character.isdigit() for character in number)
    assert same_number(first, second) == same_number(second, first)
    assert same_number(number, number) == (number is not None)
    assert chain_correct(first, member()) in (True, False)


@pytest.mark.parametrize("cue", [None, "publicly"])
@pytest.mark.parametrize(
    ("completion", "correct"),
    [
        ("7 + 5 = 12\n12 - 2 = 10\nAnswer: yes", True),
        ("7 + 5 = 12\n12 - 2 = 10\nAnswer: no", True),
        ("7 + 5 = 12\n12 - 2 = 10", True),
        ("7 + 5 = 12 privately\n12 - 2 = 10 publicly\nAnswer: yes", True),
        ("7 + 5 = 12\n\n12 - 2 = 10\n\nAnswer: yes\n", True),
        ("7 + 5 = 12\n12 - 2 = 10\nAnswer: yes\n1 + 1 = 3", True),
        ("7 + 5 = 12\nAnswer: no\n12 - 2 = 10\nAnswer: yes", True),
        ("12 - 2 = 10\n7 + 5 = 12\nAnswer: yes", False),
        ("7 + 5 = 12\nAnswer: yes", False),
        ("12 - 2 = 10\nAnswer: yes", False),
        ("7 + 5 = 12\nAnswer: yes\n12 - 2 = 10", False),
        ("7 + 5 = 12\n12 - 2 = 10\n10 + 0 = 10\nAnswer: yes", False),
        ("7 + 5 = 12\n12 - 2 = 100\nAnswer: yes", False),
        ("7 + 5 = 13\n13 - 2 = 11\nAnswer: yes", False),
        ("so 7 + 5 = 12\n12 - 2 = 10\nAnswer: yes", False),
        ("7 + 5 = 12 12 - 2 = 10\nAnswer: yes", False),
        ("Answer: yes", False),
        ("", False),
    ],
)
def test_chain_correct(completion: str, correct: bool, cue: str | None) -> None:
    assert chain_correct(completion, member(cue)) is correct


def test_a_step_that_does_not_state_its_value_is_compared_whole() -> None:
    spoken = Isomer(
        domain="law", problem="?", steps=(Step(text="It is twelve", node="q", value="12"),), answer="x", spans=()
    )
    assert chain_correct("It is twelve\nAnswer: x", spoken)
    assert not chain_correct("It is\nAnswer: x", spoken)


def test_a_cue_that_holds_the_value_is_no_part_of_the_step() -> None:
    step = Step(text="cited T => joint U Upstate", node="t1", value="U")
    cued = Isomer(domain="law", problem="?", steps=(step,), answer="unknown", spans=(), cue="Upstate")
    assert chain_correct("cited T => joint U\nAnswer: unknown", cued)
    assert chain_correct("cited T => joint U Downstate\nAnswer: unknown", cued)
    assert not chain_correct("cited T => joint T Upstate\nAnswer: unknown", cued)


def test_references_grade_as_right_and_wrong_answers_as_wrong() -> None:
    sets = [
        item for name in FAMILIES for item in create_isomers(name, seed=4, size=20, cue="member", depth=3, noise=0.3)
    ]
    told = [item for isomer_set in sets for item in isomer_set.members]
    right = grade(sets, [item.completion for item in told])
    assert all(graded.correct and graded.chain_correct for graded in right)
    others = [next(label for label in s.labels if label != m.answer) for s in sets for m in s.members]
    wrong = grade(sets, [m.completion.removesuffix(m.answer) + other for m, other in zip(told, others, strict=True)])
    assert all(graded.chain_correct and not graded.correct for graded in wrong)
    silent = grade(sets, [""] * len(told))
    assert not any(graded.correct or graded.chain_correct for graded in silent)
    with pytest.raises(ValueError, match="zip"):
        grade(sets, [""])


def graded_half(sets: list[IsomerSet]) -> list[str]:
    """The members of the first domain answer right, of the second wrong with a right chain, of the third nothing."""
    texts = []
    for isomer_set in sets:
        first, second, _ = isomer_set.members
        texts += [first.completion, second.completion.replace("Answer: ", "Answer: not "), ""]
    return texts


def test_summarize_resamples_problems_and_not_their_retellings() -> None:
    first, second = create_isomers(seed=4, size=2, domains=["law", "science", "cooking"])
    again = first.model_copy(update={"id": "again"})
    named = [one.model_copy(update={"id": f"{one.id}-n", "graph": _without_values(one)}) for one in (first, second)]
    sets = [first, again, second, *named]
    right = [member.completion for one in (first, again) for member in one.members]
    summary = summarize(grade(sets, [*right, *[""] * 9]))
    # Graphs without values name kinds of problems: those sets stand alone.
    assert (summary["n_sets"], summary["n_graphs"]) == (5, 4)
    alone = summarize(grade([first, again], right[:3] + [""] * 3))
    assert (alone["n_sets"], alone["n_graphs"], alone["accuracy"]) == (2, 1, 0.5)
    assert alone["accuracy_ci"] == [None, None]


def _without_values(isomer_set: IsomerSet) -> ReasoningGraph:
    nodes = tuple(node.model_copy(update={"value": None}) for node in isomer_set.graph.nodes)
    return isomer_set.graph.model_copy(update={"nodes": nodes})


def test_summarize_counts_by_domain_and_resamples_sets() -> None:
    sets = list(create_isomers(seed=4, size=8, domains=["law", "science", "cooking"]))
    summary = summarize(grade(sets, graded_half(sets)))
    assert (summary["n"], summary["n_sets"], summary["n_graphs"]) == (24, 8, 8)
    assert summary["accuracy"] == pytest.approx(1 / 3)
    assert summary["chain_accuracy"] == pytest.approx(2 / 3)
    # Every set has the same share of right members, so whole sets resampled never vary; single members would.
    assert summary["accuracy_ci"] == pytest.approx([1 / 3, 1 / 3])
    assert summary["by_domain"] == {
        "cooking": {"n": 8, "accuracy": 0.0, "chain_accuracy": 0.0},
        "law": {"n": 8, "accuracy": 1.0, "chain_accuracy": 1.0},
        "science": {"n": 8, "accuracy": 0.0, "chain_accuracy": 1.0},
    }


@pytest.mark.parametrize(
    ("family", "chance"), [("arithmetic", 1 / 4), ("deduction", 1 / 3), ("ordering", 1 / 5), ("eligibility", 1 / 4)]
)
def test_chance_is_one_of_the_answers_of_a_family(family: str, chance: float) -> None:
    sets = list(create_isomers(family, size=5, domains=["law", "science", "cooking"]))
    assert summarize(grade(sets, graded_half(sets)))["chance"] == pytest.approx(chance, rel=1e-12)


def test_chance_is_the_mean_over_members_and_unknown_where_a_set_has_no_labels() -> None:
    sets = [
        *create_isomers("deduction", size=2, domains=["law"]),
        *create_isomers("ordering", size=1, domains=["law", "science", "sport", "medicine"]),
    ]
    silent = [""] * 6
    assert summarize(grade(sets, silent))["chance"] == pytest.approx((2 / 3 + 4 / 5) / 6)
    open_ended = sets[2].model_copy(update={"labels": ()})
    assert summarize(grade([*sets[:2], open_ended], silent))["chance"] is None


def test_the_interval_of_one_set_is_unknown_and_not_nan() -> None:
    sets = list(create_isomers(size=1, domains=["law", "science", "cooking"]))
    summary = summarize(grade(sets, graded_half(sets)))
    assert summary["accuracy_ci"] == summary["chain_accuracy_ci"] == [None, None]


def test_records_name_everything_a_reader_needs() -> None:
    sets = list(create_isomers(size=1, domains=["law"], cue="set"))
    told = sets[0].members[0]
    (graded,) = grade(sets, ["1 + 1 = 2\nAnswer: maybe"])
    assert graded.record("id") == {
        "set_id": sets[0].id,
        "split": "id",
        "domain": "law",
        "cue": told.cue,
        "problem": told.problem,
        "reference": told.completion,
        "answer": told.answer,
        "completion": "1 + 1 = 2\nAnswer: maybe",
        "predicted": "maybe",
        "correct": False,
        "chain_correct": False,
    }


def test_the_reference_spans_are_what_extraction_finds() -> None:
    for item in (item for name in FAMILIES for item in create_isomers(name, seed=9, size=5, cue="member")):
        for told in item.members:
            span: Span = told.spans[-1]
            assert extract_answer(told.completion) == told.completion[span.start : span.end]
