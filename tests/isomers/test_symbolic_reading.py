"""Telling and reading are inverse, and nothing that is told can be read in two ways."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbolic_cases import DOMAINS, LEAST, MOST, NAMES, drawn, some, spare

from isograd.isomers import FAMILIES, SPLITS, Isomer, create_isomers
from isograd.isomers.graph import isomorphic
from isograd.isomers.symbolic.domains import load_domain
from isograd.isomers.symbolic.families import grammar
from isograd.isomers.symbolic.family import Family, Statement, Unreadable
from isograd.isomers.symbolic.grammar import Grammar, capitalized
from isograd.isomers.symbolic.telling import read_member, tell_member

DRAWS = st.fixed_dictionaries({"distractors": st.integers(0, 12), "shuffled": st.booleans(), "held_out": st.booleans()})


@settings(max_examples=250)
@given(
    case=drawn(),
    domain=st.sampled_from(DOMAINS),
    options=DRAWS,
    cue=st.none() | st.integers(0, 4),
    seed=st.integers(0, 2**30),
)
def test_reading_gives_back_what_was_told(
    case: tuple[Family[Any], int, str, Any], domain: str, options: dict[str, Any], cue: int | None, seed: int
) -> None:
    family, _, label, problem = case
    language = grammar(family.name, domain)
    options["distractors"] = min(options["distractors"], spare(language, problem))
    word = None if cue is None else language.domain.cues[cue]
    member = tell_member(problem, language, random.Random(seed), answer=label, cue=word, **options)
    reading = read_member(member, language)
    assert reading.problem == problem
    assert family.graph(reading.problem) == family.graph(problem)
    assert reading.distractors == options["distractors"]
    suffix = f" {word}" if word else ""
    assert [step.text + suffix for step in reading.steps] == [step.text for step in member.steps]
    assert [(step.node, step.value) for step in reading.steps] == [(step.node, step.value) for step in member.steps]


@settings(max_examples=100)
@given(
    name=st.sampled_from(NAMES),
    split=st.sampled_from(list(SPLITS)),
    depth=st.integers(2, 4),
    distractors=st.integers(0, 4),
    shuffled=st.booleans(),
    cue=st.sampled_from(["none", "member", "set"]),
    noise=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 2**30),
)
def test_every_member_of_a_set_says_the_graph_of_the_set(name: str, seed: int, **options: Any) -> None:
    item = create_isomers(name, seed=seed, size=1, domains=DOMAINS, **options)[0]
    for member in item.members:
        reading = read_member(member, grammar(name, member.domain))
        assert isomorphic(FAMILIES[name].graph(reading.problem), item.graph)
        assert reading.distractors == options["distractors"]
        suffix = f" {member.cue}" if member.cue else ""
        assert [step.text + suffix for step in reading.steps] == [step.text for step in member.steps]


@settings(max_examples=150)
@given(case=drawn(deepest=4), domain=st.sampled_from(DOMAINS), seed=st.integers(0, 2**30))
def test_understanding_gives_back_problem_and_words(
    case: tuple[Family[Any], int, str, Any], domain: str, seed: int
) -> None:
    family, _, _, problem = case
    cast = grammar(family.name, domain).cast(family.needs(problem), 0, random.Random(seed))
    story = family.statements(problem, cast)
    understood, words = family.understand(story, family.question(problem, cast))
    assert understood == problem
    for slot, chosen in words.items():
        assert list(chosen) == list(cast[slot][: len(chosen)])
    assert family.steps(understood, {**cast, **words}) == family.steps(problem, cast)


def statements(family: Family[Any], language: Grammar, rng: random.Random) -> dict[str, list[Statement]]:
    """Random fillings of every slot."""
    found: dict[str, list[Statement]] = {}
    for problem in some(family.name, min(4, MOST[family.name]), 4, seed=rng.randrange(10**6)):
        cast = language.cast(family.needs(problem), 2, rng)
        told = [*family.statements(problem, cast), family.question(problem, cast)]
        told += [family.distractor(cast, number, rng) for number in (1, 2)]
        for statement in told:
            found.setdefault(statement.slot, []).append(statement)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("domain", DOMAINS)
def test_no_sentence_can_be_read_in_two_ways(name: str, domain: str) -> None:
    """Every template, the held-out ones too, with a dozen fillings."""
    family, language, rng = FAMILIES[name], grammar(name, domain), random.Random(domain)
    said = statements(family, language, rng)
    templates = {slot: load_domain(domain).words[name][slot] for slot, spec in family.slots.items() if spec.template}
    assert set(said) == set(templates)
    for slot, entries in templates.items():
        for template in entries:
            for statement in rng.sample(said[slot], 8):
                sentence = capitalized(template.format_map(statement.fields))
                read = language.read(sentence)
                assert read.slot == slot
                assert read.fields.items() <= {**statement.fields, "options": family.options}.items()
                assert "{" not in sentence


@pytest.mark.parametrize("name", NAMES)
def test_a_domain_does_not_read_the_words_of_another(name: str) -> None:
    for item in create_isomers(name, seed=3, size=10, domains=DOMAINS):
        for member, other in zip(item.members, item.members[1:], strict=False):
            with pytest.raises(Unreadable):
                read_member(member, grammar(name, other.domain))


# Spoiled members


def member_of(name: str, **options: Any) -> Isomer:
    return create_isomers(name, seed=1, size=1, domains=["law"], depth=LEAST[name] + 1, **options)[0].members[0]


def with_problem(member: Isomer, problem: str) -> Isomer:
    return member.model_copy(update={"problem": problem})


@pytest.mark.parametrize("name", NAMES)
def test_spoiled_members_cannot_be_read(name: str) -> None:
    member, language = member_of(name), grammar(name, "law")
    *story, question = member.problem.split(". ")
    spoiled = {
        f"'The judge slept' is no {name} sentence of domain 'law'": [story[0], "The judge slept", *story[1:], question],
        "a problem is a story and, last, one question": [*story, story[-1]],
    }
    for message, parts in spoiled.items():
        with pytest.raises(Unreadable) as caught:
            read_member(with_problem(member, ". ".join(parts)), language)
        assert str(caught.value) == message
    with pytest.raises(Unreadable, match="one question"):
        read_member(with_problem(member, ". ".join([question, *story, question])), language)
    # Each sentence of the story matters, and none may be missing but one change of a quantity or one joined condition.
    for place in range(len(story)):
        parts = [*story[:place], *story[place + 1 :], question]
        try:
            read = read_member(with_problem(member, ". ".join(parts)), language)
        except Unreadable:
            continue
        assert name in ("arithmetic", "eligibility")
        assert not isomorphic(language.family.graph(read.problem), language.family.graph(full(member, language)))


def full(member: Isomer, language: Grammar) -> Any:
    return read_member(member, language).problem


@pytest.mark.parametrize(("name", "about"), [("deduction", "name"), ("ordering", "b"), ("eligibility", "items")])
def test_a_distractor_must_be_about_something_else(name: str, about: str) -> None:
    """Said of what the story is about, or of what another distractor is about, it would matter."""
    member, language = member_of(name, distractors=1), grammar(name, "law")
    *story, question = member.problem.split(". ")
    read = [language.read(sentence) for sentence in [*story, question]]
    place, spoken = next((place, s) for place, s in enumerate(read) if s.slot == "distractor")
    field = "items" if name == "eligibility" else "other"
    (word,) = {s.fields[about] for s in read if s.slot in ("fact", "first")} or {read[-1].fields["b"]}
    spoiled = story[place].replace(spoken.fields[field], word).replace(capitalized(spoken.fields[field]), word)
    parts = [*story[:place], capitalized(spoiled), *story[place + 1 :], question]
    with pytest.raises(Unreadable, match=f"a distractor is about '{word}', as another sentence is"):
        read_member(with_problem(member, ". ".join(parts)), language)
    twice = [*story[: place + 1], story[place], *story[place + 1 :], question]
    with pytest.raises(Unreadable, match=f"a distractor is about '{spoken.fields[field]}', as another sentence is"):
        read_member(with_problem(member, ". ".join(twice)), language)


@pytest.mark.parametrize("name", NAMES)
def test_sentences_begin_with_a_capital_and_numbers_are_plain(name: str) -> None:
    member, language = member_of(name), grammar(name, "law")
    small = member.problem[0].lower() + member.problem[1:]
    with pytest.raises(Unreadable, match="begins with a small letter"):
        read_member(with_problem(member, small), language)
    number = re.search(r"\d+", member.problem)
    for spoiled in ("0", "007", "1.5", "-3", "12345") if number else ():
        with pytest.raises(Unreadable):
            read_member(with_problem(member, member.problem.replace(number[0], spoiled, 1)), language)


@pytest.mark.parametrize("name", NAMES)
def test_the_cue_must_stand_in_every_sentence(name: str) -> None:
    member, language = member_of(name, cue="set", distractors=1), grammar(name, "law")
    assert member.cue
    assert read_member(member, language).distractors == 1
    first, rest = member.problem.split(". ", 1)
    bare = first.removesuffix(f" {member.cue}")
    with pytest.raises(Unreadable, match=f"lacks the cue '{member.cue}'"):
        read_member(with_problem(member, f"{bare}. {rest}"), language)
    with pytest.raises(Unreadable, match=f"is no {name} sentence"):
        read_member(member.model_copy(update={"cue": None}), language)


@pytest.mark.parametrize(
    ("slot", "template"), [("gain", "Then {n} {items} were voided"), ("receive", "From the {partner} came {n} {items}")]
)
def test_a_sentence_of_two_meanings_is_not_read(slot: str, template: str) -> None:
    """``lose`` and ``receive`` of the domain have these templates; ``send`` gets the second one, too."""
    law = load_domain("law")
    words = {
        family: {name: list(entries) for name, entries in section.items()} for family, section in law.words.items()
    }
    words["arithmetic"][slot][0] = template
    words["arithmetic"]["send"][0] = "From the {partner} came {n} {items}"
    language = Grammar(FAMILIES["arithmetic"], law.model_copy(update={"words": words}))
    sentence = template.format(n=5, items="claims", partner="archive")
    with pytest.raises(Unreadable, match=f"^'{sentence}' can mean two things of domain 'law'$"):
        language.read(sentence)


def fact(state: str, name: str = "ann") -> Statement:
    return Statement("fact", {"name": name, "state": state})


def rule(condition: str, result: str) -> Statement:
    return Statement("rule", {"condition": condition, "result": result})


def start(place: str = "third", a: str = "x") -> Statement:
    return Statement("start", {"a": a, "place": place})


def related(slot: str, a: str, b: str, gap: str = "one place") -> Statement:
    return Statement(slot, {"a": a, "b": b, "gap": gap})


def change(slot: str, **fields: str) -> Statement:
    return Statement(slot, {"n": "3", "items": "cats", **fields})


def condition(slot: str, items: str = "cats", holder: str = "zoo") -> Statement:
    return Statement(slot, {"bound": "at least 4", "items": items, "n": "5", "holder": holder})


ASKED = {
    "arithmetic": Statement("question", {"items": "cats"}),
    "deduction": Statement("question", {"name": "ann", "trait": "c"}),
    "ordering": Statement("question", {"b": "z"}),
    "eligibility": Statement("question", {"holder": "zoo"}),
}


@pytest.mark.parametrize(
    ("name", "story", "message"),
    [
        ("arithmetic", [], "the story is not a start and its changes"),
        ("arithmetic", [change("gain")], "the story is not a start and its changes"),
        ("arithmetic", [change("start", holder="zoo"), change("start", holder="zoo")], "not a start and its changes"),
        (
            "arithmetic",
            [change("start", holder="zoo"), change("gain", items="dogs")],
            "name 2 kinds of items: cats, dogs",
        ),
        (
            "arithmetic",
            [change("start", holder="zoo"), change("send", partner="p"), change("receive", partner="q")],
            "the sentences name 2 partners: p, q",
        ),
        ("arithmetic", [change("start", holder="zoo"), change("lose")], "a quantity is below 1 or above 19"),
        ("arithmetic", [change("start", holder="zoo", n="20")], "a quantity is below 1 or above 19"),
        ("deduction", [fact("a"), fact("b"), rule("not a and b", "c")], "not in the order in which they are said"),
        ("deduction", [fact("a"), fact("not b"), rule("b and a", "c")], "not in the order in which they are said"),
        ("deduction", [fact("a"), rule("a", "c"), fact("b", name="bob")], "name 2 subjects: ann, bob"),
        ("deduction", [fact("a"), fact("not a"), rule("a", "c")], "a fact is stated twice"),
        ("deduction", [fact("a"), rule("b", "c")], "the rules do not make one chain"),
        ("deduction", [fact("a"), rule("a", "c"), rule("a", "d")], "the rules do not make one chain"),
        ("deduction", [fact("a"), fact("b"), rule("a", "b"), rule("b", "c")], "the rules do not make one chain"),
        ("deduction", [fact("a"), fact("c"), rule("a", "c")], "the trait 'c' has two sources"),
        ("deduction", [fact("a"), rule("a", "b")], "the question does not ask for what the last rule gives"),
        ("deduction", [], "the question does not ask for what the last rule gives"),
        ("deduction", [fact("a"), fact("b"), rule("a", "c")], "a fact is used by no rule"),
        ("ordering", [related("after", "x", "z")], "the sentences name 0 first places: none"),
        ("ordering", [start(), start(a="y"), related("after", "x", "z")], "the sentences name 2 first places: x, y"),
        ("ordering", [start(), start("fourth"), related("after", "x", "z")], "the sentences do not make one chain"),
        ("ordering", [start(), related("after", "x", "y"), related("after", "x", "z")], "do not make one chain"),
        ("ordering", [start(), related("after", "x", "y"), related("before", "y", "x")], "'x' is placed twice"),
        ("ordering", [start(), related("after", "x", "y")], "do not lead from the first to the one asked for"),
        ("ordering", [start(), related("after", "x", "z"), related("after", "v", "w")], "do not lead from the first"),
        ("ordering", [start("first"), related("before", "x", "z")], "a place is outside the line or taken twice"),
        ("ordering", [start("ninth"), related("after", "x", "z")], "a place is outside the line or taken twice"),
        (
            "ordering",
            [start(), related("after", "x", "y"), related("before", "y", "z")],
            "a place is outside the line or taken twice",
        ),
        ("ordering", [start("fifth"), related("after", "x", "z")], "the place asked for is none of the answers"),
        ("eligibility", [condition("first")], "not a first condition, further ones and an exception"),
        ("eligibility", [condition("first"), condition("also", "dogs")], "not a first condition"),
        ("eligibility", [condition("exception"), condition("first", "dogs")], "not a first condition"),
        ("eligibility", [condition("first"), condition("exception")], "two conditions count the same things"),
        (
            "eligibility",
            [condition("first"), condition("exception", "dogs", holder="farm")],
            "the sentences name 2 holders: farm, zoo",
        ),
    ],
)
def test_statements_that_make_no_problem_are_refused(name: str, story: list[Statement], message: str) -> None:
    with pytest.raises(Unreadable) as caught:
        FAMILIES[name].understand(story, ASKED[name])
    assert message in str(caught.value)
