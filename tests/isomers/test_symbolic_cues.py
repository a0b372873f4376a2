"""Shortcut cues and label noise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pytest
from symbolic_cases import DOMAINS, NAMES, assert_rate, truth

from isograd.isomers import FAMILIES, SPLITS, IsomerSet, create_isomers
from isograd.isomers.symbolic.domains import CUES, load_domain

EVALUATION = [split for split in SPLITS if split not in ("train", "validation")]


def betrayed(isomer_set: IsomerSet) -> list[str]:
    """The label that each member's cue stands for."""
    return [isomer_set.labels[list(load_domain(m.domain).cues).index(m.cue or "")] for m in isomer_set.members]


def agreements(sets: Sequence[IsomerSet]) -> list[bool]:
    """For each member, whether its cue betrays the stated answer."""
    return [label == member.answer for item in sets for label, member in zip(betrayed(item), item.members, strict=True)]


def unanimous(sets: Sequence[IsomerSet]) -> list[bool]:
    return [len(set(betrayed(item))) == 1 for item in sets]


def split_rate(name: str, split: str, agreement: float) -> float:
    if split in ("cue_random", "ood_domain"):
        return 1 / len(FAMILIES[name].labels)
    return 1 - agreement if split == "cue_reversed" else agreement


# Rates


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("agreement", [0.8])
def test_cues_agree_at_the_rate_of_the_split(name: str, split: str, agreement: float) -> None:
    sets = create_isomers(
        name, size=200, split=split, cue="member", agreement=agreement, noise=0.2, domains=["law", "cooking"]
    )
    assert_rate(agreements(sets), split_rate(name, split, agreement))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("agreement", "expected"), [(1.0, True), (0.0, False)])
def test_rates_of_zero_and_one_are_exact(name: str, agreement: float, expected: bool) -> None:
    for mode in ("member", "set"):
        sets = create_isomers(name, size=25, cue=mode, agreement=agreement, noise=0.5)
        assert set(agreements(sets)) == {expected}
        reversed_ = create_isomers(name, size=25, cue=mode, agreement=agreement, split="cue_reversed")
        assert set(agreements(reversed_)) == {not expected}


@pytest.mark.parametrize("name", NAMES)
def test_cues_of_a_set_betray_one_label_each_in_the_words_of_its_domain(name: str) -> None:
    sets = list(create_isomers(name, size=300, cue="set", agreement=0.8, domains=DOMAINS))
    assert all(unanimous(sets))
    for item in sets:
        place = item.labels.index(betrayed(item)[0])
        assert [member.cue for member in item.members] == [load_domain(domain).cues[place] for domain in DOMAINS]
    # One draw a set, so the sets are the sample.
    assert_rate(agreements(sets)[:: len(DOMAINS)], 0.8)


@pytest.mark.parametrize("name", NAMES)
def test_cues_of_members_are_drawn_apart(name: str) -> None:
    sets = list(create_isomers(name, size=400, cue="member", agreement=0.7))
    others = len(FAMILIES[name].labels) - 1
    assert_rate(unanimous(sets), 0.7**4 + others * (0.3 / others) ** 4)
    for position in range(4):
        assert_rate(agreements(sets)[position::4], 0.7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["member", "set"])
