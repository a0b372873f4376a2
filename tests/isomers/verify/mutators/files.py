"""What only a whole file shows, or what is left to check in sets of foreign origin."""

from __future__ import annotations

import random
import re

from isograd.isomers import Isomer, IsomerSet
from isograd.isomers.symbolic.telling import read_member
from isograd.isomers.verify.checks import Reason
from isograd.isomers.verify.leakage import LeakReason
from mutators.claims import another_answer_in_all_members, another_cue, with_cue
from mutators.graphs import a_member_s_own_graph_spoiled
from mutators.harmless import nodes_renamed_throughout
from mutators.tools import (
    anyone,
    foreign,
    joined,
    language,
    other,
    plants,
    repeats,
    split,
    spoils_foreign,
    with_all,
    with_graph,
    with_member,
    with_steps,
)

# Sets of foreign origin, which only what they carry can betray


@spoils_foreign(Reason.OVERLAP)
def two_members_in_nearly_the_same_words(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """One member's problem with two words changed, as another member's."""
    i, j = rng.sample(range(len(isomer_set.members)), 2)
    words = isomer_set.members[i].problem.split()
    for place in rng.sample(range(len(words)), 2):
        words[place] = rng.choice(("perhaps", "today", "gently"))
    told = isomer_set.members[j].model_copy(update={"problem": " ".join(words)})
    return foreign(with_member(isomer_set, j, told), graphs=True)


@spoils_foreign(Reason.GIVEN)
def a_given_number_no_longer_told(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """Where no distractor happens to tell it too."""
    index, member = anyone(isomer_set, rng)
    told = re.findall(r"[0-9]+", member.problem)
    wanted = [str(node.value) for node in isomer_set.graph.nodes if node.op is None and type(node.value) is int]
    found = [number for number in dict.fromkeys(wanted) if 0 < told.count(number) <= wanted.count(number)]
    if not found:
        return None
    number = rng.choice(found)
    fresh = str(other(rng, range(20, 90), *map(int, told)))
    problem = re.sub(rf"\b{number}\b", fresh, member.problem, count=1)
    return foreign(with_member(isomer_set, index, member.model_copy(update={"problem": problem})))


@spoils_foreign(Reason.ANSWER, Reason.NOISE)
def wrong_answers_and_a_graph_without_values(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """The graph can still be executed."""
    nodes = [node if node.op is None else node.model_copy(update={"value": None}) for node in isomer_set.graph.nodes]
    spoiled = another_answer_in_all_members(isomer_set, rng)
    return foreign(with_graph(spoiled, nodes, isomer_set.graph.edges))


@spoils_foreign(Reason.GRAPH, Reason.STRUCTURE)
def one_member_s_own_graph_spoiled(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return a_member_s_own_graph_spoiled(foreign(isomer_set, graphs=True), rng)


# Whole files: a set told before, and evaluation items planted in training data


def _new_id(isomer_set: IsomerSet) -> IsomerSet:
    return isomer_set.model_copy(update={"id": f"{isomer_set.id}-again"})


@repeats
def under_a_new_id(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return _new_id(isomer_set)


@repeats
def with_one_member_told_anew(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return _new_id(_told_anew(isomer_set, rng.randrange(len(isomer_set.members)), rng))


@repeats
def with_a_member_less(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    lost = rng.randrange(len(isomer_set.members))
    members = isomer_set.members[:lost] + isomer_set.members[lost + 1 :]
    return _new_id(isomer_set.model_copy(update={"members": members}))


@repeats
def with_members_in_another_order(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return _new_id(isomer_set.model_copy(update={"members": isomer_set.members[::-1]}))


@repeats
def with_nodes_renamed(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return _new_id(nodes_renamed_throughout(isomer_set, rng))


def _told_anew(isomer_set: IsomerSet, index: int, rng: random.Random) -> IsomerSet:
    """The same problem in other words of the same domain, with as many distractors, in one member."""
    member = isomer_set.members[index]
    tongue = language(isomer_set, member)
    family, reading = tongue.family, read_member(member, tongue)
    suffix = f" {member.cue}" if member.cue else ""
    while True:
        cast = tongue.cast(family.needs(reading.problem), reading.distractors, rng)
        story = family.statements(reading.problem, cast)
        for number in range(1, reading.distractors + 1):
            story.insert(rng.randint(1, len(story)), family.distractor(cast, number, rng))
        question = tongue.say(family.question(reading.problem, cast), rng)
        told = joined(member, [tongue.say(said, rng) for said in story], question)
        if told.problem != member.problem:
            break
    steps = [step.model_copy(update={"text": step.text + suffix}) for step in family.steps(reading.problem, cast)]
    return with_member(isomer_set, index, with_steps(told, steps))


@plants(LeakReason.GRAPH, LeakReason.EXACT)
def an_evaluation_set_under_a_new_id(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return _new_id(isomer_set)


@plants(LeakReason.EXACT)
def one_member_of_an_evaluation_set(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, _ = anyone(isomer_set, rng)
    return foreign(_new_id(isomer_set.model_copy(update={"members": isomer_set.members[index : index + 1]})))


@plants(LeakReason.GRAPH)
def an_evaluation_set_told_anew(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """Other names, items and templates in every member: the graph is the same."""
    for index in range(len(isomer_set.members)):
        isomer_set = _told_anew(isomer_set, index, rng)
    return _new_id(isomer_set)


@plants(LeakReason.GRAPH)
def an_evaluation_set_with_other_cues(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return with_all(_new_id(isomer_set), lambda member: with_cue(member, another_cue(isomer_set, member, rng)))


@plants(LeakReason.GRAPH)
def an_evaluation_set_with_nodes_renamed(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return an_evaluation_set_told_anew(nodes_renamed_throughout(isomer_set, rng), rng)


@plants(LeakReason.TEMPLATE)
def an_evaluation_set_with_other_numbers(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """The same sentences; the graph is another one or, where the set is somebody else's, not told."""
    words = ("one", "two", "three", "four", "five", "six", "seven", "first", "second", "third", "fourth", "fifth")
    pattern = re.compile(rf"\b(?:[0-9]+|{'|'.join(words)})\b")

    def moved(match: re.Match[str]) -> str:
        return (
            str(other(rng, range(2, 20), int(match[0]))) if match[0].isdigit() else other(rng, words, match[0].lower())
        )

    def change(member: Isomer) -> Isomer:
        sentences, question = split(member)
        return joined(member, [pattern.sub(moved, sentence) for sentence in sentences], question)

    changed = with_all(_new_id(isomer_set), change)
    if changed.members == isomer_set.members:
        return None  # deduction has no numbers
    nodes = [node.model_copy(update={"value": None}) for node in isomer_set.graph.nodes]
    return foreign(with_graph(changed, nodes, isomer_set.graph.edges))


# Rows of a benchmark, reworded, as one member of somebody's set

SPELLED = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty")


def other_numbers(text: str, rng: random.Random) -> str:
    """Every number, in digits or words, by another."""
    pattern = rf"\b(?:\d+(?:[.,]\d+)*|{'|'.join(SPELLED)})\b"
    return re.sub(pattern, lambda match: other(rng, ("7", "31", "1,250", "4.5", "eleven"), match[0]), text)


def other_names(text: str, rng: random.Random) -> str:
    """Every word with a capital inside a sentence, by a name, wherever it stands; he by she."""
    found = dict.fromkeys(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+\b", text))
    names = dict(
        zip(
            found,
            rng.sample(["Anneliese", "Oyelaran", "Dmitri", "Xiu", "Kwame Mensah", "Noor"] * 9, len(found)),
            strict=True,
        )
    )
    text = re.sub(r"\b[A-Z][a-z]+\b", lambda match: names.get(match[0], match[0]), text)
    swapped = {"he": "she", "she": "he", "his": "her", "her": "his", "him": "her"}
    return re.sub(r"\b(?:he|she|his|her|him)\b", lambda match: swapped[match[0]], text)


def with_row(isomer_set: IsomerSet, text: str, rng: random.Random) -> IsomerSet:
    """Somebody's set, one member of which asks what is given."""
    index, member = anyone(isomer_set, rng)
    return foreign(with_member(isomer_set, index, member.model_copy(update={"problem": text})), graphs=True)
