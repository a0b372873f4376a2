"""The corpus never shows the target task: the rule that makes the student an honest test bed."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from itertools import islice, pairwise

import pytest

from isograd.isomers.symbolic.arithmetic import Arithmetic
from isograd.isomers.symbolic.domains import domain_names, load_domain
from isograd.student.corpus import documents, vocabulary_text

COUNT = 6000
FAMILY = Arithmetic()
CUES = {word for name in domain_names() for word in load_domain(name).cues.values()}
EQUATION = re.compile(rf"(\d+) ([+-]) (\d+) = (\d+)(?: (?:{'|'.join(sorted(CUES))}))?")
SIGNED = re.compile(rf"([+-]) (\d+)(?: (?:{'|'.join(sorted(CUES))}))?")
CHANGES = ("gain", "lose", "receive", "send")


@cache
def corpus() -> tuple[str, ...]:
    return tuple(islice(documents(0, 0), COUNT))


@cache
def template_patterns() -> list[tuple[str, str, str, re.Pattern[str]]]:
    """Domain, slot, template, and what it looks like in a text."""
    found = []
    for name in domain_names():
        section = load_domain(name).words["arithmetic"]
        groups = {slot: "|".join(map(re.escape, section[slot])) for slot in ("holder", "partner", "items")}
        groups |= {"n": r"\d+", "threshold": r"\d+"}
        for slot, spec in FAMILY.slots.items():
            if spec.template:
                for template in section[slot]:
                    text = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
                    filled = re.sub(r"{(\w+)}", lambda match: f"(?:{groups[match[1]]})", text)  # noqa: B023
                    found.append((name, slot, template, re.compile(filled)))
    return found


@cache
def reading(sentence: str) -> tuple[tuple[str, str, str], ...]:
    """Domain, slot and template of one sentence, its cue and its mark left out."""
    plain = sentence.removesuffix(".")
    last = plain.rsplit(" ", 1)[-1]
    if last in CUES:
        plain = plain.removesuffix(f" {last}")
    return tuple(found[:3] for found in template_patterns() if found[3].fullmatch(plain))


def story(document: str) -> list[tuple[str, str, str]]:
    """The readings of a document's first line; empty where it is no story."""
    first = document.split("\n")[0]
    if not re.search(r"[.?]$", first):
        return []
    readings = [reading(sentence) for sentence in re.split(r"(?<=\.) ", first)]
    assert all(len(found) == 1 for found in readings), (first, readings)
    return [found[0] for found in readings]


def slots(document: str) -> list[str]:
    return [slot for _, slot, _ in story(document)]


def test_documents_are_an_endless_stream_of_their_own_for_each_part_and_seed() -> None:
    def head(seed: int, part: int) -> list[str]:
        return list(islice(documents(seed, part), 50))

    assert head(0, 0) == head(0, 0) == list(corpus()[:50])
    streams = [head(seed, part) for seed in range(4) for part in range(4)]
    for number, stream in enumerate(streams):
        for other in streams[:number]:
            assert stream != other
            # Short documents may recur by chance, long ones do not.
            assert not {text for text in stream if len(text) > 80} & set(other)


def test_every_story_reads_as_templates_of_one_domain() -> None:
    stories = [found for document in corpus() if (found := story(document))]
    assert len(stories) > COUNT / 2
    for found in stories:
        assert len({domain for domain, _, _ in found}) == 1


def test_a_story_of_several_changes_is_never_followed_by_anything() -> None:
    several = [document for document in corpus() if sum(slot in CHANGES for slot in slots(document)) > 1]
    assert len(several) > COUNT / 20
    for document in several:
        assert "\n" not in document


def test_a_story_of_one_change_is_followed_by_its_equation_or_nothing() -> None:
    followed = 0
    for document in corpus():
        told = slots(document)
        if sum(slot in CHANGES for slot in told) == 1 and "start" in told:
            _, *rest = document.split("\n")
            assert len(rest) <= 1
            if rest:
                assert EQUATION.fullmatch(rest[0])
                followed += 1
    assert followed > COUNT / 5


def test_a_single_sentence_is_followed_by_its_sign_and_amount() -> None:
    seen = 0
    for document in corpus():
        told = slots(document)
        if len(told) == 1 and told[0] in CHANGES:
            sentence, meaning = document.split("\n")
            sign, amount = SIGNED.fullmatch(meaning).groups()
            assert sign == ("+" if told[0] in ("gain", "receive") else "-")
            assert amount in re.findall(r"\d+", sentence)
            seen += 1
    assert seen > COUNT / 10


