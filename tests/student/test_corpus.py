"""The corpus never shows the target task: the rule that makes the student an honest test bed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice

import pytest
from corpus_reading import CUES, LABELS, BrokenRuleError, Copy, Story, Symbols, check, notation, read, work

from isograd.isomers.symbolic.domains import domain_names, load_domain
from isograd.isomers.symbolic.families import FAMILIES
from isograd.student.corpus import documents, vocabulary_text

COUNT = 12_000
BOUNDS = (5, 10, 15)


@cache
def corpus() -> tuple[str, ...]:
    return tuple(islice(documents(0, 0), COUNT))


@cache
def stories() -> tuple[Story, ...]:
    return tuple(found for document in corpus() if isinstance(found := read(document), Story))


def result(story: Story) -> str | None:
    """What a story of one step comes to, as an answer would tell it; ``None`` where no step is shown."""
    if not story.lines or story.lines[0] == notation(story.family, story.told[0]) + (
        f" {story.cue}" if story.cue else ""
    ):
        return None
    value = story.lines[0].removesuffix(f" {story.cue}").split()[-1]
    if story.family == "arithmetic":
        return FAMILIES["arithmetic"].labels[sum(int(value) >= bound for bound in BOUNDS)]
    return value


def assert_even(counts: Mapping[object, int], places: int) -> None:
    """Every count lies within 4.5 standard deviations of an even share."""
    n, rate = sum(counts.values()), 1 / places
    assert len(counts) == places, counts
    tolerance = 4.5 * math.sqrt(n * rate * (1 - rate))
    assert all(abs(count - n * rate) <= tolerance for count in counts.values()), (counts, tolerance)


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


def test_no_document_shows_a_target_task() -> None:
    for document in corpus():
        try:
            check(document)
        except BrokenRuleError as broken:
            raise AssertionError(f"{broken}: {document!r}") from None


def steps(story: Story) -> int:
    """How many steps a story takes; one sentence alone takes none unless it is a condition."""
    if story.family == "eligibility":
        return len(story.told)
    return len(work(story.family, [notation(story.family, said) for said in story.told])) if len(story.told) > 1 else 0


def test_the_rule_is_put_to_the_test() -> None:
    """Every kind of document that the rule is about is there, in every family and domain."""
    kinds: Counter[tuple[str, str, str]] = Counter()
    for story in stories():
        kind = "several steps" if steps(story) > 1 else "one step" if steps(story) else "sentence"
        kinds[kind, story.family, story.domain] += 1
        if story.lines and result(story) is None:
            kinds["meaning", story.family, story.domain] += 1
        elif story.lines:
            kinds["step asked for" if story.asked else "step", story.family, story.domain] += 1
        if any(said.slot == "distractor" for _, said in story.said):
            kinds["distractor", story.family, story.domain] += 1
    for kind in ("several steps", "one step", "meaning", "step", "step asked for", "distractor"):
        for family in FAMILIES:
            # One condition without a question is followed by its meaning.
            if (kind, family) != ("step", "eligibility"):
                for domain in domain_names():
                    assert kinds[kind, family, domain] >= 3, (kind, family, domain)


def several(story: Story) -> bool:
    return steps(story) > 1 and not story.lines


def first_step(document: str, story: Story) -> str:
    return f"{document}\n{work(story.family, [notation(story.family, said) for said in story.told])[0]}"


def shown(story: Story) -> bool:
    return result(story) is not None


def wrong_value(document: str, story: Story) -> str:
    head, value = document.removesuffix(f" {story.cue}").rsplit(" ", 1)
    other = str(int(value) + 1) if value.isdigit() else {"T": "F", "F": "U", "U": "T"}[value]
    return f"{head} {other}" + (f" {story.cue}" if story.cue else "")


def meaning(document: str, story: Story) -> str:
    suffix = f" {story.cue}" if story.cue else ""
    return document.split("\n")[0] + "\n" + notation(story.family, story.told[0]) + suffix


BREAKS: list[tuple[str, Callable[[Story], bool], Callable[[str, Story], str]]] = [
    ("the first step of several", several, first_step),
    ("a decision after several steps", several, lambda text, story: f"{text}\nAnswer: {label(story)}"),
    ("a decision after one step", shown, lambda text, story: f"{text}\nAnswer: {label(story)}"),
    ("a wrong step", shown, wrong_value),
    ("a meaning where a step is asked for", lambda story: shown(story) and len(story.told) == 1, meaning),
    ("a step twice", shown, lambda text, story: f"{text}\n{story.lines[0]}"),
    ("a step without its cue", lambda story: shown(story) and bool(story.cue), lambda text, _: text.rsplit(" ", 1)[0]),
    ("another cue on the step", shown, lambda text, story: text.removesuffix(f" {story.cue}") + " overthere"),
    (
        "a sentence without its cue",
        lambda story: len(story.told) > 1 and bool(story.cue),
        lambda text, story: text.replace(f" {story.cue}.", ".", 1),
    ),
    (
        "a cue of another domain",
        lambda story: bool(story.cue),
        lambda text, story: text.replace(f" {story.cue}", f" {min(CUES - set(load_domain(story.domain).cues))}"),
    ),
    (
        "an answer in a sentence",
        lambda story: not story.cue and story.told[0].slot != "exception",
        lambda text, story: text.replace(".", f" {label(story)}.", 1),
    ),
    ("the sentences of two domains", several, lambda text, story: f"{text} {foreign(story)}"),
]


def label(story: Story) -> str:
    return FAMILIES[story.family].labels[0]


def foreign(story: Story) -> str:
    other = next(s for s in stories() if s.domain != story.domain and s.family == story.family and s.asked)
    return next(f"{sentence}" for sentence, said in other.said if said.slot == "question")


@pytest.mark.parametrize(("fits", "broken"), [case[1:] for case in BREAKS], ids=[case[0] for case in BREAKS])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_check_finds_stories_that_break_the_rule(
    family: str, fits: Callable[[Story], bool], broken: Callable[[str, Story], str]
) -> None:
    found = 0
    for document in corpus()[:3000]:
        if isinstance(story := read(document), Story) and story.family == family and fits(story):
            with pytest.raises(BrokenRuleError):
                check(broken(document, story))
            found += 1
            if found == 5:
                return
    assert (family, broken) in ((other, meaning) for other in FAMILIES if other != "eligibility"), "nothing to break"


@pytest.mark.parametrize(
    "document",
    [
        "4 ; + 3 ; - 2\n4 + 3 = 7\n7 - 2 = 6",
        "4 ; + 3 ; - 2\n4 + 3 = 7",
        "4 ; + 3 apples\n4 + 3 = 7",
        "4 ; + 3\n4 + 3 = 7 nearby",
        "4 ; + 3\n4 + 3 = 7\nAnswer: fair",
        "a T ; a T -> b T\na T -> b T ; T => F",
        "salty T ; salty T -> b T\nsalty T -> b T ; T => T",
        "a = 3 ; b = a + 2\nb 3 + 2 = 4",
        "7 <= 14 ; except 6 <= 14\n7 <= 14 T\nexcept 6 <= 14 F",
        "7 <= 14 ; and 9 >= 3 ; except 6 <= 14\n7 <= 14 T\nand 9 >= 3 T\nT and T = F\nexcept 6 <= 14 T",
        "high\nAnswer: low",
        "perhaps\nAnswer: perhaps",
        "4 ; + 3\nAnswer: fair",
    ],
)
def test_the_check_finds_symbols_and_answers_that_break_the_rule(document: str) -> None:
    with pytest.raises(BrokenRuleError):
        check(document)


def test_copies_of_all_answers_and_of_nothing_else() -> None:
    copied = Counter(found.word for document in corpus() if isinstance(found := read(document), Copy))
    assert set(copied) == LABELS
    assert 0.04 * COUNT < sum(copied.values()) < 0.06 * COUNT


def test_chains_of_all_families_and_depths() -> None:
    lengths: dict[str, Counter[int]] = {family: Counter() for family in FAMILIES}
    for document in corpus():
        if isinstance(found := read(document), Symbols):
            size = len(found.statements) - 1
            if found.family == "deduction":
                size = sum(" -> " in statement for statement in found.statements)
            lengths[found.family][size] += 1
    for family, seen in lengths.items():
        assert set(seen) == {1, 2, 3, 4}, family
        # Depths 2 and 3 are drawn twice as often.
        n = sum(seen.values())
        for depth, count in seen.items():
            rate = 1 / 3 if depth in (2, 3) else 1 / 6
            assert abs(count - n * rate) < 4.5 * math.sqrt(n * rate * (1 - rate)), (family, seen)
    assert_even({family: seen.total() for family, seen in lengths.items()}, len(FAMILIES))


def test_families_and_domains_are_equally_frequent() -> None:
    assert_even(Counter(story.family for story in stories()), len(FAMILIES))
    assert_even(Counter(story.domain for story in stories()), len(domain_names()))
    for family in FAMILIES:
        followed = Counter(story.domain for story in stories() if story.family == family and story.lines)
        assert_even(followed, len(domain_names()))


def test_templates_are_equally_frequent_held_out_ones_included() -> None:
    counts: Counter[tuple[str, str, str, int]] = Counter()
    for story in stories():
        for sentence, said in story.said:
            counts[story.family, story.domain, said.slot, template(story, sentence, said.slot)] += 1
    for family, logic in FAMILIES.items():
        for slot, spec in logic.slots.items():
            if spec.template:
                places = Counter[int]()
                for domain in domain_names():
                    entries = load_domain(domain).words[family][slot]
                    assert len(entries) == 6
                    seen = [counts[family, domain, slot, place] for place in range(6)]
                    if sum(seen) > 60:
                        assert min(seen) > 0, (family, domain, slot, "a template is never shown")
                    for place, count in enumerate(seen):
                        places[place] += count
                assert_even(places, 6)


@cache
def patterns(family: str, domain: str, slot: str) -> list[re.Pattern[str]]:
    """The templates of a slot with anything in their placeholders."""
    entries = load_domain(domain).words[family][slot]
    return [re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(entry)), re.IGNORECASE) for entry in entries]


def template(story: Story, sentence: str, slot: str) -> int:
    """The number of the template that a sentence was told by: of those that fit, the one with the most own words."""
    fitting = [
        (len(pattern.pattern), number)
        for number, pattern in enumerate(patterns(story.family, story.domain, slot))
        if pattern.fullmatch(sentence)
    ]
    return max(fitting)[1]


def test_results_lean_to_no_answer() -> None:
    for family, places in (("arithmetic", 4), ("deduction", 3), ("ordering", 5), ("eligibility", 2)):
        assert_even(Counter(r for story in stories() if story.family == family and (r := result(story))), places)


def test_cues_are_equally_frequent_and_say_nothing() -> None:
    """Neither which cue it is nor whether there is one goes with the domain, the family, the length or the result."""
    asides: dict[str, Callable[[Story], object]] = {
        "result": lambda story: (story.family, result(story)),
        "any answer, by its place": lambda story: place(story),
        "length": lambda story: len(story.said),
        "domain": lambda story: story.domain,
    }
    for domain in domain_names():
        assert_even(Counter(s.cue for s in stories() if s.domain == domain and s.cue), 5)
    for name, aside in asides.items():
        table: dict[object, Counter[int]] = {}
        for story in stories():
            known = aside(story)
            if known is not None:
                number = load_domain(story.domain).cues.index(story.cue) if story.cue else 5
                table.setdefault(known, Counter())[number] += 1
        assert_independent(name, list(table.values()))


def place(story: Story) -> int | None:
    """Which of its family's answers a story of one step would lead to, where the step alone tells."""
    found = result(story)
    if found is None or story.family == "eligibility":
        return None
    if story.family == "arithmetic":
        return FAMILIES["arithmetic"].labels.index(found)
    if story.family == "ordering":
        return int(found) - 1
    denied = story.asked and story.said[-1][1].fields["trait"].startswith("not ")
    return "FUT".index(found) if not denied else "TUF".index(found)


