"""Seeds and splits: what is fresh is fresh, and no problem is in two splits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbolic_cases import DOMAINS, LEAST, NAMES, some

from isograd.isomers import FAMILIES, SPLITS, IsomerSet, create_isomers
from isograd.isomers.graph import isomorphic, structure_hash
from isograd.isomers.symbolic.arithmetic import Arithmetic, Chain
from isograd.isomers.symbolic.domains import domain_names, load_domain
from isograd.isomers.symbolic.families import BUCKETS, bucket
from isograd.isomers.symbolic.family import Unreadable
from isograd.isomers.symbolic.grammar import Grammar
from isograd.isomers.symbolic.telling import read_member


def dumped(sets: Sequence[IsomerSet]) -> list[str]:
    return [isomer_set.model_dump_json() for isomer_set in sets]


def short_chains() -> list[Chain]:
    return [
        Chain(start, ((operation, amount),))
        for start in range(2, 19)
        for operation, sign in (("gain", 1), ("lose", -1), ("receive", 1), ("send", -1))
        for amount in range(2, 10)
        if 1 <= start + sign * amount <= 19
    ]


# Seeds


@settings(max_examples=40)
@given(
    name=st.sampled_from(NAMES),
    seed=st.integers(-(2**40), 2**40),
    split=st.sampled_from(list(SPLITS)),
    depth=st.integers(2, 5),
    distractors=st.integers(0, 3),
    shuffled=st.booleans(),
    cue=st.sampled_from(["none", "member", "set"]),
)
def test_the_same_arguments_give_the_same_bytes(name: str, **options: Any) -> None:
    first, second = (dumped(create_isomers(name, size=3, noise=0.3, **options)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", NAMES)
def test_an_item_depends_on_neither_size_nor_order(name: str) -> None:
    options: dict[str, Any] = {"seed": 4, "noise": 0.5, "cue": "set", "shuffled": True, "distractors": 1}
    large = create_isomers(name, size=12, **options)
    backwards = [large[index] for index in reversed(range(12))][::-1]
    assert dumped(backwards) == dumped(large[:]) == dumped(list(large))
    assert dumped(create_isomers(name, size=5, **options)) == dumped(large[:5])


@given(name=st.sampled_from(NAMES), seed=st.integers(0, 1000), data=st.data())
def test_an_item_does_not_depend_on_which_other_domains_are_told(name: str, seed: int, data: st.DataObject) -> None:
    options: dict[str, Any] = {
        "seed": seed,
        "size": 2,
        "cue": "member",
        "noise": 0.5,
        "distractors": 1,
        "shuffled": True,
    }
    names = data.draw(st.permutations(DOMAINS), label="order")[: data.draw(st.integers(1, 7), label="count")]
    every, few = (create_isomers(name, domains=domains, **options) for domains in (DOMAINS, names))
    for large, small in zip(every, few, strict=True):
        by_domain = {member.domain: member for member in large.members}
        assert [by_domain[domain] for domain in names] == list(small.members)
        assert (small.graph, small.noisy, small.structure) == (large.graph, large.noisy, large.structure)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_seeds_and_no_two_items_share_their_words(name: str) -> None:
    sets = [item for seed in range(20) for item in create_isomers(name, seed=seed, size=10)]
    stories = Counter(tuple(member.problem for member in item.members) for item in sets)
    assert stories.most_common(1)[0][1] == 1
    assert len({item.id for item in sets}) == len(sets) == 200


@pytest.mark.parametrize("name", NAMES)
def test_families_and_splits_draw_apart(name: str) -> None:
    """One seed gives every split its own items."""
    sets = [item for split in SPLITS for item in create_isomers(name, size=4, split=split, domains=["law"])]
    assert len({item.members[0].problem for item in sets}) == len(sets)
    assert len({item.id for item in sets}) == len(sets)


def test_noise_and_a_cue_of_the_set_leave_the_story_alone() -> None:
    for name in NAMES:
        plain, cued, noisy = (
            create_isomers(name, seed=1, size=15, cue=cue, noise=noise, shuffled=True)
            for cue, noise in (("none", 0.0), ("set", 0.0), ("set", 1.0))
        )
        for first, *others in zip(plain, cued, noisy, strict=True):
            for other in others:
                assert other.graph == first.graph
                for before, after in zip(first.members, other.members, strict=True):
                    assert after.cue is not None
                    assert after.problem.replace(f" {after.cue}.", ".") == before.problem
                    assert [step.text.removesuffix(f" {after.cue}") for step in after.steps] == [
                        step.text for step in before.steps
                    ]


# Splits


def test_every_bucket_belongs_to_one_split() -> None:
    buckets = [number for split in SPLITS.values() for number in split.buckets]
    assert sorted(buckets) == list(range(BUCKETS))


@pytest.mark.parametrize("name", ["deduction", "ordering"])
def test_no_problem_of_the_least_depth_is_in_two_splits(name: str) -> None:
    """All of them: graphs with equal structure and values have one bucket, and the draws are among them."""
    family = FAMILIES[name]
    homes: dict[str, set[int]] = {}
    identities: dict[str, set[str]] = {}
    for problem in family.few():
        key = structure_hash(family.graph(problem), values=True)
        homes.setdefault(key, set()).add(bucket(name, problem))
        identities.setdefault(family.identity(problem), set()).add(key)
    assert all(len(buckets) == 1 for buckets in homes.values())
    assert all(len(keys) == 1 for keys in identities.values()), "the identity tells less apart than the graph"
    for problem in some(name, LEAST[name], 300):
        assert structure_hash(family.graph(problem), values=True) in homes
    # Dealt out evenly within each answer.
    per_answer: dict[str, Counter[int]] = {}
    for problem in {family.identity(problem): problem for problem in family.few()}.values():
        per_answer.setdefault(family.answer(problem), Counter())[bucket(name, problem)] += 1
    for counts in per_answer.values():
        assert len(counts) == BUCKETS
        assert max(counts.values()) - min(counts.values()) <= 1


def test_no_short_chain_is_in_two_splits() -> None:
    family = Arithmetic()
    homes: dict[str, set[int]] = {}
    for chain in short_chains():
        homes.setdefault(structure_hash(family.graph(chain), values=True), set()).add(bucket("arithmetic", chain))
    assert len(homes) == len(short_chains()) > 300
    assert all(len(buckets) == 1 for buckets in homes.values())


@pytest.mark.parametrize("name", NAMES)
def test_isomorphic_problems_have_one_identity(name: str) -> None:
    """Equal identity for equal hash with values, by sampling where problems are many."""
    family = FAMILIES[name]
    by_hash: dict[str, set[str]] = {}
    for depth in (LEAST[name], LEAST[name] + 1):
        for problem in some(name, depth, 250):
            by_hash.setdefault(structure_hash(family.graph(problem), values=True), set()).add(family.identity(problem))
    assert all(len(identities) == 1 for identities in by_hash.values())


@pytest.mark.parametrize("name", NAMES)
def test_different_problems_have_different_graphs(name: str) -> None:
    family, rng = FAMILIES[name], random.Random(3)
    drawn = list(dict.fromkeys(some(name, LEAST[name], 40)))
    for first, second in (rng.sample(drawn, 2) for _ in range(150)):
        assert not isomorphic(family.graph(first), family.graph(second))
        assert isomorphic(family.graph(first), family.graph(first))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=2)
@given(data=st.data())
def test_no_two_splits_share_a_graph(name: str, data: st.DataObject) -> None:
    """Whatever their seeds, depths and options; at the least depth identities are few and drawn again often."""
    home: dict[str, str] = {}
    for split in SPLITS:
        seed = data.draw(st.integers(0, 10**9), label="seed")
        depth = LEAST[name] + data.draw(st.integers(0, 2), label="more")
        for item in create_isomers(name, seed=seed, size=60, split=split, depth=depth, domains=["law"], noise=0.5):
            key = structure_hash(item.graph, values=True)
            assert home.setdefault(key, split) == split
    assert set(home.values()) == set(SPLITS)


@pytest.mark.parametrize("name", NAMES)
def test_every_split_has_problems_of_every_answer_at_the_least_depth(name: str) -> None:
    family, rng = FAMILIES[name], random.Random(0)
    for label in family.labels:
        found = {bucket(name, family.draw(rng, LEAST[name], label)) for _ in range(1500)}
        for split_name, split in SPLITS.items():
            if not split.extra_depth:
                assert found & set(split.buckets), f"{split_name} has no problem with the answer {label}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_every_split_gives_every_answer(name: str, split: str) -> None:
    deepest = max(FAMILIES[name].depths) - SPLITS[split].extra_depth
    for depth in (LEAST[name], deepest):
        sets = create_isomers(name, size=40, split=split, depth=depth, domains=["law"])
        assert {item.graph.goal.value for item in sets} == set(FAMILIES[name].labels)


@pytest.mark.parametrize("name", NAMES)
def test_ood_depth_is_one_deeper_and_meets_no_other_split_there(name: str) -> None:
    def graphs(split: str, depth: int) -> dict[str, int]:
        return {
            structure_hash(item.graph, values=True): len(item.graph.steps)
            for item in create_isomers(name, size=60, split=split, depth=depth, domains=["law"])
        }

    deeper = graphs("ood_depth", LEAST[name])
    for split in SPLITS:
        if split != "ood_depth":
            others = graphs(split, LEAST[name] + 1)
            assert not deeper.keys() & others.keys()
            assert set(deeper.values()) == set(others.values())


@pytest.mark.parametrize("name", NAMES)
def test_default_domains_follow_the_split(name: str) -> None:
    train, unseen = domain_names("train"), domain_names("unseen")
    assert set(train) == {"law", "mathematics", "medicine", "science"}
    assert set(unseen) == {"cooking", "finance", "navigation", "sport"}
    assert domain_names() == tuple(sorted((*train, *unseen))) == DOMAINS
    for split in SPLITS:
        domains = create_isomers(name, split=split, size=1)[0].domains
        assert domains == (unseen if split == "ood_domain" else train)


def restricted(name: str, domain: str, *, held_out: bool) -> Grammar:
    """The grammar of a domain that has the held-out templates alone, or all others alone."""
    words = load_domain(domain)
    section = {
        slot: (entries[-1:] * 2 if held_out else [*entries[:-1], entries[0]])
        if FAMILIES[name].slots[slot].template
        else entries
        for slot, entries in words.words[name].items()
    }
    return Grammar(FAMILIES[name], words.model_copy(update={"words": {name: section}}))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("domain", DOMAINS)
def test_held_out_templates_are_told_by_ood_template_alone(name: str, domain: str) -> None:
    grammars = {held_out: restricted(name, domain, held_out=held_out) for held_out in (True, False)}
    for split in SPLITS:
        held_out = split == "ood_template"
        for item in create_isomers(name, size=8, split=split, domains=[domain], distractors=1):
            read_member(item.members[0], grammars[held_out])
            with pytest.raises(Unreadable):
                read_member(item.members[0], grammars[not held_out])