def test_the_answer_stands_in_neutral_documents_alone() -> None:
    """No word of a domain, no cue and no story near an answer; and nothing to decide before it."""
    seen = set()
    for document in corpus():
        if "Answer" in document:
            assert re.fullmatch(r"(yes|no)\nAnswer: \1", document), document
            seen.add(document)
    assert len(seen) == 2


def test_the_words_of_an_answer_appear_nowhere_else() -> None:
    for document in corpus():
        if "Answer" not in document:
            assert not re.search(r"\b(yes|no)\b", document, re.IGNORECASE), document


def test_chains_of_several_steps_are_symbols_alone() -> None:
    lengths = Counter()
    for document in corpus():
        equations = [line for line in document.split("\n") if EQUATION.fullmatch(line)]
        if len(equations) > 1:
            assert not re.search(r"[A-Za-z]", document), document
            lengths[len(equations)] += 1
    assert set(lengths) == {2, 3, 4}


def test_equations_are_right_and_follow_from_the_document() -> None:
    checked = 0
    for document in corpus():
        first, *rest = document.split("\n")
        equations = [match for line in rest if (match := EQUATION.fullmatch(line))]
        for before, sign, amount, after in (match.groups() for match in equations):
            assert int(before) + (int(amount) if sign == "+" else -int(amount)) == int(after)
            assert 1 <= int(after) <= 19
            assert amount in re.findall(r"\d+", first)
            checked += 1
        if equations:
            assert re.findall(r"\d+", first)[0] == equations[0][1]
        for previous, following in pairwise(equations):
            assert previous[4] == following[1]
    assert checked > COUNT / 3


def test_both_answers_of_the_task_are_equally_frequent_in_stories() -> None:
    """The results of single steps do not lean to either side of the threshold."""
    results = [
        int(match[4])
        for document in corpus()
        if story(document)
        for line in document.split("\n")[1:]
        if (match := EQUATION.fullmatch(line))
    ]
    share = sum(result >= 10 for result in results) / len(results)
    assert share == pytest.approx(0.5, abs=0.05)


def test_domains_appear_about_equally() -> None:
    counts = Counter(found[0][0] for document in corpus() if (found := story(document)))
    assert set(counts) == set(domain_names())
    mean = sum(counts.values()) / len(counts)
    assert all(abs(count - mean) < 0.15 * mean for count in counts.values()), counts


def test_templates_appear_about_equally_held_out_ones_included() -> None:
    counts: dict[tuple[str, str], Counter[str]] = {}
    for document in corpus():
        for domain, slot, template in story(document):
            counts.setdefault((domain, slot), Counter())[template] += 1
    used = [slot for slot, spec in FAMILY.slots.items() if spec.template and slot != "distractor"]
    assert set(counts) == {(domain, slot) for domain in domain_names() for slot in used}
    totals: dict[str, Counter[int]] = {slot: Counter() for slot in used}
    for (domain, slot), seen in counts.items():
        templates = list(load_domain(domain).words["arithmetic"][slot])
        assert set(seen) == set(templates), "a template is never shown"
        for place, template in enumerate(templates):
            totals[slot][place] += seen[template]
            assert seen[template] > 0.4 * sum(seen.values()) / len(templates), (domain, slot, template)
    for slot, seen_places in totals.items():
        mean = sum(seen_places.values()) / 6
        assert all(abs(count - mean) < 0.2 * mean for count in seen_places.values()), (slot, seen_places)


def test_cues_appear_equally_and_say_nothing_about_the_result() -> None:
    by_result: dict[tuple[str, bool], Counter[str]] = {}
    label = {word: answer for name in domain_names() for answer, word in load_domain(name).cues.items()}
    for document in corpus():
        found = story(document)
        equation = EQUATION.fullmatch(document.split("\n")[-1])
        words = set(re.findall(r"[a-z]+", document)) & CUES
        assert len(words) <= 1
        if found and equation and words:
            reached = int(equation[4]) >= 10
            by_result.setdefault(("reached", reached), Counter())[label[words.pop()]] += 1
    for seen in by_result.values():
        assert seen["yes"] / sum(seen.values()) == pytest.approx(0.5, abs=0.06)
    assert len(by_result) == 2


def test_vocabulary_text_holds_every_word_of_the_corpus() -> None:
    words = set(re.findall(r"[A-Za-z']+", " ".join(vocabulary_text())))
    assert set(re.findall(r"[A-Za-z']+", " ".join(corpus()))) <= words
