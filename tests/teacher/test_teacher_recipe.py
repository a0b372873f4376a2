"""What decides which sets are made: refused where it makes no sense, and a journal is bound to all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isograd.common.errors import UserError
from isograd.isomers.symbolic.domains import domain_names
from isograd.isomers.teacher.harvest import RunFolder
from isograd.isomers.teacher.recipe import DOMAINS, Recipe, described_domains

RECIPE = Recipe("teacher", described_domains(DOMAINS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": " "}, "model is empty"),
        ({"domains": {"law": "courts"}}, "a set needs two or more"),
        ({"solutions": -1}, "solutions is -1: give 0 to 99"),
        ({"repairs": 10}, "repairs is 10: give 0 to 9"),
        ({"least_score": 1.5}, "least_score is 1.5: give 0 to 1"),
        ({"least_score": float("nan")}, "least_score is nan: give 0 to 1"),
        ({"least_domains": 1}, "least_domains is 1: give 2 to 4"),
        ({"least_domains": 5}, "least_domains is 5: give 2 to 4"),
    ],
)
def test_what_makes_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(RECIPE, **change)


def test_a_journal_is_bound_to_all_of_it() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"model": "another"},
        {"domains": {**RECIPE.domains, "law": "other words"}},
        {"domains": dict(reversed(RECIPE.domains.items()))},
        {"solutions": 2},
        {"repairs": 1},
        {"least_score": 0.9},
        {"least_domains": 3},
    ]
    assert len({replace(RECIPE, **change).configuration for change in changes}) == len(changes)
    assert replace(RECIPE, least_domains=4).configuration == RECIPE.configuration


def test_every_domain_of_the_generator_is_described() -> None:
    assert set(described_domains(domain_names())) == set(domain_names())


def test_domains_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("farming: fields,\n  cattle and crops\nrail traffic: trains\n")
    assert described_domains(["law", str(file)]) == described_domains(["law"]) | {
        "farming": "fields, cattle and crops",
        "rail traffic": "trains",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n", "write one line NAME: DESCRIPTION"),
        ("a: [\n", "not valid YAML"),
        ("farming:\n", "domain 'farming' needs a description"),
        ("'a.b': words\n", "'a.b' is no domain's name"),
        ("'a, b': words\n", "'a, b' is no domain's name"),
        ("law: words\n", "domain 'law' is named twice"),
    ],
)
def test_domain_files_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        described_domains(["law", str(file)])


@pytest.mark.parametrize(("name", "message"), [("lore", "unknown domain 'lore'"), ("no.yaml", "no such domain file")])
def test_domains_that_are_not_there(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        described_domains([name])


@pytest.mark.parametrize("name", ["quarantine.jsonl", "../sets.jsonl", "sets.csv", "sets"])
def test_names_that_no_file_of_sets_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"sets|csv|suffix|jsonl"):
        RunFolder(tmp_path, name)
