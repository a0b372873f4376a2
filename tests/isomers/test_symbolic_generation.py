"""Making sets: arguments and their errors, provenance, the curriculum, pinned values."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from symbolic_cases import DOMAINS, LEAST, MOST, NAMES, PINNED, pinned_text

from isograd.common.errors import UserError
from isograd.isomers import FAMILIES, SPLITS, create_isomers
from isograd.isomers.graph import structure_hash
from isograd.isomers.symbolic import create_curriculum
from isograd.isomers.symbolic.families import grammar
from isograd.isomers.symbolic.telling import read_member


def test_the_families_and_what_they_answer() -> None:
    assert {name: (family.labels, family.depths) for name, family in FAMILIES.items()} == {
        "arithmetic": (("low", "fair", "good", "high"), range(1, 13)),
        "deduction": (("no", "unknown", "yes"), range(2, 7)),
        "ordering": (("first", "second", "third", "fourth", "fifth"), range(2, 9)),
        "eligibility": (("accepted", "reviewed", "deferred", "rejected"), range(1, 9)),
    }
    for name, family in FAMILIES.items():
        assert family.name == name
        assert all(label in family.options for label in family.labels)
        assert {"distractor", "question"} <= set(family.slots)


def test_defaults() -> None:
    dataset = create_isomers()
    assert (dataset.family, dataset.split, dataset.seed, dataset.size) == ("arithmetic", "train", 0, 100)
    assert (dataset.depth, dataset.distractors, dataset.shuffled) == (2, 0, False)
    assert (dataset.cue, dataset.agreement, dataset.noise) == ("none", 0.9, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_indexing_is_that_of_a_sequence(name: str) -> None:
    dataset = create_isomers(name, size=5)
    assert len(dataset) == len(list(dataset)) == 5
    assert dataset[-1] == dataset[4]
    assert dataset[1:4:2] == [dataset[1], dataset[3]]
    assert dataset[::-1] == list(dataset)[::-1]
    for index in (5, -6):
        with pytest.raises(IndexError):
            dataset[index]
    assert list(create_isomers(name, size=0)) == []


@pytest.mark.parametrize("name", NAMES)
def test_provenance_is_enough_to_make_a_set_again(name: str) -> None:
    arguments: dict[str, Any] = {
        "depth": 3, "distractors": 1, "shuffled": True, "cue": "member", "agreement": 0.7, "noise": 0.4,
    }  # fmt: skip
    made = create_isomers(name, seed=11, size=9, split="validation", **arguments)[8]
    source = made.provenance
    assert source.options == arguments
    again = create_isomers(
        made.family, seed=source.seed, size=source.index + 1, split=source.split, domains=made.domains, **source.options
    )
    assert again[source.index] == made
    assert made.id == f"{name}-validation-d3x1-s11-8"
    assert (source.generator, source.version) == ("isograd.symbolic", FAMILIES[name].version)
    assert made.structure == structure_hash(made.graph)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shuffled", [False, True])
def test_shuffling_is_for_families_whose_sentences_mean_the_same_in_any_order(name: str, shuffled: bool) -> None:
    """Distractors are never first, for the story opens with what it is about."""
    moved = 0
    for item in create_isomers(name, size=30, depth=4, distractors=2, shuffled=shuffled, domains=DOMAINS):
        for member in item.members:
            language = grammar(name, member.domain)
            story = [language.read(sentence) for sentence in member.problem.split(". ")[:-1]]
            assert story[0].slot != "distractor"
            matters = [statement.slot for statement in story if statement.slot != "distractor"]
            assert len(matters) == len(story) - 2
            problem = read_member(member, language).problem
            cast = language.cast(FAMILIES[name].needs(problem), 0, random.Random(0))
            told = [statement.slot for statement in FAMILIES[name].statements(problem, cast)]
            assert sorted(matters) == sorted(told)
            moved += matters != told
    assert (moved > 0) == (shuffled and name in ("deduction", "ordering"))
    assert {n for n in NAMES if FAMILIES[n].shuffles} == {"deduction", "ordering"}


@pytest.mark.parametrize("name", NAMES)
def test_distractors_stand_in_every_place_but_the_first(name: str) -> None:
    language = grammar(name, "law")
    places = set()
    for item in create_isomers(name, size=120, depth=2, distractors=1, domains=["law"]):
        slots = [language.read(sentence).slot for sentence in item.members[0].problem.split(". ")]
        assert slots.count("distractor") == 1
        places.add((slots.index("distractor"), len(slots)))
    shortest = min(length for _, length in places)
    assert {place for place, length in places if length == shortest} == set(range(1, shortest - 1))


# Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "algebra"}, "unknown family 'algebra'; there are: arithmetic, deduction, ordering, eligibility"),
        ({"split": "test"}, f"unknown split 'test'; there are: {', '.join(SPLITS)}"),
        ({"cue": "word"}, "unknown cue mode 'word'; there are: none, member, set"),
        ({"size": -1}, "size is -1, it must not be negative"),
        ({"depth": 0}, "depth is 0; arithmetic in the split train goes from 1 to 12"),
        ({"depth": 13}, "depth is 13; arithmetic in the split train goes from 1 to 12"),
        ({"depth": 12, "split": "ood_depth"}, "depth is 12; arithmetic in the split ood_depth goes from 1 to 11"),
        ({"family": "deduction", "depth": 1}, "depth is 1; deduction in the split train goes from 2 to 6"),
        ({"family": "ordering", "depth": 9}, "depth is 9; ordering in the split train goes from 2 to 8"),
        ({"family": "eligibility", "depth": 9}, "depth is 9; eligibility in the split train goes from 1 to 8"),
        ({"distractors": -1}, "distractors is -1, it must be from 0 to 12"),
        ({"distractors": 13}, "distractors is 13, it must be from 0 to 12"),
        ({"agreement": 1.1}, "agreement is 1.1, it must be from 0 to 1"),
        ({"agreement": float("nan")}, "agreement is nan, it must be from 0 to 1"),
        ({"noise": -0.1}, "noise is -0.1, it must be from 0 to 1"),
        ({"domains": []}, "domains must be different and at least one, not: none"),
        ({"domains": ["law", "law"]}, "domains must be different and at least one, not: law, law"),
        ({"domains": ["law", "botany"]}, "unknown domain 'botany'; there are: cooking, finance, law, mathematics"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        create_isomers(**arguments)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "depth", "most", "wanted"),
    [
        ("deduction", 2, 5, "deduction needs 7 different words of the list 'name', domain 'cooking' has 6"),
        ("ordering", 2, 9, "ordering needs 13 different words of the list 'name', domain 'cooking' has 12"),
        ("ordering", 8, 3, "ordering needs 13 different words of the list 'name', domain 'cooking' has 12"),
        ("eligibility", 8, 5, "eligibility needs 15 different words of the list 'items', domain 'cooking' has 14"),
    ],
)
def test_more_distractors_than_words_are_refused_at_once(name: str, depth: int, most: int, wanted: str) -> None:
    options: dict[str, Any] = {"depth": depth, "size": 10, "shuffled": True, "domains": DOMAINS}
    for item in create_isomers(name, distractors=most, **options):
        for member in item.members:
            assert read_member(member, grammar(name, member.domain)).distractors == most
    with pytest.raises(UserError) as caught:
        create_isomers(name, distractors=most + 1, **options)
    assert str(caught.value) == f"{wanted}; lower the depth or the number of distractors"


def test_the_extra_step_of_ood_depth_takes_words_as_well() -> None:
    create_isomers("ordering", depth=6, distractors=5)
    with pytest.raises(UserError, match="ordering needs 13 different words"):
        create_isomers("ordering", depth=6, distractors=5, split="ood_depth")


@pytest.mark.parametrize("name", NAMES)
def test_every_depth_can_be_told_in_every_domain(name: str) -> None:
    for depth in FAMILIES[name].depths:
        most = 12 if FAMILIES[name].extra is None else 3
        for item in create_isomers(name, size=4, depth=depth, distractors=most, domains=DOMAINS):
            assert item.domains == DOMAINS


# Curriculum


@pytest.mark.parametrize("name", NAMES)
def test_a_level_adds_one_step_and_one_distractor(name: str) -> None:
    levels = create_curriculum(name, size=22, levels=4, seed=6, cue="set")
    assert [len(level) for level in levels] == [5, 6, 5, 6]
    for number, level in enumerate(levels):
        assert (level.depth, level.distractors) == (LEAST[name] + number, number)
        assert (level.seed, level.cue, level.family, level.split) == (6, "set", name, "train")
        for item in level:
            for member in item.members:
                assert read_member(member, grammar(name, member.domain)).distractors == number
    steps = [{len(item.graph.steps) for item in level} for level in levels]
    assert all(max(easy) < min(hard) for easy, hard in pairwise(steps))


@pytest.mark.parametrize(
    ("size", "levels", "parts"), [(0, 3, [0, 0, 0]), (2, 3, [0, 1, 1]), (100, 1, [100]), (9, 2, [4, 5])]
)
def test_a_curriculum_has_equal_parts(size: int, levels: int, parts: list[int]) -> None:
    assert [len(level) for level in create_curriculum("ordering", size=size, levels=levels)] == parts


@pytest.mark.parametrize(
    ("name", "most", "message"),
    [
        ("arithmetic", 12, "depth is 13; arithmetic in the split train goes from 1 to 12"),
        ("deduction", 5, "depth is 7; deduction in the split train goes from 2 to 6"),
        ("ordering", 5, "ordering needs 13 different words of the list 'name'"),
        ("eligibility", 7, "eligibility needs 16 different words of the list 'items'"),
    ],
)
def test_too_many_levels_are_refused_at_once(name: str, most: int, message: str) -> None:
    levels = create_curriculum(name, size=most, levels=most)
    assert levels[-1].depth <= MOST[name]
    assert len(levels[-1][0].members) == 4
    with pytest.raises(UserError) as caught:
        create_curriculum(name, size=0, levels=most + 1)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "algebra"}, "unknown family 'algebra'; there are: arithmetic"),
        ({"levels": 0}, "levels is 0, it must be at least 1"),
        ({"size": -1}, "size is -"),
        ({"noise": 2.0}, "noise is 2.0, it must be from 0 to 1"),
        ({"split": "test"}, "unknown split 'test'"),
        ({"domains": ["botany"]}, "unknown domain 'botany'"),
    ],
)
def test_bad_arguments_of_a_curriculum_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        create_curriculum(**arguments)
    assert str(caught.value).startswith(message)


# Pinned


@pytest.mark.parametrize("name", NAMES)
def test_pinned_sets(name: str) -> None:
    """The words of seed 0, item 0, and sets of every split. If they must change, raise the family's version: old seeds
    would lie. ``python tests/isomers/symbolic_cases.py`` writes the texts anew.
    """
    assert pinned_text(name) == (PINNED / f"{name}.txt").read_text()
