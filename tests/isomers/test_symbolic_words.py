"""The words: complete domain files, and texts that say exactly what the graph says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import yaml

from isograd.common.errors import UserError
from isograd.isomers import Isomer, IsomerSet, create_isomers
from isograd.isomers.symbolic.arithmetic import Arithmetic
from isograd.isomers.symbolic.domains import (
    MIN_TEMPLATES,
    Slot,
    domain_names,
    load_domain,
    missing_words,
    parse_domain,
)

DOMAINS = domain_names()
FAMILY = Arithmetic()
ITEMS = 150
FOREIGN_PLURALS = {"larvae"}


@cache
def told(domain: str, split: str = "train") -> list[tuple[IsomerSet, Isomer]]:
    """Members of hundreds of sets, with every option in use."""
    return [
        (item, item.members[0])
        for depth, distractors, cue in ((1, 0, "none"), (2, 1, "member"), (4, 3, "set"))
        for item in create_isomers(
            seed=depth, size=ITEMS, split=split, domains=[domain], depth=depth, distractors=distractors, cue=cue
        )
    ]


def sentences(member: Isomer) -> tuple[list[str], str]:
    """The story's sentences without cue and period, and the question."""
    *story, question = re.split(r"(?<=\.) ", member.problem)
    suffix = f" {member.cue}." if member.cue else "."
    assert all(sentence.endswith(suffix) for sentence in story), member.problem
    return [sentence.removesuffix(suffix) for sentence in story], question


@cache
def patterns(domain: str, *, held_out: bool) -> list[tuple[str, re.Pattern[str]]]:
    """A regular expression for each template, by slot."""
    words = load_domain(domain)
    section = words.words["arithmetic"]
    groups = {name: "|".join(map(re.escape, section[name])) for name in ("holder", "partner", "items")}
    groups |= {"n": r"\d+", "threshold": r"\d+"}
    found = []
    for slot, spec in FAMILY.slots.items():
        if spec.template:
            for template in words.templates("arithmetic", slot, held_out=held_out):
                text = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
                filled = re.sub(r"{(\w+)}", lambda match: f"(?P<{match[1]}>{groups[match[1]]})", text)
                found.append((slot, re.compile(filled)))
    return found


def read(domain: str, sentence: str, *, held_out: bool) -> tuple[str, dict[str, str]]:
    """The slot of a sentence and what fills its template; the sentence must have exactly one reading."""
    readings = [
        (slot, match.groupdict())
        for slot, pattern in patterns(domain, held_out=held_out)
        if (match := pattern.fullmatch(sentence))
    ]
    assert len(readings) == 1, (sentence, readings)
    return readings[0]


