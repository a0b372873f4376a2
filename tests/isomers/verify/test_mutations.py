"""Sound sets spoiled in every way we could think of are rejected for the right reason; harmless changes pass."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutators import (
    FOREIGN,
    MUTATIONS,
    PLANTED,
    PRESERVING,
    REPEATED,
    Mutation,
    foreign,
    other_names,
    other_numbers,
    sound_sets,
    with_row,
)
from mutators.tools import with_member, with_steps

from isograd.isomers import IsomerSet, save_isomers
from isograd.isomers.questions import iter_questions
from isograd.isomers.verify import EvaluationItem, LeakageIndex, Verifier, check_set, verify_file
from isograd.isomers.verify.leakage import LeakReason, graph_key

GSM8K = Path(__file__).resolve().parents[4] / "shared" / "data" / "gsm8k" / "sample.jsonl"

SETS = list(islice(sound_sets(), 48))
"""Two of each family for each of six mixtures of depth, distractors, order, cue and noise."""
EVALUATION = list(islice(sound_sets(split="id"), 48))


def rejections(isomer_set: IsomerSet) -> set[str]:
    return {finding.reason for finding in check_set(isomer_set) if finding.reason.rejects}


def different(first: IsomerSet, second: IsomerSet) -> bool:
    return repr(first) != repr(second)  # 2 and 2.0 are equal


def test_the_sets_to_begin_with_are_sound_and_of_every_kind() -> None:
    assert [rejections(one) for one in SETS] == [set()] * 48
    assert len({one.family for one in SETS}) == 4
    assert len({(one.family, one.provenance.options["depth"]) for one in SETS}) >= 12
    for option in ("distractors", "cue", "shuffled", "noise"):
        assert len({one.provenance.options[option] for one in SETS}) >= 2
    assert 4 <= sum(one.noisy for one in SETS) <= 24


@pytest.mark.parametrize("one", SETS[:24], ids=lambda one: one.id)
def test_a_foreign_set_passes_with_what_cannot_be_checked_named(one: IsomerSet) -> None:
    assert {finding.reason.value for finding in check_set(foreign(one))} == {"structure_unchecked"}
    assert check_set(foreign(one, graphs=True)) == []


@pytest.mark.parametrize(("name", "mutation"), MUTATIONS.items(), ids=MUTATIONS)
def test_what_is_spoiled_is_found(name: str, mutation: Mutation) -> None:
    mutants = 0
    for number, sound in enumerate(SETS):
        mutant = mutation.change(sound, random.Random(number))
        if mutant is None:
            continue
        mutants += 1
        assert different(mutant, sound)
        assert rejections(mutant) & mutation.reasons, sound.id
        if mutation.anywhere:
            assert rejections(foreign(mutant)) & mutation.reasons, sound.id
    assert mutants >= 8


@given(
    name=st.sampled_from(sorted(MUTATIONS)),
    start=st.integers(0, 10**9),
    skip=st.integers(0, 7),
    seed=st.integers(0, 10**9),
)
def test_what_is_spoiled_is_found_in_sets_drawn_at_will(name: str, start: int, skip: int, seed: int) -> None:
    mutation = MUTATIONS[name]
    sound = next(islice(sound_sets(start=start), skip, None))
    assert rejections(sound) == set()
    mutant = mutation.change(sound, random.Random(seed))
    if mutant is not None:
        assert different(mutant, sound)
        assert rejections(mutant) & mutation.reasons


@pytest.mark.parametrize(("name", "mutation"), FOREIGN.items(), ids=FOREIGN)
def test_what_is_spoiled_is_found_in_foreign_sets(name: str, mutation: Mutation) -> None:
    mutants = [mutation.change(sound, random.Random(number)) for number, sound in enumerate(SETS)]
    found = [rejections(mutant) & mutation.reasons for mutant in mutants if mutant is not None]
    assert len(found) >= 20
    assert all(found)


@pytest.mark.parametrize(("name", "change"), PRESERVING.items(), ids=PRESERVING)
def test_harmless_changes_pass(name: str, change: Callable[..., IsomerSet | None]) -> None:
    changed = 0
    for number, sound in enumerate(SETS):
        another = change(sound, random.Random(number))
        if another is not None:
            changed += 1
            assert different(another, sound)
            assert check_set(another) == [], sound.id
    assert changed >= 20


@given(
    name=st.sampled_from(sorted(PRESERVING)),
    start=st.integers(0, 10**9),
    skip=st.integers(0, 7),
    seed=st.integers(0, 10**9),
)
def test_harmless_changes_pass_in_sets_drawn_at_will(name: str, start: int, skip: int, seed: int) -> None:
    sound = next(islice(sound_sets(start=start), skip, None))
    another = PRESERVING[name](sound, random.Random(seed))
    assert another is None or check_set(another) == []


@pytest.mark.parametrize(("name", "change"), REPEATED.items(), ids=REPEATED)
def test_a_set_told_before_is_found(name: str, change: Callable[..., IsomerSet]) -> None:
    verifier = Verifier()
    for line, sound in enumerate(SETS, 1):
        assert verifier.judge(line, sound).passed
    for line, sound in enumerate(SETS, 1):
        verdict = verifier.judge(100 + line, change(sound, random.Random(line)))
        assert [finding.reason.value for finding in verdict.rejections] == ["duplicate"]
        assert verdict.rejections[0].detail.endswith(f"in line {line}")


@pytest.fixture(scope="module")
def index() -> LeakageIndex:
    return LeakageIndex(
        EvaluationItem("eval", line, tuple(member.problem for member in one.members), graph_key(one.graph))
        for line, one in enumerate(EVALUATION, 1)
    )


@pytest.mark.parametrize(("name", "mutation"), PLANTED.items(), ids=PLANTED)
def test_a_planted_evaluation_set_is_found(name: str, mutation: Mutation, index: LeakageIndex) -> None:
    verifier = Verifier(index)
    planted = 0
    for line, one in enumerate(EVALUATION, 1):
        mutant = mutation.change(one, random.Random(line))
        if mutant is not None:
            planted += 1
            verdict = verifier.judge(line, mutant)
            here = {finding.reason for finding in verdict.rejections if finding.where == f"eval:{line}"}
            assert here & mutation.reasons, one.id
    assert planted >= 20


def test_training_sets_are_no_leaks(index: LeakageIndex) -> None:
    verifier = Verifier(index)
    assert [verifier.judge(line, one).findings for line, one in enumerate(SETS, 1)] == [()] * 48


ROWS = [
    "Martha bakes 24 muffins on Monday and half as many on Tuesday. She sells 3 muffins to each of her six neighbors. "
    "How many muffins does Martha have left at the end of Tuesday?",
    "A bus leaves the station with 40 passengers. At the first stop 12 people get off and 7 get on, and at the next "
    "stop Henry and his two sisters get on as well. How many passengers does the bus carry then?",
    "Oliver reads 15 pages of his book every evening, and on Sunday he reads twice as many. If the book has 210 pages, "
    "how many weeks does Oliver need to finish the whole book?",
    "Each of the 5 shelves in the library of Greenfield holds 36 novels and 14 atlases. After Clara borrows eight "
    "atlases and returns 11 novels, how many books stand on the shelves in all?",
]


def both(text: str, rng: random.Random) -> str:
    return other_names(other_numbers(text, rng), rng)


@pytest.mark.parametrize("change", [other_numbers, other_names, both])
def test_a_planted_row_is_found_reworded(change: Callable[[str, random.Random], str]) -> None:
    _assert_rows_found([(line, text) for line, text in enumerate(ROWS, 1)], change)


def test_a_row_planted_in_a_chain_of_thought_is_found() -> None:
    verifier = Verifier(LeakageIndex(EvaluationItem("rows", line, (text,)) for line, text in enumerate(ROWS, 1)))
    for line, text in enumerate(ROWS, 1):
        (sound, index) = (SETS[line], line % 4)
        member = sound.members[index]
        first = member.steps[0].model_copy(update={"text": f"{text} That is {member.steps[0].text}"})
        planted = foreign(with_member(sound, index, with_steps(member, [first, *member.steps[1:]])), graphs=True)
        found = verifier.judge(line, planted).rejections
        assert {one.where for one in found} == {f"rows:{line}"}
        assert {"leak_ngram13", "leak_ngram8"} <= {one.reason.value for one in found}


@pytest.mark.skipif(not GSM8K.is_file(), reason=f"no benchmark rows in {GSM8K}")
@pytest.mark.parametrize("change", [other_numbers, other_names, both])
def test_a_planted_row_of_gsm8k_is_found_reworded(change: Callable[[str, random.Random], str]) -> None:
    _assert_rows_found([(line, texts[0]) for line, texts in iter_questions(GSM8K)], change)


def _assert_rows_found(rows: list[tuple[int, str]], change: Callable[[str, random.Random], str]) -> None:
    verifier = Verifier(LeakageIndex(EvaluationItem("gsm8k", line, (text,)) for line, text in rows))
    changed = 0
    for line, text in rows:
        reworded = change(text, random.Random(line))
        if reworded == text:
            continue  # a question that names nobody
        changed += 1
        planted = with_row(SETS[line % len(SETS)], reworded, random.Random(line))
        found = verifier.judge(line, planted).rejections
        assert LeakReason.TEMPLATE in {one.reason for one in found if one.where == f"gsm8k:{line}"}, reworded
    assert changed >= min(len(rows), 3) * 0.5


def test_no_spoiled_set_passes_as_a_file(tmp_path: Path) -> None:
    """Whatever reading finds first, nothing spoiled comes through, and everything else does."""
    mutants = []
    for number, (name, mutation) in enumerate(MUTATIONS.items()):
        sources = SETS[number % len(SETS) :] + SETS[: number % len(SETS)]
        mutant = next(filter(None, (mutation.change(one, random.Random(number)) for one in sources)))
        mutants.append(mutant.model_copy(update={"id": name}))
    path = tmp_path / "mixed.jsonl"
    mixed = [one for pair in zip(mutants, SETS, strict=False) for one in pair]
    save_isomers([*mixed, *mutants[len(SETS) :]], path)
    accepted = tmp_path / "accepted.jsonl"
    summary = verify_file(path, accepted=accepted)
    assert summary.passed == 48
    assert summary.sets + summary.unreadable == 48 + len(mutants)
    assert accepted.read_text().splitlines() == [one.model_dump_json(exclude_defaults=True) for one in SETS]
