"""The logic of every family: graphs against direct computations, brute force over truth assignments and places."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import given, settings
from symbolic_cases import DOMAINS, LEAST, NAMES, assert_rate, drawn, some, truth

from isograd.isomers import FAMILIES, SPLITS, create_isomers
from isograd.isomers.graph import execute, problems
from isograd.isomers.symbolic.arithmetic import Chain
from isograd.isomers.symbolic.deduction import Deduction, Rule, Rules
from isograd.isomers.symbolic.eligibility import Case, Condition
from isograd.isomers.symbolic.families import grammar
from isograd.isomers.symbolic.family import Family, Statement
from isograd.isomers.symbolic.ordering import Line
from isograd.isomers.symbolic.telling import tell_member

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
GAPS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}


# Direct computations


def final_band(chain: Chain) -> str:
    total = chain.start
    for operation, amount in chain.changes:
        total += {"gain": amount, "receive": amount, "lose": -amount, "send": -amount}[operation]
    if total < 5:
        return "low"
    if total < 10:
        return "fair"
    return "good" if total < 15 else "high"


def forward_chained(rules: Rules) -> str:
    """Facts and rules to a fixed point, in any order."""
    known = set(rules.facts)
    while True:
        more = {rule.result for rule in rules.rules if set(rule.premises) <= known} - known
        if not more:
            break
        known |= more
    goal = rules.rules[-1].result[0]
    return "yes" if (goal, rules.asked) in known else "no" if (goal, not rules.asked) in known else "unknown"


def last_place(line: Line) -> str:
    place = line.places[0]
    for before, after in zip(line.places, line.places[1:], strict=False):
        place += after - before
    return ORDINALS[place - 1]


def decision(case: Case) -> str:
    def met(condition: Condition) -> bool:
        low, high = (condition.bound, 10**6) if condition.at_least else (-(10**6), condition.bound)
        return low <= condition.number <= high

    accepted = met(case.first)
    for join, condition in case.joined:
        accepted = {"also": min, "alternative": max}[join](accepted, met(condition))
    if met(case.exception):
        return "reviewed" if accepted else "deferred"
    return "accepted" if accepted else "rejected"


DIRECT: dict[str, Any] = {
    "arithmetic": final_band, "deduction": forward_chained, "ordering": last_place, "eligibility": decision,
}  # fmt: skip


@settings(max_examples=300)
@given(case=drawn())
def test_a_graph_executes_to_its_values_and_to_the_directly_computed_answer(
    case: tuple[Family[Any], int, str, Any],
) -> None:
    family, _, label, problem = case
    graph = family.graph(problem)
    assert problems(graph) == []
    executed = execute(graph)
    assert executed == {node.id: "" if node.value is None else node.value for node in graph.nodes}
    for node in graph.nodes:
        assert type(executed[node.id]) is type("" if node.value is None else node.value)
    assert executed["goal"] == graph.goal.value == family.answer(problem) == DIRECT[family.name](problem) == label


@pytest.mark.parametrize(
    ("problem", "answer"),
    [
        (Chain(4, ()), "low"),
        (Chain(2, (("gain", 3),)), "fair"),
        (Chain(7, (("lose", 2), ("receive", 9), ("send", 5))), "fair"),
        (Chain(18, (("send", 8),)), "good"),
        (Chain(6, (("receive", 9),)), "high"),
        (Rules(((0, True),), (Rule(((0, True),), (1, False)),), True), "no"),
        (Rules(((0, True),), (Rule(((0, True),), (1, False)),), False), "yes"),
        (Rules(((0, False),), (Rule(((0, True),), (1, False)),), True), "unknown"),
        (Rules(((0, False),), (Rule(((0, True),), (1, False)),), False), "unknown"),
        (Rules(((0, False),), (Rule(((0, False),), (1, True)),), True), "yes"),
        (Rules(((0, False),), (Rule(((0, False),), (1, True)),), False), "no"),
        (
            Rules(
                ((0, True), (2, False)), (Rule(((0, True),), (1, True)), Rule(((1, True), (2, True)), (3, True))), True
            ),
            "unknown",
        ),
        (Line((4, 9, 5)), "fifth"),
        (Line((9, 1)), "first"),
        (Case(Condition(True, 5, 5), (), Condition(True, 5, 4)), "accepted"),
        (Case(Condition(True, 5, 5), (), Condition(False, 5, 4)), "reviewed"),
        (Case(Condition(False, 5, 6), (("alternative", Condition(True, 9, 9)),), Condition(True, 5, 4)), "accepted"),
        (Case(Condition(False, 5, 6), (("also", Condition(True, 9, 9)),), Condition(True, 5, 4)), "rejected"),
        # From left to right: (met or unmet) and unmet, not met or (unmet and unmet).
        (
            Case(
                Condition(True, 3, 9),
                (("alternative", Condition(True, 9, 3)), ("also", Condition(True, 9, 3))),
                Condition(False, 9, 9),
            ),
            "deferred",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_answers_by_hand(problem: Any, answer: str) -> None:
    kinds = {Chain: "arithmetic", Rules: "deduction", Line: "ordering", Case: "eligibility"}
    family = FAMILIES[kinds[type(problem)]]
    assert family.answer(problem) == execute(family.graph(problem))["goal"] == answer
    assert DIRECT[family.name](problem) == answer


@given(case=drawn())
def test_a_depth_gives_as_many_steps(case: tuple[Family[Any], int, str, Any]) -> None:
    family, depth, _, problem = case
    cast = grammar(family.name, "law").cast(family.needs(problem), 0, random.Random(0))
    steps = family.steps(problem, cast)
    # Every condition but the first is checked and joined; the exception is checked.
    assert len(steps) == (2 * depth if family.name == "eligibility" else depth)
    assert [step.node for step in steps] == [node.id for node in family.graph(problem).steps[:-1]]
    assert all(step.text.endswith(step.value) for step in steps)
    assert len(family.notation(problem, cast)) == len(family.statements(problem, cast))


def test_numbers_stay_in_their_ranges() -> None:
    chains = some("arithmetic", 4, 150)
    assert {min(chain.values) for chain in chains} >= {1}
    assert {value for chain in chains for value in chain.values} == set(range(1, 20))
    assert {amount for chain in chains for _, amount in chain.changes} == set(range(2, 10))
    lines = some("ordering", 4, 100)
    assert {place for line in lines for place in line.places} == set(range(1, 10))
    assert all(len(set(line.places)) == len(line.places) and line.places[-1] <= 5 for line in lines)
    conditions = [condition for case in some("eligibility", 3, 150) for _, condition in case.conditions]
    assert {condition.number for condition in conditions} == set(range(2, 20))
    assert {condition.bound for condition in conditions} == set(range(3, 19))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("more", [0, 1, 2])
def test_answers_are_balanced(name: str, more: int) -> None:
    sets = list(create_isomers(name, size=800, depth=LEAST[name] + more, domains=["law"]))
    for label in FAMILIES[name].labels:
        assert_rate([truth(item) == label for item in sets], 1 / len(FAMILIES[name].labels))


def test_operators_are_all_used() -> None:
    def used(name: str) -> Counter[str]:
        return Counter(node.op or "" for problem in some(name, 3, 200) for node in FAMILIES[name].graph(problem).steps)

    wanted = {
        "arithmetic": {"gain", "lose", "receive", "send", "band"},
        "deduction": {"apply", "verdict"},
        "ordering": {"after", "before", "ordinal"},
        "eligibility": {"at_least", "at_most", "all_of", "any_of", "outcome"},
    }
    for name, operators in wanted.items():
        counts = used(name)
        assert set(counts) == operators
        assert min(counts.values()) > 0.1 * sum(counts.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_question_betrays_the_answer(name: str) -> None:
    """Templates are drawn apart from problems: each one goes with every label equally often."""
    language, labels = grammar(name, "science"), FAMILIES[name].labels
    seen: dict[str, Counter[str]] = {}
    for item in create_isomers(name, seed=5, size=1500, domains=["science"]):
        question = item.members[0].problem.rsplit(". ", 1)[-1]
        for entry in sorted({*language.words.get("holder", ()), *language.words.get("name", ()), *language.words.get(
            "items", ()), *language.words.get("trait", ())}, key=len, reverse=True):  # fmt: skip
            question = question.replace(entry, "_")
        seen.setdefault(question, Counter())[truth(item)] += 1
    assert len(seen) == 5
    for counts in seen.values():
        for label in labels:
            assert_rate([label == one for one in counts.elements()], 1 / len(labels))


# Deduction is classical logic


def literal(text: str) -> tuple[str, bool]:
    return text.removeprefix("not "), not text.startswith("not ")


def models(story: Iterable[Statement], facts: Iterable[tuple[str, bool]]) -> list[dict[str, bool]]:
    """Every way in which one subject can have or lack each trait, given facts about it and the rules for all."""
    rules = [
        ([literal(part) for part in s.fields["condition"].split(" and ")], literal(s.fields["result"]))
        for s in story
        if s.slot == "rule"
    ]
    facts = list(facts)
    traits = sorted({trait for premises, result in rules for trait, _ in [*premises, result]} | {t for t, _ in facts})
    found = []
    for values in product((False, True), repeat=len(traits)):
        model = dict(zip(traits, values, strict=True))
        if all(model[trait] == value for trait, value in facts) and all(
            model[result[0]] == result[1] or any(model[trait] != value for trait, value in premises)
            for premises, result in rules
        ):
            found.append(model)
    return found


def entailed(story: Sequence[Statement], question: Statement) -> str:
    name = question.fields["name"]
    facts = [literal(s.fields["state"]) for s in story if s.slot == "fact" and s.fields["name"] == name]
    trait, affirmed = literal(question.fields["trait"])
    truths = {model[trait] == affirmed for model in models(story, facts)}
    assert truths, "what is said contradicts itself"
    return "unknown" if len(truths) == 2 else "yes" if truths.pop() else "no"


def test_every_deduction_of_the_least_depth_is_classical() -> None:
    family = Deduction(denials=True)
    seen = Counter()
    for problem in family.few():
        cast = {"name": ["the appeal"], "trait": [f"t{number}" for number in range(9)]}
        answer = entailed(family.statements(problem, cast), family.question(problem, cast))
        assert answer == family.answer(problem)
        seen[answer] += 1
    assert sum(seen.values()) == 1600
    assert set(seen) == {"yes", "no", "unknown"}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize(("depth", "count"), [(2, 20), (3, 12), (4, 3)])
def test_told_deductions_are_classical(domain: str, depth: int, count: int) -> None:
    """From the words alone: shuffled, and with distractors about other subjects that contradict nothing."""
    language, rng = grammar("deduction", domain), random.Random(depth)
    for problem in some("deduction", depth, count, seed=7):
        answer = language.family.answer(problem)
        member = tell_member(problem, language, rng, answer=answer, cue=None, distractors=4, shuffled=True)
        *story, question = [language.read(sentence) for sentence in member.problem.split(". ")]
        assert entailed(story, question) == answer
        others = [s for s in story if s.slot == "distractor"]
        assert len({s.fields["other"] for s in others}) == 4
        assert question.fields["name"] not in {s.fields["other"] for s in others}
        for other in others:
            assert models(story, [literal(other.fields["state"])]), "a distractor cannot be true"


def test_three_truth_values_are_those_of_rules_applied_forwards() -> None:
    family, rng = Deduction(denials=True), random.Random(0)
    problems = [family.draw(rng, 2 + number % 4, family.labels[number % 3]) for number in range(300)]
    for problem in problems:
        values = problem.values
        for rule in problem.rules:
            fires = all(values[trait] == ("T" if wanted else "F") for trait, wanted in rule.premises)
            assert values[rule.result[0]] == (("T" if rule.result[1] else "F") if fires else "U")
        truth_value, claim = values[problem.rules[-1].result[0]], "T" if problem.asked else "F"
        wanted = "unknown" if truth_value == "U" else "yes" if truth_value == claim else "no"
        assert family.answer(problem) == wanted
    assert_rate([problem.asked for problem in problems], 0.5)
    assert all(problem.asked for problem in some("deduction", 2, 100))


# Ordering has one solution


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize(("depth", "count"), [(2, 4), (3, 1)])
def test_told_orders_leave_one_place(domain: str, depth: int, count: int) -> None:
    """Of all ways to put those in the line, the sentences leave one place to the one asked for."""
    language, rng = grammar("ordering", domain), random.Random(depth)
    for problem in some("ordering", depth, count, seed=8):
        answer = language.family.answer(problem)
        member = tell_member(problem, language, rng, answer=answer, cue=None, distractors=2, shuffled=True)
        *story, question = [language.read(sentence) for sentence in member.problem.split(". ")]
        matters = [s for s in story if s.slot != "distractor"]
        names = sorted({s.fields[key] for s in matters for key in ("a", "b") if key in s.fields})
        found = set()
        for order in permutations(range(1, 10), len(names)):
            place = dict(zip(names, order, strict=True))
            if all(holds(s, place) for s in matters):
                found.add(place[question.fields["b"]])
        assert [ORDINALS[place - 1] for place in found] == [answer]
        assert not {s.fields["other"] for s in story if s.slot == "distractor"} & set(names)


def holds(said: Statement, place: dict[str, int]) -> bool:
    if said.slot == "start":
        return place[said.fields["a"]] == ORDINALS.index(said.fields["place"]) + 1
    number, noun = said.fields["gap"].split()
    assert noun == ("place" if number == "one" else "places")
    distance = place[said.fields["b"]] - place[said.fields["a"]]
    return distance == (GAPS[number] if said.slot == "after" else -GAPS[number])


# Sets


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_members_state_what_the_graph_gives(name: str, split: str) -> None:
    for more in (0, 2):
        depth = LEAST[name] + more if (name, split, more) != ("arithmetic", "ood_template", 0) else 2
        for item in create_isomers(
            name, seed=2, size=12, split=split, depth=depth, noise=0.3, distractors=1, domains=DOMAINS
        ):
            assert problems(item.graph) == []
            assert item.labels == FAMILIES[name].labels
            executed = execute(item.graph)
            for member in item.members:
                stated = [
                    ("T" if value else "F") if isinstance(value, bool) else str(value)
                    for value in (executed[step.node] for step in member.steps)
                ]
                assert [step.value for step in member.steps] == stated
                assert member.answer in item.labels
                assert (member.answer != executed["goal"]) == item.noisy