def assert_independent(name: str, table: list[Counter[int]]) -> None:
    """Pearson's statistic lies within 4.5 standard deviations of its mean."""
    total = sum((row for row in table), Counter[int]())
    n, statistic = total.total(), 0.0
    for row in table:
        for column, count in total.items():
            expected = row.total() * count / n
            statistic += (row[column] - expected) ** 2 / expected
    freedom = (len(table) - 1) * (len(total) - 1)
    assert freedom > 0
    assert statistic < freedom + 4.5 * math.sqrt(2 * freedom), (name, statistic, freedom)


def test_the_statistic_finds_a_cue_that_tells() -> None:
    table = [Counter({0: 60, 1: 40}), Counter({0: 40, 1: 60})]
    assert_independent("chance", [Counter({0: 52, 1: 48}), Counter({0: 48, 1: 52})])
    with pytest.raises(AssertionError, match="told"):
        assert_independent("told", table)


def test_seven_of_ten_stories_have_a_cue() -> None:
    n = len(stories())
    assert abs(sum(bool(s.cue) for s in stories()) - 0.7 * n) < 4.5 * math.sqrt(n * 0.21)


def test_vocabulary_text_holds_every_word_of_the_corpus() -> None:
    words = set(re.findall(r"[^\W\d_]+", " ".join(vocabulary_text())))
    assert set(re.findall(r"[^\W\d_]+", " ".join(corpus()))) <= words
    assert list(vocabulary_text()) == list(vocabulary_text())
