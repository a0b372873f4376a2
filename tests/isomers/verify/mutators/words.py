"""The words of one member, or of all, spoiled."""

from __future__ import annotations

import random
import re
from typing import Any

from isograd.isomers import Isomer, IsomerSet
from isograd.isomers.symbolic.families import FAMILIES
from isograd.isomers.symbolic.family import Statement
from isograd.isomers.verify.checks import Reason
from mutators.tools import (
    _fields,
    anyone,
    filled,
    joined,
    language,
    of_slot,
    other,
    retold,
    split,
    spoils,
    statements,
    with_member,
)

# The words


def _number_changed(isomer_set: IsomerSet, member: Isomer, rng: random.Random) -> Isomer | None:
    """Another number in a sentence that matters; ``None`` where the family's sentences have none."""
    choices = []
    told = statements(isomer_set, member)
    for index in of_slot(isomer_set, member, distractor=False):
        fields = told[index].fields
        choices += [(index, name) for name in ("n", "bound", "gap", "place") if name in fields]
    if not choices:
        return None
    index, name = rng.choice(choices)
    fields = {**filled(isomer_set, member, rng), **told[index].fields}
    old = fields[name]
    if name == "n":
        fields[name] = str(other(rng, range(2, 20), int(old)))
    elif name == "bound":
        fields[name] = f"{old.rpartition(' ')[0]} {other(rng, range(2, 20), int(old.split()[-1]))}"
    elif name == "gap":
        fields[name] = other(rng, ("one place", "two places", "three places", "four places"), old)
    else:
        fields[name] = other(rng, ("first", "second", "third", "fourth", "fifth", "sixth", "seventh"), old)
    return retold(isomer_set, member, index, told[index].slot, fields, rng)