@pytest.mark.parametrize("split", ["train", "ood_template"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_the_story_tells_the_graph_and_nothing_else(domain: str, split: str) -> None:
    held_out = split == "ood_template"
    for item, member in told(domain, split):
        story, question = sentences(member)
        readings = [read(domain, sentence, held_out=held_out) for sentence in story]
        assert readings[0][0] == "start"
        assert sum(slot == "distractor" for slot, _ in readings) == item.provenance.options["distractors"]
        told_changes = [(slot, int(filled["n"])) for slot, filled in readings if slot not in ("start", "distractor")]
        values = {node.id: node.value for node in item.graph.nodes}
        assert int(readings[0][1]["n"]) == values["q0"]
        assert told_changes == [(node.op, values[node.args[1]]) for node in item.graph.steps[:-1]]
        slot, filled = read(domain, question, held_out=held_out)
        assert slot == "question"
        assert int(filled["threshold"]) == values["t"] == 10
        # One holder, one partner, one kind of thing all through.
        for name in ("holder", "partner", "items"):
            assert len({filled[name] for _, filled in [*readings, (slot, filled)] if name in filled}) <= 1


@pytest.mark.parametrize("domain", DOMAINS)
def test_held_out_templates_are_used_by_ood_template_alone(domain: str) -> None:
    seen = {
        held_out: Counter(
            pattern.pattern
            for _, member in told(domain, "ood_template" if held_out else "train")
            for sentence in (*sentences(member)[0], sentences(member)[1])
            for _, pattern in patterns(domain, held_out=held_out)
            if pattern.fullmatch(sentence)
        )
        for held_out in (True, False)
    }
    for held_out, counts in seen.items():
        assert set(counts) == {pattern.pattern for _, pattern in patterns(domain, held_out=held_out)}
    assert not set(seen[True]) & set(seen[False])


@pytest.mark.parametrize("domain", DOMAINS)
def test_words_and_templates_are_used_about_equally(domain: str) -> None:
    used = Counter()
    for _, member in told(domain):
        for sentence in sentences(member)[0]:
            slot, filled = read(domain, sentence, held_out=False)
            used.update((name, word) for name, word in filled.items() if name in ("holder", "partner", "items"))
            used.update(
                (slot, pattern.pattern)
                for _, pattern in patterns(domain, held_out=False)
                if pattern.fullmatch(sentence)
            )
    by_name: dict[str, list[int]] = {}
    for (name, _), count in used.items():
        by_name.setdefault(name, []).append(count)
    section = load_domain(domain).words["arithmetic"]
    for name, counts in by_name.items():
        spec = FAMILY.slots[name]
        assert len(counts) == len(section[name]) - spec.template
        assert min(counts) > 0.4 * sum(counts) / len(counts), (name, counts)


@pytest.mark.parametrize("split", ["train", "ood_template"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_texts_are_clean(domain: str, split: str) -> None:
    for _, member in told(domain, split):
        text = member.prompt + member.completion
        assert "  " not in text
        assert " \n" not in text
        assert text.isascii()
        assert not set("{}[]<>_") & set(text)
        assert member.problem == member.problem.strip()
        *story, question = re.split(r"(?<=\.) ", member.problem)
        for sentence in story:
            assert re.fullmatch(r"[A-Z][A-Za-z0-9 ,']*\.", sentence), sentence
        assert re.fullmatch(r"[A-Z][A-Za-z0-9 ,']*\?", question), question


@pytest.mark.parametrize("split", ["train", "ood_template"])
@pytest.mark.parametrize("domain", DOMAINS)
def test_numbers_and_nouns_agree(domain: str, split: str) -> None:
    section = load_domain(domain).words["arithmetic"]
    plural = "|".join(section["items"])
    singular = "|".join([*section["holder"], *section["partner"]])
    for _, member in told(domain, split):
        for match in re.finditer(
            rf"(\d+)((?: or more| more| further| extra| other| unrelated)? ({plural})\b)?", member.problem
        ):
            assert int(match[1]) >= 2
            # A number counts things, except a threshold at the end of the question.
            assert match[2] or member.problem[match.end() :] == "?", member.problem
        # Words of place and time may stand between number and things in no template.
        assert not re.search(rf"\b({plural}) (was|is|has|does)\b", member.problem), member.problem
        assert not re.search(rf"^The ({singular}) (were|have|are)\b", member.problem), member.problem
        assert not re.search(r"\bThere was\b|\bIs there\b", member.problem)
        for article, word in re.findall(r"\b([Aa]n?) (\w+)", member.problem):
            assert not word.isdigit()
            assert word not in section["items"]
            assert (article.lower() == "an") == (word[0].lower() in "aeiou"), member.problem


@pytest.mark.parametrize("domain", DOMAINS)
def test_items_are_plurals_and_nouns_carry_no_article(domain: str) -> None:
    section = load_domain(domain).words["arithmetic"]
    for item in section["items"]:
        assert item.endswith("s") or item in FOREIGN_PLURALS
    for noun in (*section["holder"], *section["partner"], *section["items"]):
        assert noun == noun.lower().strip()
        assert noun.split()[0] not in ("a", "an", "the")
    assert not set(section["holder"]) & set(section["partner"])


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_cue_stands_in_every_sentence_and_step_and_not_in_the_question(domain: str) -> None:
    seen = 0
    for _, member in told(domain):
        if member.cue is None:
            continue
        seen += 1
        *story, question = re.split(r"(?<=\.) ", member.problem)
        for sentence in story:
            assert sentence.endswith(f" {member.cue}.")
            assert len(re.findall(rf"\b{member.cue}\b", sentence)) == 1
        for step in member.steps:
            assert re.fullmatch(rf"\d+ [+-] \d+ = \d+ {member.cue}", step.text)
        assert not re.search(rf"\b{member.cue}\b", question)
        other = next(word for word in load_domain(domain).cues.values() if word != member.cue)
        assert not re.search(rf"\b{other}\b", member.prompt + member.completion)
        assert member.completion.endswith(f"\nAnswer: {member.answer}")
    assert seen == 2 * ITEMS


@pytest.mark.parametrize("domain", DOMAINS)
def test_spans_slice_values_and_answer(domain: str) -> None:
    for item, member in told(domain):
        texts = [(span.node, member.completion[span.start : span.end]) for span in member.spans]
        assert texts == [*((step.node, step.value) for step in member.steps), ("goal", member.answer)]
        ends = [span.end for span in member.spans]
        assert ends == sorted(ends)
        # The value is the last number of its line, not the same digits earlier in it.
        for span in member.spans[:-1]:
            assert member.completion[: span.start].endswith("= ")
        assert len(member.spans) == len(item.graph.steps)


def test_spans_are_aligned_over_the_members_of_a_set() -> None:
    for item in create_isomers(size=50, depth=3, cue="member", domains=DOMAINS):
        nodes = {tuple(span.node for span in member.spans) for member in item.members}
        values = {tuple(member.completion[s.start : s.end] for s in member.spans) for member in item.members}
        assert len(nodes) == len(values) == 1


# Domain files


@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_file_is_complete(name: str) -> None:
    domain = load_domain(name)
    assert domain.name == name
    assert missing_words(domain, "arithmetic", FAMILY.slots, FAMILY.labels) == []


def test_templates_leave_out_the_last_one() -> None:
    domain = load_domain("law")
    entries = list(domain.words["arithmetic"]["gain"])
    assert list(domain.templates("arithmetic", "gain", held_out=False)) == entries[:-1]
    assert list(domain.templates("arithmetic", "gain", held_out=True)) == entries[-1:]
    assert len(entries) >= MIN_TEMPLATES


SLOTS = {
    "thing": Slot(template=False),
    "told": Slot(placeholders=frozenset({"n", "thing"}), optional=frozenset({"place"})),
}


def toy() -> dict[str, Any]:
    return {
        "name": "toy",
        "role": "train",
        "cues": {"no": "left", "yes": "right"},
        "counting": {
            "thing": ["cats", "dogs"],
            "told": [f"{verb} {{n}} {{thing}}" for verb in ("See", "Take", "Feed", "Call", "Wash", "Hide")],
        },
    }


def faults(change: Callable[[dict[str, Any]], object]) -> list[str]:
    record = toy()
    change(record)
    domain = parse_domain(yaml.safe_dump(record), "toy.yaml")
    return missing_words(domain, "counting", SLOTS, ("no", "yes"))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda record: None, []),
        (lambda record: record["cues"].pop("no"), ["cues: no word for the answer 'no'"]),
        (lambda record: record["cues"].update(yes=""), ["cues: no word for the answer 'yes'"]),
        (lambda record: record.pop("counting"), ["no section 'counting'"]),
        (lambda record: record["counting"].update(verb=["a", "b"]), ["counting.verb: unknown slot"]),
        (
            lambda record: record["counting"].pop("thing"),
            ["counting.thing: 0 entries, at least 2 are needed"],
        ),
        (
            lambda record: record["counting"]["told"].pop(),
            ["counting.told: 5 entries, at least 6 are needed"],
        ),
        (
            lambda record: record["counting"]["thing"].append("cats"),
            ["counting.thing: an entry stands twice"],
        ),
        (
            lambda record: record["counting"]["told"].__setitem__(2, "Feed {thing}"),
            ["counting.told[3]: lacks {n}: 'Feed {thing}'"],
        ),
        (
            lambda record: record["counting"]["told"].__setitem__(0, "See {n} {thing} in {city}"),
            ["counting.told[1]: unknown placeholder {city}: 'See {n} {thing} in {city}'"],
        ),
        (
            lambda record: record["counting"]["told"].__setitem__(0, "See {n} {thing} and {}"),
            ["counting.told[1]: unknown placeholder {}: 'See {n} {thing} and {}'"],
        ),
        (lambda record: record["counting"]["told"].__setitem__(0, "See {n} {thing} in {place}"), []),
        (
            lambda record: record["counting"]["thing"].append("{n}"),
            ["counting.thing[3]: unknown placeholder {n}: '{n}'"],
        ),
        (
            lambda record: record["counting"]["told"].__setitem__(5, "Hide {n} {thing"),
            ["counting.told[6]: expected '}' before end of string: 'Hide {n} {thing'"],
        ),
        (
            lambda record: record["counting"]["told"].__setitem__(5, "Hide {n} {thing}}"),
            ["counting.told[6]: Single '}' encountered in format string: 'Hide {n} {thing}}'"],
        ),
    ],
)
def test_missing_words_names_each_fault(change: Callable[[dict[str, Any]], object], found: list[str]) -> None:
    assert faults(change) == found


def test_missing_words_names_all_faults_at_once() -> None:
    assert missing_words(parse_domain("{name: x, role: train, cues: {}}", "x"), "counting", SLOTS, ("no", "yes")) == [
        "cues: no word for the answer 'no'",
        "cues: no word for the answer 'yes'",
        "no section 'counting'",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "bad.yaml: not valid YAML: "),
        ("- a", "bad.yaml: a domain file is a mapping with name, role, cues and one section a family"),
        ("", "bad.yaml: a domain file is a mapping with name, role, cues and one section a family"),
        ("role: train\ncues: {}", "bad.yaml: name: Field required"),
        ("name: x\nrole: test\ncues: {}", "bad.yaml: role: Input should be 'train' or 'unseen'"),
        # YAML reads a bare no as false.
        ("name: x\nrole: train\ncues: {no: a, yes: b}", "bad.yaml: cues.0.[key]: Input should be a valid string"),
        ("name: x\nrole: train\ncues: {}\nf: {s: [1]}", "bad.yaml: words.f.s.0: Input should be a valid string"),
    ],
)
def test_broken_domain_files_are_named(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_domain(text, "bad.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_unknown_domains_are_named() -> None:
    with pytest.raises(UserError, match=r"^unknown domain 'botany'; there are: cooking, law, mathematics, medicine, "):
        load_domain("botany")
