"""The deduction family: rules with negations and side conditions about one subject; does a trait follow?"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Final

from isograd.isomers.schema import Edge, Node, NodeType, ReasoningGraph, Step
from isograd.isomers.symbolic.family import Cast, Family, Slot, Statement, Unreadable, one, sentences, words

__all__ = ["Deduction", "Rule", "Rules"]

Literal = tuple[int, bool]
"""A trait by its number, and whether it is affirmed."""

SIDE_RATE: Final = 1 / 3
"""How often a rule has a side condition."""


@dataclass(frozen=True)
class Rule:
    """Whatever meets all ``premises`` has the ``result``."""

    premises: tuple[Literal, ...]
    result: Literal


@dataclass(frozen=True)
class Rules:
    """A chain of rules: each has the result of the one before among its premises; the other premise is a fact.

    Traits are numbered as the rules name them: premises first, a rule's result next. Premises stand in the order in
    which they are said, affirmed before denied.

    Attributes:
        facts: what is known of the subject, by trait.
        rules: in order; the last one's result is asked for.
        asked: whether the claim to be judged affirms that result, or denies it.
    """

    facts: tuple[Literal, ...]
    rules: tuple[Rule, ...]
    asked: bool

    @property
    def values(self) -> dict[int, str]:
        """T, F or U (unknown) for each trait."""
        values = {trait: _letter(stated) for trait, stated in self.facts}
        for rule in self.rules:
            met = all(values[trait] == _letter(wanted) for trait, wanted in rule.premises)
            values[rule.result[0]] = _letter(rule.result[1]) if met else "U"
        return values


class Deduction(Family[Rules]):
    """Chains of universal rules applied to one subject, in three truth values (Kleene's): yes, no, unknown.

    A rule is applied forwards. Nothing more follows from it in classical logic either: each trait is the result of
    one rule at most, and a trait on which a rule fails is known from nowhere else. Depth counts rules.

    Args:
        denials: also draw claims that deny the last trait ("is it true that the stew is *not* spicy?"). Whether such a
            claim is true is an exclusive or of claim and trait, which small students learn late if at all, so
            :data:`~isograd.isomers.symbolic.families.FAMILIES` goes without.
    """

    name: ClassVar[str] = "deduction"
    version: ClassVar[int] = 2
    labels: ClassVar[tuple[str, ...]] = ("no", "unknown", "yes")
    options: ClassVar[str] = "yes, no or unknown"
    depths: ClassVar[range] = range(2, 7)
    slots: ClassVar[Mapping[str, Slot]] = {
        "name": words(6),
        "trait": words(16),
        "fact": sentences("name state"),
        "rule": sentences("condition result"),
        "distractor": sentences("other state"),
        "question": sentences("name trait options"),
    }
    fields: ClassVar[Mapping[str, str]] = {
        "name": "@name",
        "other": "@name",
        "trait": "(?:not )?@trait",
        "state": "(?:not )?@trait",
        "result": "(?:not )?@trait",
        "condition": "(?:not )?@trait(?: and (?:not )?@trait)?",
    }
    extra: ClassVar[str | None] = "name"
    shuffles: ClassVar[bool] = True

    def __init__(self, *, denials: bool = False) -> None:
        self.denials = denials

    def draw(self, rng: random.Random, depth: int, label: str) -> Rules:
        fails = None if label != "unknown" else rng.randrange(depth)
        asked = rng.random() < 0.5 if self.denials else True
        main, forms = rng.random() < 0.5, []
        value: bool | None = main
        for number in range(depth):
            result = rng.random() < 0.5 if label == "unknown" or number < depth - 1 else (label == "yes") == asked
            wanted = rng.random() < 0.5 if value is None else value
            side = (rng.random() < 0.5,) * 2 if rng.random() < SIDE_RATE else None
            if number == fails:
                # The rule fails on its side condition or, where it has none, on its main one.
                if side:
                    side = (side[0], not side[0])
                else:
                    wanted = not wanted
            forms.append((wanted, side, result))
            value = None if fails is not None and number >= fails else result
        return _build(main, forms, asked)

    def few(self) -> Iterator[Rules]:
        truths = (False, True)
        sides = (None, *product(truths, truths))
        for main, asked in product(truths, truths if self.denials else (True,)):
            for forms in product(product(truths, sides, truths), repeat=min(self.depths)):
                yield _build(main, list(forms), asked)

    def identity(self, problem: Rules) -> str:
        facts = dict(problem.facts)
        return (
            " ".join(
                "&".join(
                    f"{_letter(wanted)}{_letter(facts[trait]) if trait in facts else '*'}"
                    for trait, wanted in r.premises
                )
                + f">{_letter(r.result[1])}"
                for r in problem.rules
            )
            + f" {_letter(problem.asked)}?"
        )

    def graph(self, problem: Rules) -> ReasoningGraph:
        values = problem.values
        nodes = [
            Node(id=f"t{trait}", type=NodeType.ENTITY, description=f"trait {trait}, a fact", value=_letter(stated))
            for trait, stated in problem.facts
        ]
        edges = []
        for number, rule in enumerate(problem.rules, 1):
            trait, affirmed = rule.result
            law = "".join(_letter(wanted) for _, wanted in rule.premises) + ">" + _letter(affirmed)
            arguments = [f"r{number}", *(f"t{premise}" for premise, _ in rule.premises)]
            nodes += [
                Node(id=f"r{number}", type=NodeType.CONSTRAINT, description=f"rule {number}", value=law),
                Node(
                    id=f"t{trait}",
                    type=NodeType.PROPOSITION,
                    description=f"trait {trait}, by rule {number}",
                    op="apply",
                    args=tuple(arguments),
                    value=values[trait],
                ),
            ]
            roles = ["rule", *(f"premise {place}" for place in range(1, len(arguments)))]
            edges += [
                Edge(source=argument, target=f"t{trait}", role=role)
                for argument, role in zip(arguments, roles, strict=True)
            ]
        goal = f"t{problem.rules[-1].result[0]}"
        claim = _letter(problem.asked)
        edges += [Edge(source=goal, target="goal", role="truth"), Edge(source="q", target="goal", role="claim")]
        nodes += [
            Node(id="q", type=NodeType.CONSTRAINT, description="the claim about the last trait", value=claim),
            Node(
                id="goal",
                type=NodeType.GOAL,
                description="is the claim true?",
                op="verdict",
                args=(goal, "q"),
                value=_verdict(values[problem.rules[-1].result[0]], claim),
            ),
        ]
        return ReasoningGraph(nodes=tuple(nodes), edges=tuple(edges))

    def needs(self, problem: Rules) -> Mapping[str, int]:
        return {"name": 1, "trait": len(problem.facts) + len(problem.rules)}

    def statements(self, problem: Rules, cast: Cast) -> list[Statement]:
        name, traits = cast["name"][0], cast["trait"]
        facts, story = dict(problem.facts), []
        for rule in problem.rules:
            story += [
                Statement("fact", {"name": name, "state": _said((trait, facts[trait]), traits)})
                for trait, _ in rule.premises
                if trait in facts
            ]
            condition = " and ".join(_said(premise, traits) for premise in rule.premises)
            story.append(Statement("rule", {"condition": condition, "result": _said(rule.result, traits)}))
        return story

    def distractor(self, cast: Cast, number: int, rng: random.Random) -> Statement:
        # Another subject has, or lacks, a trait that matters for this one.
        state = rng.choice(("", "not ")) + rng.choice(cast["trait"])
        return Statement("distractor", {"other": cast["name"][number], "state": state})

    def question(self, problem: Rules, cast: Cast) -> Statement:
        claim = _said((problem.rules[-1].result[0], problem.asked), cast["trait"])
        return Statement("question", {"name": cast["name"][0], "trait": claim, "options": self.options})

    def steps(self, problem: Rules, cast: Cast) -> tuple[Step, ...]:
        # Each line says the rule, then what its premises are, then what follows.
        values = problem.values
        return tuple(
            Step(
                text=" ".join(
                    [_law(rule, cast), ";", *(values[t] for t, _ in rule.premises), "=>", values[rule.result[0]]]
                ),
                node=f"t{rule.result[0]}",
                value=values[rule.result[0]],
            )
            for rule in problem.rules
        )

    def notation(self, problem: Rules, cast: Cast) -> tuple[str, ...]:
        facts, traits, lines = dict(problem.facts), cast["trait"], []
        for rule in problem.rules:
            lines += [f"{traits[trait]} {_letter(facts[trait])}" for trait, _ in rule.premises if trait in facts]
            lines.append(_law(rule, cast))
        return tuple(lines)

    def understand(self, story: Sequence[Statement], question: Statement) -> tuple[Rules, Cast]:
        name = one((s.fields["name"] for s in [*story, question] if "name" in s.fields), "subjects")
        facts = [_heard(s.fields["state"]) for s in story if s.slot == "fact"]
        known = dict(facts)
        if len(known) < len(facts):
            raise Unreadable("a fact is stated twice")
        waiting = []
        for statement in story:
            if statement.slot == "rule":
                premises = [_heard(part) for part in statement.fields["condition"].split(" and ")]
                waiting.append((premises, _heard(statement.fields["result"])))
        numbers: dict[str, int] = {}
        rules: list[Rule] = []
        last = ""
        while waiting:
            # The next rule is the one whose premises are all known or derived by now; the first, all known.
            ready = [rule for rule in waiting if all(t in known or t in numbers for t, _ in rule[0])]
            ready = [rule for rule in ready if not rules or any(t == last for t, _ in rule[0])]
            if len(ready) != 1:
                raise Unreadable("the rules do not make one chain")
            premises, (last, affirmed) = ready[0]
            if last in numbers or last in known:
                raise Unreadable(f"the trait {last!r} has two sources")
            if premises != sorted(premises, key=lambda literal: _rank(literal[1], known.get(literal[0]))):
                raise Unreadable("the premises of a rule are not in the order in which they are said")
            for trait, _ in premises:
                numbers.setdefault(trait, len(numbers))
            numbers[last] = len(numbers)
            rules.append(Rule(tuple((numbers[t], wanted) for t, wanted in premises), (numbers[last], affirmed)))
            waiting.remove(ready[0])
        goal, asked = _heard(question.fields["trait"])
        if not rules or goal != last:
            raise Unreadable("the question does not ask for what the last rule gives")
        if not known.keys() <= numbers.keys():
            raise Unreadable("a fact is used by no rule")
        problem = Rules(tuple(sorted((numbers[trait], stated) for trait, stated in facts)), tuple(rules), asked)
        return problem, {"name": [name], "trait": list(numbers)}


def _build(main: bool, forms: Sequence[tuple[bool, tuple[bool, bool] | None, bool]], asked: bool) -> Rules:
    """From (wanted of the main premise, (wanted, stated) of the side one, result) of each rule, in normal form."""
    facts: list[Literal] = []
    rules: list[Rule] = []
    last, count = None, 0
    for wanted, side, result in forms:
        # (wanted, stated), the trait that the rule before derived as (wanted, None).
        premises: list[tuple[bool, bool | None]] = [(wanted, main if last is None else None)]
        if side is not None:
            premises.append(side)
        premises.sort(key=lambda premise: _rank(*premise))
        literals: list[Literal] = []
        for demanded, stated in premises:
            if stated is None:
                assert last is not None
                literals.append((last, demanded))
            else:
                facts.append((count, stated))
                literals.append((count, demanded))
                count += 1
        last, count = count, count + 1
        rules.append(Rule(tuple(literals), (last, result)))
    return Rules(tuple(facts), tuple(rules), asked)


def _rank(wanted: bool, stated: bool | None) -> tuple[bool, bool, bool]:
    """Where a premise is said: affirmed before denied, for "not a and b" could be misheard; then derived before stated,
    true before false."""
    return not wanted, stated is not None, not stated


def _law(rule: Rule, cast: Cast) -> str:
    """A rule in symbols: ``printed F & pending T -> sealed F``."""
    *premises, result = (f"{cast['trait'][trait]} {_letter(truth)}" for trait, truth in (*rule.premises, rule.result))
    return f"{' & '.join(premises)} -> {result}"


def _verdict(truth: str, claim: str) -> str:
    return "unknown" if truth == "U" else "yes" if truth == claim else "no"


def _letter(truth: bool) -> str:
    return "T" if truth else "F"


def _said(literal: Literal, traits: Sequence[str]) -> str:
    trait, affirmed = literal
    return traits[trait] if affirmed else f"not {traits[trait]}"


def _heard(text: str) -> tuple[str, bool]:
    return text.removeprefix("not "), not text.startswith("not ")