@spoils(Reason.STRUCTURE, Reason.TEXT)
def a_number_changed_in_one_member_s_problem(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    index, member = anyone(isomer_set, rng)
    changed = _number_changed(isomer_set, member, rng)
    return None if changed is None else with_member(isomer_set, index, changed)


@spoils(Reason.STRUCTURE, Reason.TEXT)
def a_number_changed_in_all_problems(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    changed = [_number_changed(isomer_set, member, rng) for member in isomer_set.members]
    return None if None in changed else isomer_set.model_copy(update={"members": tuple(changed)})


@spoils(Reason.TEXT)
def a_number_in_other_digits(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """Arabic digits, a leading zero: what Python takes for the same number."""
    index, member = anyone(isomer_set, rng)
    found = list(re.finditer(r"\d+", member.problem))
    if not found:
        return None
    match = rng.choice(found)
    written = rng.choice((f"0{match[0]}", match[0].translate({48 + d: 0x660 + d for d in range(10)}), f"{match[0]}.0"))
    problem = member.problem[: match.start()] + written + member.problem[match.end() :]
    return with_member(isomer_set, index, member.model_copy(update={"problem": problem}))


@spoils(Reason.TEXT, Reason.STRUCTURE)
def a_sentence_dropped(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    sentences, question = split(member)
    del sentences[rng.choice(of_slot(isomer_set, member, distractor=False))]
    return with_member(isomer_set, index, joined(member, sentences, question))


@spoils(Reason.PROVENANCE)
def a_distractor_dropped(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    index, member = anyone(isomer_set, rng)
    found = of_slot(isomer_set, member, distractor=True)
    if not found:
        return None
    sentences, question = split(member)
    del sentences[rng.choice(found)]
    return with_member(isomer_set, index, joined(member, sentences, question))


@spoils(Reason.TEXT)
def the_question_dropped(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    problem = member.problem.rpartition(". ")[0] + "."
    return with_member(isomer_set, index, member.model_copy(update={"problem": problem}))


def _asked(isomer_set: IsomerSet, member: Isomer, rng: random.Random, **update: str) -> Isomer:
    """The member with another question."""
    sentences, question = split(member)
    tongue = language(isomer_set, member)
    fields = {**filled(isomer_set, member, rng), **tongue.read(question).fields, **update}
    fields["options"] = tongue.family.options
    return joined(member, sentences, tongue.say(Statement("question", fields), rng))


@spoils(Reason.TEXT)
def the_question_asked_of_another(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """Of another name, trait or kind of item; eligibility asks of the case, whose holder need not be named."""
    found = {"arithmetic": ("items", "items"), "deduction": ("trait", "trait"), "ordering": ("b", "name")}
    if isomer_set.family not in found:
        return None
    name, words = found[isomer_set.family]
    index, member = anyone(isomer_set, rng)
    tongue = language(isomer_set, member)
    old = tongue.read(split(member)[1]).fields[name].removeprefix("not ")
    return with_member(
        isomer_set, index, _asked(isomer_set, member, rng, **{name: other(rng, tongue.words[words], old)})
    )


@spoils(Reason.STRUCTURE)
def the_claim_of_the_question_denied(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    if isomer_set.family != "deduction":
        return None
    index, member = anyone(isomer_set, rng)
    old = language(isomer_set, member).read(split(member)[1]).fields["trait"]
    return with_member(isomer_set, index, _asked(isomer_set, member, rng, trait=_denied(old, rng)))


@spoils(Reason.TEXT)
def the_options_changed(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    options = FAMILIES[isomer_set.family].options
    problem = member.problem.replace(options, options.replace(" or ", " and "))
    return with_member(isomer_set, index, member.model_copy(update={"problem": problem}))


def _said(isomer_set: IsomerSet, statement: Statement) -> tuple[Any, ...]:
    """What matters of a sentence: conditions may count anything."""
    fields = {k: v for k, v in statement.fields.items() if k not in ("items", "holder")}
    return statement.slot, tuple(sorted(fields.items()))


@spoils(Reason.STRUCTURE, Reason.TEXT)
def two_sentences_swapped(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """Where order matters, and sentences that say different things."""
    if FAMILIES[isomer_set.family].shuffles:
        return None
    index, member = anyone(isomer_set, rng)
    told = statements(isomer_set, member)
    places = of_slot(isomer_set, member, distractor=False)
    pairs = [
        (i, j) for i in places for j in places if i < j and _said(isomer_set, told[i]) != _said(isomer_set, told[j])
    ]
    i, j = rng.choice(pairs)
    sentences, question = split(member)
    sentences[i], sentences[j] = sentences[j], sentences[i]
    return with_member(isomer_set, index, joined(member, sentences, question))


SLOTS = {
    "gain": ("lose", "receive", "send"),
    "lose": ("gain", "receive", "send"),
    "receive": ("send", "gain", "lose"),
    "send": ("receive", "gain", "lose"),
    "after": ("before",),
    "before": ("after",),
    "also": ("alternative",),
    "alternative": ("also",),
}


def _denied(text: str, rng: random.Random) -> str:
    parts = text.split(" and ")
    place = rng.randrange(len(parts))
    parts[place] = parts[place][4:] if parts[place].startswith("not ") else f"not {parts[place]}"
    return " and ".join(parts)


def _opposites(statement: Statement, rng: random.Random) -> list[Statement]:
    fields = dict(statement.fields)
    found = [Statement(slot, fields) for slot in SLOTS.get(statement.slot, ())]
    found += [
        Statement(statement.slot, {**fields, name: _denied(fields[name], rng)})
        for name in ("state", "condition", "result")
        if name in fields
    ]
    if "bound" in fields:
        swapped = fields["bound"].replace("least", "MOST").replace("most", "least").replace("MOST", "most")
        found.append(Statement(statement.slot, {**fields, "bound": swapped}))
    return found


@spoils(Reason.STRUCTURE, Reason.TEXT)
def a_sentence_says_the_opposite(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """After for before, gain for loss, not for nothing, at most for at least, or for and."""
    index, member = anyone(isomer_set, rng)
    told = statements(isomer_set, member)
    found = [
        (place, against)
        for place in of_slot(isomer_set, member, distractor=False)
        for against in _opposites(told[place], rng)
    ]
    if not found:
        return None
    place, against = rng.choice(found)
    fields = {**filled(isomer_set, member, rng), **against.fields}
    return with_member(isomer_set, index, retold(isomer_set, member, place, against.slot, fields, rng))


@spoils(Reason.TEXT)
def a_distractor_about_the_subject(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet | None:
    """What would be a fact if it were read: said of whom or what the story is about."""
    extra = FAMILIES[isomer_set.family].extra
    index, member = anyone(isomer_set, rng)
    found = of_slot(isomer_set, member, distractor=True)
    if extra is None or not found:
        return None
    place = rng.choice(found)
    fields = {**filled(isomer_set, member, rng), **statements(isomer_set, member)[place].fields}
    name = next(key for key in ("other", "items") if key in fields and dict(_fields(isomer_set))[key] == f"@{extra}")
    told = [statements(isomer_set, member)[i].fields for i in of_slot(isomer_set, member, distractor=False)]
    fields[name] = rng.choice([said[key] for said in told for key in ("name", "a", "items") if key in said])
    return with_member(isomer_set, index, retold(isomer_set, member, place, "distractor", fields, rng))


@spoils(Reason.TEXT)
def another_member_s_problem(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    theirs = other(rng, isomer_set.members, member)
    return with_member(isomer_set, index, member.model_copy(update={"problem": theirs.problem, "cue": theirs.cue}))


@spoils(Reason.TEXT)
def a_word_of_another_domain(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """One entry of a word list by one that another domain alone has."""
    index, member = anyone(isomer_set, rng)
    own = language(isomer_set, member).words
    theirs = language(isomer_set, other(rng, isomer_set.members, member)).words
    found = [
        (entry, foreigner)
        for slot, entries in own.items()
        for entry in entries
        if re.search(rf"\b{re.escape(entry)}\b", member.problem)
        for foreigner in theirs[slot]
        if not any(foreigner in known for known in own.values())
    ]
    entry, foreigner = rng.choice(found)
    places = list(re.finditer(rf"\b{re.escape(entry)}\b", member.problem))
    place = rng.choice(places)
    problem = member.problem[: place.start()] + foreigner + member.problem[place.end() :]
    return with_member(isomer_set, index, member.model_copy(update={"problem": problem}))


@spoils(Reason.TEXT)
def two_members_under_each_other_s_names(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    i, j = rng.sample(range(len(isomer_set.members)), 2)
    members = list(isomer_set.members)
    members[i], members[j] = (members[a].model_copy(update={"domain": members[b].domain}) for a, b in ((i, j), (j, i)))
    return isomer_set.model_copy(update={"members": tuple(members)})


@spoils(Reason.DOMAIN)
def an_unknown_domain(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    index, member = anyone(isomer_set, rng)
    name = rng.choice(("astrology", "", f"../domains/{member.domain}", f"{member.domain}.yaml", member.domain.upper()))
    return with_member(isomer_set, index, member.model_copy(update={"domain": name or " "}))


@spoils(Reason.TEXT)
def a_sentence_that_is_none(isomer_set: IsomerSet, rng: random.Random) -> IsomerSet:
    """A sentence of nobody's, a doubled blank, a small first letter, a period too much."""
    index, member = anyone(isomer_set, rng)
    sentences, question = split(member)
    place = rng.randrange(len(sentences))
    text = sentences[place]
    sentences[place] = rng.choice(
        (
            f"All of this happened yesterday. {text}",
            f"{text} None",
            text.replace(" ", "  ", 1),
            text[0].lower() + text[1:],
            f"{text}.",
            f" {text}",
            f"{text}\n",
        )
    )
    return with_member(isomer_set, index, joined(member, sentences, question))
