"""Domain files, samples, curricula and families on the command line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from cli_done import Isograd

from isograd.isomers import FAMILIES, create_curriculum, create_isomers, load_isomers
from isograd.isomers.symbolic import domains

ROOT = Path(__file__).resolve().parents[2]
LAW = (Path(domains.__file__).parent / "domains" / "law.yaml").read_text()


def test_a_complete_domain_file(tmp_path: Path, isograd: Isograd) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(LAW)
    done = isograd("isomers", "check-domain", file)
    assert (done.status, done.errors) == (0, "")
    assert done.told == f"{file}: complete; it can tell {', '.join(FAMILIES)}\n"


def test_every_fault_is_told_with_its_line(tmp_path: Path, isograd: Isograd) -> None:
    lines = LAW.splitlines()
    cues = next(number for number, line in enumerate(lines) if line.startswith("cues:"))
    lines[cues] = "cues: [one, two, two]"
    first = next(number for number, line in enumerate(lines) if line.strip().startswith("- "))
    lines[first] = '    - "The {holder} had {items}"'
    lines.append("cookery:\n  name: [a]")
    file = tmp_path / "own.yaml"
    file.write_text("\n".join(lines) + "\n")
    done = isograd("isomers", "check-domain", file)
    assert (done.status, done.errors) == (1, "")
    told = done.told.splitlines()
    assert told[:2] == [
        f"{file}:{cues + 1}: cues: 3 cue words, 5 are needed",
        f"{file}:{cues + 1}: cues: a cue word stands twice",
    ]
    assert told[2].startswith(f"{file}:{first + 1}: arithmetic.start.1: lacks {{n}}: ")
    assert told[3] == f"{file}:{len(lines)}: cookery: unknown family; the families are: {', '.join(FAMILIES)}"
    assert len(told) == 4
    # The same file is refused where it is used, in one line that says how to see all of it.
    done = isograd("isomers", "make", "-o", tmp_path / "x.jsonl", "--domains", file)
    assert done.status == 2
    assert done.errors.count("\n") == 1
    assert "isograd isomers check-domain FILE" in done.errors
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "own.yaml: no such file"),
        ("name: [", "own.yaml: not valid YAML"),
        ("- law", "own.yaml: a domain file is a mapping"),
        ("name: law\nrole: test\ncues: [a]", "own.yaml:2: role: "),
        (b"name: \xff", "own.yaml: not valid YAML"),
    ],
)
def test_what_is_no_domain_file_is_one_line(
    tmp_path: Path, isograd: Isograd, content: str | bytes | None, message: str
) -> None:
    file = tmp_path / "own.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = isograd("isomers", "check-domain", file)
    assert (done.status, done.told) == (2, "")
    assert done.errors.startswith("isograd: error: ")
    assert done.errors.count("\n") == 1
    assert message in done.errors


def test_the_samples_in_the_documentation_are_those_of_the_command(tmp_path: Path, isograd: Isograd) -> None:
    page = (ROOT / "docs" / "samples.md").read_text(encoding="utf-8")
    assert isograd("isomers", "samples").told == page
    file = tmp_path / "samples.md"
    done = isograd("isomers", "samples", "--seed", "0", "--output", file)
    assert (done.status, done.told) == (0, f"{file}\n")
    assert file.read_bytes() == (ROOT / "docs" / "samples.md").read_bytes()


def test_samples_of_another_seed_have_the_same_headings_and_other_words(isograd: Isograd) -> None:
    pages = [isograd("isomers", "samples", "--seed", str(seed)).told for seed in (0, 1)]
    headings = [[line for line in page.splitlines() if line.startswith("#")] for page in pages]
    assert headings[0] == headings[1]
    assert len(headings[0]) == 1 + len(FAMILIES) * (1 + len(domains.domain_names()))
    samples = [{line for line in page.splitlines() if line[:2] in ("1.", "2.", "3.")} for page in pages]
    assert len(samples[0]) == 3 * len(FAMILIES) * len(domains.domain_names())
    assert not samples[0] & samples[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_made_shown_and_verified(tmp_path: Path, isograd: Isograd, family: str) -> None:
    file = tmp_path / "sets.jsonl"
    options = ("--family", family, "--size", "4", "--cue", "member", "--distractors", "1", "--shuffled")
    assert isograd("isomers", "make", "-o", file, *options).status == 0
    made = load_isomers(file)
    assert made == create_isomers(family, size=4, cue="member", distractors=1, shuffled=True)[:]
    ordered = create_isomers(family, size=4, cue="member", distractors=1)[:]
    assert (made != ordered) == FAMILIES[family].shuffles or family in ("arithmetic", "eligibility")
    shown = isograd("isomers", "show", file, "--count", "2")
    assert shown.status == 0
    assert all(made[number].id in shown.told for number in (0, 1))
    assert isograd("isomers", "verify", file).status == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_curriculum(tmp_path: Path, isograd: Isograd, family: str) -> None:
    file = tmp_path / "sets.jsonl"
    done = isograd("isomers", "make", "-o", file, "--family", family, "--size", "7", "--levels", "3", "--seed", "2")
    assert (done.status, done.told.split(": ")[1].split(" of ")[0]) == (0, "7 sets")
    made = load_isomers(file)
    assert made == [s for level in create_curriculum(family, size=7, levels=3, seed=2) for s in level]
    least = min(FAMILIES[family].depths)
    levels = [(s.provenance.options["depth"] - least, s.provenance.options["distractors"]) for s in made]
    assert levels == sorted(levels)
    assert Counter(levels) == {(0, 0): 2, (1, 1): 2, (2, 2): 3}
    assert isograd("isomers", "verify", file).status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--family", "algebra"), f"unknown family 'algebra'; there are: {', '.join(FAMILIES)}"),
        (("--family", "algebra", "--levels", "2"), "unknown family 'algebra'"),
        (("--levels", "0"), "levels is 0, it must be at least 1"),
        (("--family", "deduction", "--levels", "9"), "depth is 7; deduction in the split train goes from 2 to 6"),
        (("--family", "ordering", "--depth", "1"), "depth is 1; ordering in the split train goes from 2 to 8"),
        (("--depth", "12", "--split", "ood_depth"), "goes from"),
        (("--distractors", "13"), "distractors is 13, it must be from 0 to 12"),
        (("--family", "deduction", "--distractors", "9"), "lower the depth or the number of distractors"),
        (("--domains", "own.yaml"), "own.yaml: no such domain file"),
        (("--domains", "law,law"), "domains must be different"),
        (("--cue", "some"), "unknown cue mode 'some'"),
        (("--agreement", "2"), "agreement is 2.0"),
        (("--size", "-1"), "size is -1"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, isograd: Isograd, arguments: tuple[str, ...], message: str) -> None:
    done = isograd("isomers", "make", "-o", tmp_path / "x.jsonl", *arguments)
    assert done.status == 2
    assert done.errors.startswith("isograd: error: ")
    assert done.errors.count("\n") == 1
    assert message in done.errors
    assert not list(tmp_path.iterdir())
