"""Evaluation items found again: each reason alone, the rule for sets, graphs with values."""

from __future__ import annotations

import random

import pytest

from isograd.isomers import Edge, IsomerSet, Node, NodeType, ReasoningGraph, create_isomers
from isograd.isomers.graph import structure_hash
from isograd.isomers.verify.leakage import COMMON_13, EvaluationItem, Leak, LeakageIndex, LeakReason, graph_key

QUESTION = (
    "Martha keeps 14 hens on a small farm near the river. Every morning she gathers three eggs from each of them, "
    "bakes 4 loaves with half a dozen, and sells the rest to Oliver at the market for 2 dollars apiece. "
    "How much money does Martha earn in a week?"
)
REWORDED = (
    "Giovanni keeps 23 hens on a small farm near the river. Every morning he gathers five eggs from each of them, "
    "bakes 9 loaves with half a dozen, and sells the rest to Priya Nair at the market for 7 dollars apiece. "
    "How much money does Giovanni earn in a week?"
)
OTHER = "A train leaves the city at noon with 80 passengers and stops at four stations. How many stay until the end?"


def reasons(found: list[Leak]) -> list[str]:
    return [leak.reason.value for leak in found]


def index_of(*texts: str, graph_key: str | None = None) -> LeakageIndex:
    return LeakageIndex([EvaluationItem("eval.jsonl", 3, texts, graph_key)])


def test_what_is_found_says_where() -> None:
    index = LeakageIndex([EvaluationItem("a.jsonl", 1, (OTHER,)), EvaluationItem("b.jsonl", 7, (QUESTION,))])
    found = index.find([QUESTION.upper()])
    assert len(index) == 2
    assert {(leak.file, leak.line) for leak in found} == {("b.jsonl", 7)}
    assert reasons(found) == ["leak_exact", "leak_ngram13", "leak_ngram8"]
    assert found[1].detail == "13 words in a row: martha keeps 14 hens on a small farm near the river every morning"
    assert index.find(["Something else altogether."]) == []
    assert LeakageIndex().find([QUESTION], "key") == []


def test_a_reworded_question_has_the_template() -> None:
    assert reasons(index_of(QUESTION).find([REWORDED])) == ["leak_template"]
    assert reasons(index_of(QUESTION).find([f"{OTHER} {REWORDED} {OTHER}"])) == ["leak_template"]
    assert index_of(QUESTION).find([OTHER]) == []


def test_thirteen_words_are_enough_and_twelve_are_not() -> None:
    plain = QUESTION.split()
    assert reasons(index_of(QUESTION).find([f"Look: {' '.join(plain[5:18])}."])) == ["leak_ngram13"]
    assert index_of(QUESTION).find([f"Look: {' '.join(plain[5:17])}."]) == []


