"""Cues, answers, labels, noise and provenance spoiled."""

from __future__ import annotations

import random

from isograd.isomers import Isomer, IsomerSet
from isograd.isomers.symbolic.families import FAMILIES, bucket
from isograd.isomers.symbolic.generate import SPLITS
from isograd.isomers.symbolic.telling import read_member
from isograd.isomers.verify.checks import Reason
from mutators.steps import with_step
from mutators.tools import anyone, joined, language, other, split, spoils, with_all, with_member, with_steps

# Cues


def _cued(isomer_set: IsomerSet) -> bool:
    return isomer_set.members[0].cue is not None


def another_cue(isomer_set: IsomerSet, member: Isomer, rng: random.Random) -> str:
    tongue = language(isomer_set, member)
    return str(other(rng, list(tongue.domain.cues)[: len(isomer_set.labels)], member.cue))


@spoils(Reason.TEXT)
def another_cue_in_one_sentence(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    if not _cued(isomer_set):
        return None
    index, member = anyone(isomer_set, rng)
    parts = member.problem.split(". ")
    place = rng.randrange(len(parts) - 1)
    cue = rng.choice(("", f" {another_cue(isomer_set, member, rng)}"))
    parts[place] = parts[place].removesuffix(f" {member.cue}") + cue
    return with_member(isomer_set, index, member.model_copy(update={"problem": ". ".join(parts)}))


@spoils(Reason.STEP_TEXT)
def another_cue_in_one_step(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    if not _cued(isomer_set):
        return None
    index, member = anyone(isomer_set, rng)
    place = rng.randrange(len(member.steps))
    cue = rng.choice(("", f" {another_cue(isomer_set, member, rng)}"))
    return with_step(isomer_set, index, place, text=member.steps[place].text.removesuffix(f" {member.cue}") + cue)


def with_cue(member: Isomer, cue: str | None) -> Isomer:
    """Another cue, or none, in all sentences and steps."""
    new, old = (f" {word}" if word else "" for word in (cue, member.cue))
    sentences, question = split(member)
    told = joined(member.model_copy(update={"cue": cue}), sentences, question)
    return with_steps(
        told, [step.model_copy(update={"text": step.text.removesuffix(old) + new}) for step in member.steps]
    )


@spoils(Reason.PROVENANCE)
def another_cue_throughout_one_member_of_agreeing_ones(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    if isomer_set.provenance.options["cue"] != "set":
        return None
    index, member = anyone(isomer_set, rng)
    return with_member(isomer_set, index, with_cue(member, another_cue(isomer_set, member, rng)))


@spoils(Reason.PROVENANCE)
def a_cue_throughout_a_member_that_had_none(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    if _cued(isomer_set):
        return None
    index, member = anyone(isomer_set, rng)
    return with_member(isomer_set, index, with_cue(member, another_cue(isomer_set, member, rng)))


@spoils(Reason.PROVENANCE)
def no_cue_throughout_a_member_that_had_one(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    if not _cued(isomer_set):
        return None
    index, member = anyone(isomer_set, rng)
    return with_member(isomer_set, index, with_cue(member, None))


@spoils(Reason.TEXT)
def a_cue_stated_that_is_not_there(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    cue = rng.choice((another_cue(isomer_set, member, rng), "verily", "", None))
    if cue == member.cue:
        cue = "verily"
    return with_member(isomer_set, index, member.model_copy(update={"cue": cue}))


# Answers, labels, noise


def _answered(isomer_set: IsomerSet, answer: str) -> IsomerSet:
    return with_all(isomer_set, lambda member: with_steps(member, member.steps, answer))


@spoils(Reason.ANSWERS, anywhere=True)
def another_answer_in_one_member(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    answer = other(rng, isomer_set.labels, member.answer)
    return with_member(isomer_set, index, with_steps(member, member.steps, answer))


@spoils(Reason.ANSWER, Reason.NOISE, anywhere=True)
def another_answer_in_all_members(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """A wrong one for the right one; the right one where the set claims noise, for any wrong one would do there."""
    right = str(isomer_set.graph.goal.value)
    return _answered(isomer_set, right if isomer_set.noisy else other(rng, isomer_set.labels, right))


@spoils(Reason.LABEL, anywhere=True)
def an_answer_that_is_no_label(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    answer = rng.choice(("maybe", member.answer.upper(), f"{member.answer} ", f"{member.answer}."))
    return with_member(isomer_set, index, with_steps(member, member.steps, answer))


@spoils(Reason.LABEL, anywhere=True)
def all_answers_no_label(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return _answered(isomer_set, rng.choice(("maybe", isomer_set.members[0].answer.capitalize())))


@spoils(Reason.NOISE, Reason.ANSWER, anywhere=True)
def the_claim_of_noise_turned(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return isomer_set.model_copy(update={"noisy": not isomer_set.noisy})


@spoils(Reason.PROVENANCE)
def a_wrong_answer_claimed_as_noise_where_there_is_none(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    if isomer_set.noisy or isomer_set.provenance.options["noise"]:
        return None
    wrong = other(rng, isomer_set.labels, isomer_set.graph.goal.value)
    return _answered(isomer_set.model_copy(update={"noisy": True}), wrong)


@spoils(Reason.LABEL)
def other_labels(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    labels = isomer_set.labels
    return isomer_set.model_copy(
        update={"labels": rng.choice((labels[::-1], (*labels, "maybe"), (), (labels[1], labels[0], *labels[2:])))}
    )


@spoils(Reason.PROVENANCE, Reason.TEXT)
def another_family(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    return isomer_set.model_copy(update={"family": other(rng, [*FAMILIES, "calculus"], isomer_set.family)})


@spoils(Reason.PROVENANCE)
def another_split(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """One that the problem does not belong to."""
    member = isomer_set.members[0]
    place = bucket(isomer_set.family, read_member(member, language(isomer_set, member)).problem)
    names = [name for name, rule in SPLITS.items() if place not in rule.buckets]
    source = isomer_set.provenance.model_copy(update={"split": rng.choice([*names, "final"])})
    return isomer_set.model_copy(update={"provenance": source})
