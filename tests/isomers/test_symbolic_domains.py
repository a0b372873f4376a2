"""Domain files: every fault is named with its line and field, and a user's own file is told like any other."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from symbolic_cases import DOMAINS, NAMES

from isograd.common.errors import UserError
from isograd.isomers import FAMILIES, create_isomers
from isograd.isomers.symbolic import check_domain
from isograd.isomers.symbolic.domains import load_domain
from isograd.isomers.symbolic.families import grammar
from isograd.isomers.symbolic.telling import read_member


def text_of(domain: str) -> str:
    return (resources.files("isograd.isomers.symbolic") / "domains" / f"{domain}.yaml").read_text()


LAW = text_of("law")
Edit = Callable[[str], str]


def line_of(text: str, start: str, after: str = "name:") -> int:
    """The number of the first line that starts so, blanks aside, after the line that is ``after``."""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(after))
    return next(n for n, line in enumerate(lines[begin:], begin + 1) if line.strip().startswith(start))


def swap(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert text.count(old) == 1, f"{text.count(old)} of {old!r}"
        return text.replace(old, new)

    return edit


def without(first: str, count: int) -> Edit:
    """Leave out so many lines, from the one that starts so."""

    def edit(text: str) -> str:
        lines = text.splitlines(keepends=True)
        begin = next(number for number, line in enumerate(lines) if line.strip().startswith(first))
        return "".join(lines[:begin] + lines[begin + count :])

    return edit


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_domains_that_isograd_brings_are_complete(domain: str) -> None:
    assert check_domain(text_of(domain).encode(), f"{domain}.yaml") == []
    assert load_domain(domain).name == domain


GAIN = '    - "Then {n} {items} were filed"\n'
GAIN_LINE = line_of(LAW, '- "Then {n} {items} were filed"')
LOSE_LINE = line_of(LAW, '- "Then {n} {items} were voided"')
QUESTION_LINE = line_of(LAW, '- "Is the final number')
CUES = "cues: [privately, publicly, formally, informally, discreetly]"


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda text: text, []),
        # Slots and sections.
        (without("receive:", 7), [
            f"{line_of(LAW, 'arithmetic:')}: arithmetic.receive: 0 entries, at least 6 are needed",
        ]),
        (without('- "Then {n} {items} were voided"', 1), [
            f"{line_of(LAW, 'lose:')}: arithmetic.lose: 5 entries, at least 6 are needed",
        ]),
        (swap("  holder: [firm, court, registry, tribunal, notary]", "  holder: [firm, court]"), [
            f"{line_of(LAW, 'holder:')}: arithmetic.holder: 2 entries, at least 5 are needed",
        ]),
        (swap("  gain:\n", "  grow:\n"), [
            f"{line_of(LAW, 'gain:')}: arithmetic.grow: unknown slot; the slots are: holder, partner, items, start, "
            "gain, lose, receive, send, distractor, question",
            f"{line_of(LAW, 'arithmetic:')}: arithmetic.gain: 0 entries, at least 6 are needed",
        ]),
        (swap("\ndeduction:\n", "\nreduction:\n"), [
            "1: file: no section 'deduction'",
            f"{line_of(LAW, 'deduction:')}: reduction: unknown family; the families are: "
            "arithmetic, deduction, ordering, eligibility",
        ]),
        # Templates.
        (swap(GAIN, '    - "Then {items} were filed"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: lacks {{n}}: 'Then {{items}} were filed'",
        ]),
        (swap(GAIN, '    - "Then {n} {items} were filed in {city}"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: unknown placeholder {{city}}: "
            "'Then {n} {items} were filed in {city}'",
        ]),
        (swap(GAIN, '    - "Then {n} {items} and {} were filed"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: unknown placeholder {{}}: 'Then {{n}} {{items}} and {{}} were filed'",
        ]),
        (swap(GAIN, '    - "Then {n} {items were filed"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: expected '}}' before end of string: 'Then {{n}} {{items were filed'",
        ]),
        (swap(GAIN, '    - "Then {n} {items}} were filed"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: Single '}}' encountered in format string: "
            "'Then {n} {items}} were filed'",
        ]),
        (swap(GAIN, '    - "Then {n:d} {items} were filed"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: a placeholder is a name alone, without a format: "
            "'Then {n:d} {items} were filed'",
        ]),
        (swap(GAIN, '    - "Then {n} {items!r} were filed"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: a placeholder is a name alone, without a format: "
            "'Then {n} {items!r} were filed'",
        ]),
        (swap(GAIN, '    - "Then {n} {items} and {n} were filed"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: a placeholder stands twice: 'Then {{n}} {{items}} and {{n}} were filed'",
        ]),
        (swap(GAIN, '    - "Then {n} {items} were filed in 2 files"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: no digits and no . ? ! : ; \" inside; the period comes by itself: "
            "'Then {n} {items} were filed in 2 files'",
        ]),
        (swap(GAIN, '    - "Then {n} {items} were filed."\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: no digits and no . ? ! : ; \" inside; the period comes by itself: "
            "'Then {n} {items} were filed.'",
        ]),
        (swap(GAIN, '    - "Then a {items} and {n} were filed"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: 'a' or 'an' before a placeholder does not fit every word: "
            "'Then a {items} and {n} were filed'",
        ]),
        (swap(GAIN, '    - "An {items} made {n}"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: 'a' or 'an' before a placeholder does not fit every word: "
            "'An {items} made {n}'",
        ]),
        (swap(GAIN, '    - "Then {n}  {items} were filed"\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: blanks at an end or doubled: 'Then {{n}}  {{items}} were filed'",
        ]),
        (swap(GAIN, '    - "Then {n} {items} were filed "\n'), [
            f"{GAIN_LINE}: arithmetic.gain.1: blanks at an end or doubled: 'Then {{n}} {{items}} were filed '",
        ]),
        (swap(GAIN, GAIN + GAIN), [
            f"{GAIN_LINE + 1}: arithmetic.gain.2: stands twice: 'Then {{n}} {{items}} were filed'",
        ]),
        (swap(GAIN, '    - "Then {n} {items} were voided"\n'), [
            f"{LOSE_LINE}: arithmetic.lose.1: says 'gain' as well: "
            "'Then {n} {items} were voided'",
        ]),
        (swap('"Is the final number of {items} {options}?"', '"Is the final number of {items} {options}"'), [
            f"{QUESTION_LINE}: arithmetic.question.1: a question ends with a question mark: "
            "'Is the final number of {items} {options}'",
        ]),
        # Plain words and cues.
        (swap("tribunal, notary]", "tribunal, court]"), [
            f"{line_of(LAW, 'holder:')}: arithmetic.holder.5: stands twice: 'court'",
        ]),
        (swap("tribunal, notary]", "tribunal, 'room {n}']"), [
            f"{line_of(LAW, 'holder:')}: arithmetic.holder.5: letters, single blanks and apostrophes only: "
            "'room {n}'",
        ]),
        (swap("tribunal, notary]", "tribunal, room 7]"), [
            f"{line_of(LAW, 'holder:')}: arithmetic.holder.5: letters, single blanks and apostrophes only: 'room 7'",
        ]),
        (swap("pending, cited,", "pending, not cited,"), [
            f"{line_of(LAW, 'trait:')}: deduction.trait.9: 'and' and 'not' join and deny entries, so none may have "
            "them inside: 'not cited'",
        ]),
        (swap("    printed, joint,", "    printed, black and white,"), [
            f"{line_of(LAW, 'printed,')}: deduction.trait.14: 'and' and 'not' join and deny entries, so none may have "
            "them inside: 'black and white'",
        ]),
        (swap(CUES, "cues: [privately, publicly, formally]"), ["3: cues: 3 cue words, 5 are needed"]),
        (swap(CUES, "cues: [privately, publicly, formally, publicly, informally]"), [
            "3: cues: a cue word stands twice",
        ]),
        (swap(CUES, "cues: [privately, publicly, formally, informally, In court]"), [
            "3: cues.5: a cue is one lower-case word, not 'In court'",
        ]),
        (swap("name: law", "name: ''"), ["1: name: a domain needs a name"]),
    ],
)  # fmt: skip
def test_every_fault_is_named_with_its_line_and_field(edit: Edit, found: list[str]) -> None:
    assert check_domain(edit(LAW).encode(), "mine.yaml") == [f"mine.yaml:{fault}" for fault in found]


def test_all_faults_are_named_at_once() -> None:
    text = "name: mine\nrole: train\ncues: [up, Down]\narithmetic:\n  gain: ['{n}']\n"
    found = check_domain(text.encode(), "mine.yaml")
    assert found[:3] == [
        "mine.yaml:3: cues: 2 cue words, 5 are needed",
        "mine.yaml:3: cues.2: a cue is one lower-case word, not 'Down'",
        "mine.yaml:4: arithmetic.holder: 0 entries, at least 5 are needed",
    ]
    assert "mine.yaml:5: arithmetic.gain: 1 entries, at least 6 are needed" in found
    assert "mine.yaml:5: arithmetic.gain.1: lacks {items}: '{n}'" in found
    for name in NAMES[1:]:
        assert f"mine.yaml:1: file: no section {name!r}" in found
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "mine.yaml: not valid YAML: "),
        ("name: law\n  role: x: y", "mine.yaml: not valid YAML: mapping values are not allowed here"),
        ("\xff\xfe\x00", "mine.yaml: not valid YAML: "),
        ("- a", "mine.yaml: a domain file is a mapping with name, role, cues and one section a family"),
        ("", "mine.yaml: a domain file is a mapping with name, role, cues and one section a family"),
        ("role: train\ncues: []", "mine.yaml:1: name: Field required"),
        ("name: x\nrole: test\ncues: []", "mine.yaml:2: role: Input should be 'train' or 'unseen'"),
        ("name: 5\nrole: train\ncues: []", "mine.yaml:1: name: Input should be a valid string"),
        ("name: x\nrole: train", "mine.yaml:1: cues: Field required"),
        ("name: x\nrole: train\ncues: up", "mine.yaml:3: cues: "),
        # YAML reads a bare no as false.
        ("name: x\nrole: train\ncues:\n  - yes\n  - no", "mine.yaml:4: cues.1: Input should be a valid string"),
        ("name: x\nrole: train\ncues: []\nordering:", "mine.yaml:4: ordering: Input should be a valid dictionary"),
        (
            "name: x\nrole: train\ncues: []\nordering:\n  name: Ann",
            "mine.yaml:5: ordering.name: ",
        ),
        (
            "name: x\nrole: train\ncues: []\nordering:\n  name:\n  - Ann\n  - 7",
            "mine.yaml:7: ordering.name.2: Input should be a valid string",
        ),
    ],
)
def test_what_is_no_domain_file_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_domain(text.encode("latin-1"), "mine.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(data=st.data())
def test_any_spoiled_file_gives_faults_or_one_error(data: st.DataObject) -> None:
    """Never a traceback: a value anywhere in the file is replaced by something else."""
    record = yaml.safe_load(LAW)
    junk = data.draw(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({}) | st.just(["{n"])
    )
    section = data.draw(st.sampled_from(list(record)))
    if isinstance(record[section], dict) and data.draw(st.booleans()):
        slot = data.draw(st.sampled_from(list(record[section])))
        if data.draw(st.booleans()):
            record[section][slot][data.draw(st.integers(0, len(record[section][slot]) - 1))] = junk
        else:
            record[section][slot] = junk
    else:
        record[section] = junk
    try:
        found: list[str] = list(check_domain(yaml.safe_dump(record).encode(), "mine.yaml"))
    except UserError as error:
        found = [str(error)]
    assert all(re.match(r"mine\.yaml:\d+: [\w.]+: [^\n]+$", fault) for fault in found), found


def test_unknown_domains_are_named() -> None:
    for call in (lambda: load_domain("botany"), lambda: create_isomers(domains=["law", "botany"])):
        with pytest.raises(UserError) as caught:
            call()
        assert str(caught.value) == (
            f"unknown domain 'botany'; there are: {', '.join(DOMAINS)}, or give the path of a .yaml file"
        )


# A user's own file


def own(folder: Path, edit: Edit = lambda text: text, domain: str = "law", name: str = "chess") -> str:
    path = folder / "own.yaml"
    path.write_text(edit(text_of(domain)).replace(f"name: {domain}\n", f"name: {name}\n", 1))
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_ones_own_is_told_and_read(name: str, tmp_path: Path) -> None:
    path = own(tmp_path, lambda text: text.replace("clerk", "arbiter").replace("judge", "referee"))
    told: list[Any] = create_isomers(name, size=6, seed=2, domains=["science", path], cue="set")[:]
    assert [item.domains for item in told] == [("science", "chess")] * 6
    language = grammar(name, path)
    assert language.domain.name == "chess"
    for item in told:
        reading = read_member(item.members[1], language)
        assert FAMILIES[name].graph(reading.problem) == item.graph
    # The other member does not change, and neither does one that has only its name changed.
    assert [item.members[0] for item in told] == [
        item.members[0] for item in create_isomers(name, size=6, seed=2, domains=["science"], cue="set")
    ]


def test_two_domains_may_not_have_one_name(tmp_path: Path) -> None:
    path = own(tmp_path, name="law")
    with pytest.raises(UserError) as caught:
        create_isomers(domains=["law", path])
    assert str(caught.value) == "two of the domains have one name: law, law"
    assert create_isomers(domains=[path], size=1)[0].domains == ("law",)


def test_an_incomplete_file_of_ones_own_tells_the_families_that_it_has(tmp_path: Path) -> None:
    path = own(tmp_path, without("deduction:", 32))
    assert create_isomers("arithmetic", domains=[path], size=1)[0].domains == ("chess",)
    with pytest.raises(UserError) as caught:
        create_isomers("deduction", domains=[path])
    assert str(caught.value).startswith(f"domain {path!r} cannot tell 'deduction': ")
    assert "see them all with: isograd isomers check-domain FILE" in str(caught.value)


def test_several_faults_are_counted(tmp_path: Path) -> None:
    path = own(tmp_path, lambda text: without("lose:", 7)(swap(GAIN, "")(text)))
    with pytest.raises(UserError) as caught:
        create_isomers("arithmetic", domains=[path])
    message = f"domain {path!r} cannot tell 'arithmetic': arithmetic.gain: 5 entries, at least 6 are needed (and 1 more"
    assert str(caught.value).startswith(message)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"none\.yaml: no such domain file$"):
        create_isomers(domains=[path])
    with pytest.raises(UserError, match="no such domain file"):
        load_domain(str(tmp_path) + ".yml")