def test_half_of_the_runs_of_eight_words() -> None:
    # 12 words at a time, so that no run of 13 is left: of each 12 words that stay, five runs of eight do.
    plain = [f"w{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(60)]
    text = " ".join(plain)
    runs = 60 - 8 + 1
    pieces = " stop ".join(" ".join(plain[start : start + 12]) for start in range(0, 60, 7))
    assert reasons(index_of(text).find([pieces])) == ["leak_ngram8", "leak_template"]
    assert f" of its {runs} runs" in index_of(text).find([pieces])[0].detail
    few = " stop ".join(" ".join(plain[start : start + 12]) for start in range(0, 60, 12))
    assert LeakReason.NGRAM8 not in {leak.reason for leak in index_of(text).find([few])}


def test_exam_phrases_are_no_sign() -> None:
    phrase = "Which of the following is the most likely cause of this patient's symptoms?"
    assert index_of(f"{QUESTION} {phrase}").find([f"{OTHER} {phrase}"]) == []


def test_phrases_of_many_items_are_no_sign() -> None:
    phrase = "green lamps hang above seven wooden doors while quiet owls watch every passing stranger"
    tails = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda"]
    items = [EvaluationItem("e", line, (f"{tail} {phrase}", f"{tail} {phrase}")) for line, tail in enumerate(tails)]
    assert len(items) == COMMON_13 + 1
    text = f"Now {phrase} and {' and '.join(f'they {tail} at length' for tail in tails)}"
    assert reasons(LeakageIndex(items[:-1]).find([text])).count("leak_ngram13") == COMMON_13
    assert "leak_ngram13" not in reasons(LeakageIndex(items).find([text]))


def test_a_short_question_leaks_only_when_it_is_equal() -> None:
    short = "What is the capital of Peru?"
    assert reasons(index_of(short).find(["what is the capital of PERU"])) == ["leak_exact"]
    assert index_of(short).find(["What is the capital of Chile?"]) == []
    assert index_of("", "?!").find(["", "..."]) == []


def test_one_text_of_a_row_with_several_questions_is_enough() -> None:
    assert reasons(index_of(OTHER, QUESTION).find([REWORDED])) == ["leak_template"]
    assert reasons(index_of(QUESTION).find([OTHER, REWORDED])) == ["leak_template"]
    assert len(index_of(QUESTION, QUESTION + " Now?").find([REWORDED, REWORDED + " Now?"])) == 1


SECOND = "The court received 4 letters before noon and another nine after lunch. A clerk called Dora filed all of them."


def test_members_of_a_set_must_be_found_together() -> None:
    index = index_of(QUESTION, SECOND, OTHER, graph_key="k")
    other = [SECOND.replace("4", "5").replace("Dora", "Amir"), REWORDED, "Nothing of the kind is here."]
    assert reasons(index.find(other)) == ["leak_template"]
    assert index.find([REWORDED, "Nothing of the kind is here.", "Nor here."]) == []
    assert index.find([REWORDED, REWORDED, REWORDED]) == []
    assert reasons(index.find([REWORDED])) == ["leak_template"]
    assert reasons(index_of(QUESTION, graph_key="k").find([REWORDED, OTHER])) == ["leak_template"]


def test_one_equal_member_of_a_set_is_enough() -> None:
    found = index_of(QUESTION, SECOND, OTHER, graph_key="k").find([QUESTION, "Nothing here.", "Nor here."])
    assert reasons(found) == ["leak_exact"]


def test_thirteen_words_count_for_a_set_only_in_all_members() -> None:
    index = index_of(QUESTION, OTHER, graph_key="k")
    first, second = " ".join(QUESTION.split()[:14]), " ".join(OTHER.split()[:14])
    assert index.find([first, "Nothing here."]) == []
    assert reasons(index.find([f"So {first}", f"So {second}"])) == ["leak_ngram13"]


def test_graphs() -> None:
    index = index_of(QUESTION, OTHER, graph_key="k")
    assert reasons(index.find(["a", "b"], "k")) == ["leak_graph"]
    assert index.find(["a", "b"], "l") == []
    assert index.find(["a", "b"]) == []


def chain(start: object, amount: object, *, ids: str = "abc", swap: bool = False, result: object = 7) -> ReasoningGraph:
    first, second, goal = ids
    givens = [
        Node(id=first, type=NodeType.ENTITY, value=start),
        Node(id=second, type=NodeType.RELATION, value=amount),
    ]
    return ReasoningGraph(
        nodes=(
            *(reversed(givens) if swap else givens),
            Node(id=goal, type=NodeType.GOAL, op="gain", args=(first, second), value=result),
        ),
        edges=(
            Edge(source=first, target=goal, role="quantity"),
            Edge(source=second, target=goal, role="amount"),
        ),
    )


def test_graph_key_takes_values_and_no_names() -> None:
    key = graph_key(chain(5, 2))
    assert key == graph_key(chain(5, 2, ids="xyz")) == graph_key(chain(5, 2, swap=True)) == graph_key(chain(5.0, 2))
    others = [chain(2, 5), chain(5, 3), chain("5", 2), chain(5, 2, result=8), chain(5.5, 2), chain(None, 2)]
    assert len({key, *map(graph_key, others)}) == 7
    assert structure_hash(chain(5, 2)) == structure_hash(chain(1, 9))
    assert graph_key(chain(True, False)) == graph_key(chain(1, 0))


def test_a_graph_whose_givens_have_no_values_has_no_key() -> None:
    assert graph_key(chain(None, None)) is None


@pytest.mark.parametrize("shift", [0, 1])
def test_a_planted_set_is_found(sets: list[IsomerSet], shift: int) -> None:
    evaluation = [
        EvaluationItem("e", line, tuple(member.problem for member in one.members), graph_key(one.graph))
        for line, one in enumerate(sets, 1)
    ]
    index = LeakageIndex(evaluation)
    rng = random.Random(0)
    for line, one in enumerate(sets, 1):
        texts = [member.problem for member in one.members]
        rng.shuffle(texts)
        if shift:
            texts = [text.translate(str.maketrans("123456789", "234567891")) for text in texts]
        found = index.find(texts, None if shift else graph_key(one.graph))
        assert {leak.line for leak in found} == {line}
        assert LeakReason.TEMPLATE in {leak.reason for leak in found}
        assert (LeakReason.GRAPH in {leak.reason for leak in found}) == (shift == 0)


@pytest.mark.parametrize("family", ["arithmetic", "deduction", "ordering", "eligibility"])
def test_sets_of_one_generator_are_told_apart(family: str) -> None:
    index = LeakageIndex(
        EvaluationItem("e", line, tuple(member.problem for member in one.members), graph_key(one.graph))
        for line, one in enumerate(create_isomers(family, seed=1, size=300, split="id"), 1)
    )
    train = create_isomers(family, seed=1, size=100)
    leaked = sum(bool(index.find([member.problem for member in one.members], graph_key(one.graph))) for one in train)
    assert leaked <= 3