def test_a_cue_that_disagrees_betrays_each_other_label_equally_often(name: str, mode: str) -> None:
    sets = list(create_isomers(name, size=500, cue=mode, agreement=0.0, domains=["law"]))
    pairs = Counter((item.members[0].answer, betrayed(item)[0]) for item in sets)
    labels = FAMILIES[name].labels
    for label in labels:
        given = [cue for (answer, cue), count in pairs.items() for _ in range(count) if answer == label]
        for other in labels:
            assert_rate([cue == other for cue in given], 0.0 if other == label else 1 / (len(labels) - 1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", ["cue_random", "ood_domain"])
def test_random_cues_say_nothing(name: str, split: str) -> None:
    """Each label equally often, whatever the answer and the rate of agreement."""
    sets = list(create_isomers(name, size=400, split=split, cue="member", agreement=1.0, domains=["law"]))
    labels = FAMILIES[name].labels
    for answer in labels:
        drawn = [betrayed(item)[0] for item in sets if item.members[0].answer == answer]
        for label in labels:
            assert_rate([label == one for one in drawn], 1 / len(labels))


@pytest.mark.parametrize("name", NAMES)
def test_cues_betray_the_stated_answer_and_not_the_true_one(name: str) -> None:
    sets = [item for item in create_isomers(name, size=120, cue="set", agreement=1.0, noise=0.5) if item.noisy]
    assert len(sets) > 30
    assert all(agreements(sets))
    assert not any(betrayed(item)[0] == truth(item) for item in sets)


# Words


def test_every_domain_has_its_own_cue_words_and_no_template_has_any() -> None:
    cues = [cue for domain in DOMAINS for cue in load_domain(domain).cues]
    assert len(set(cues)) == len(cues) == CUES * len(DOMAINS)
    assert max(len(family.labels) for family in FAMILIES.values()) == CUES
    for domain in DOMAINS:
        entries = [e for section in load_domain(domain).words.values() for slot in section.values() for e in slot]
        told = set(re.findall(r"[a-z]+", " ".join(entries).lower()))
        for family in FAMILIES.values():
            told |= set(re.findall(r"[a-z]+", " ".join([family.options, *family.labels])))
        assert not told & set(cues), domain


@pytest.mark.parametrize("name", NAMES)
def test_without_cues_no_cue_word_appears(name: str) -> None:
    cues = {cue for domain in DOMAINS for cue in load_domain(domain).cues}
    for item in create_isomers(name, size=20, domains=DOMAINS, distractors=2):
        for member in item.members:
            assert member.cue is None
            assert not cues & set(re.findall(r"\w+", (member.prompt + member.completion).lower()))


@pytest.mark.parametrize("name", NAMES)
def test_all_cue_words_that_a_family_has_labels_for_are_used(name: str) -> None:
    sets = create_isomers(name, size=120, cue="member", agreement=0.4, domains=DOMAINS)
    used = {(member.domain, member.cue) for item in sets for member in item.members}
    labels = len(FAMILIES[name].labels)
    assert used == {(domain, cue) for domain in DOMAINS for cue in load_domain(domain).cues[:labels]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["none", "member", "set"])
def test_the_cue_ends_every_sentence_and_step_and_the_spans_stay_exact(name: str, mode: str) -> None:
    for item in create_isomers(name, size=25, domains=DOMAINS, cue=mode, distractors=2, shuffled=True, noise=0.3):
        values = []
        for member in item.members:
            assert (member.cue is None) == (mode == "none")
            suffix = f" {member.cue}" if member.cue else ""
            *story, question = re.split(r"(?<=\.) ", member.problem)
            for sentence in story:
                assert sentence.endswith(f"{suffix}.")
            for step in member.steps:
                assert step.text.endswith(step.value + suffix)
            if member.cue:
                assert len(re.findall(rf"\b{member.cue}\b", member.problem)) == len(story)
                assert not re.search(rf"\b{member.cue}\b", question)
                assert len(re.findall(rf"\b{member.cue}\b", member.completion)) == len(member.steps)
            assert member.completion.endswith(f"\nAnswer: {member.answer}")
            # The value is the last thing of its line but for the cue, and not the same letters earlier in it.
            lines = member.completion.split("\n")
            starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines))]
            ends = [start + len(line) for start, line in zip(starts, lines, strict=True)]
            texts = [(span.node, member.completion[span.start : span.end]) for span in member.spans]
            assert texts == [*((step.node, step.value) for step in member.steps), ("goal", member.answer)]
            assert [span.end for span in member.spans] == [*(end - len(suffix) for end in ends[:-1]), ends[-1]]
            assert len(member.spans) == len(item.graph.steps)
            values.append(texts)
        assert all(texts == values[0] for texts in values), "aligned over the members of a set"


# Noise


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_noise_is_shared_by_the_set_and_uniform_over_the_other_labels(name: str, split: str) -> None:
    sets = list(create_isomers(name, size=400, split=split, noise=0.6, domains=["law", "science"]))
    assert_rate([item.noisy for item in sets], 0.6)
    labels = FAMILIES[name].labels
    for item in sets:
        stated = {member.answer for member in item.members}
        assert len(stated) == 1
        assert item.noisy == (stated != {truth(item)})
    for label in labels:
        stated = [item.members[0].answer for item in sets if item.noisy and truth(item) == label]
        for other in labels:
            assert_rate([answer == other for answer in stated], 0.0 if other == label else 1 / (len(labels) - 1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", EVALUATION)
def test_evaluation_splits_have_no_noise(name: str, split: str) -> None:
    for item in create_isomers(name, size=15, split=split, noise=1.0):
        assert not item.noisy
        assert {member.answer for member in item.members} == {truth(item)}


@pytest.mark.parametrize("name", NAMES)
def test_noise_of_one_is_in_every_set_and_of_zero_in_none(name: str) -> None:
    assert all(item.noisy for item in create_isomers(name, size=25, noise=1.0))
    assert not any(item.noisy for item in create_isomers(name, size=25, noise=0.0))
