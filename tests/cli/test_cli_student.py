"""``isograd student`` and ``isograd demo``: what reaches the library, and the table of what a student can do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from cli_done import Isograd
from rich.console import Console

from isograd.cli.views import probe_view
from isograd.experiment import demo, student_table
from isograd.isomers import FAMILIES
from isograd.isomers.symbolic.domains import domain_names
from isograd.student.corpus import SYMBOLS

SKILLS = ("meaning", "single step", "cue", "task")


def test_the_probe_of_all_families() -> None:
    """Every number stands in its family's table, in the row of its domain and the column of its skill."""
    numbers = iter(range(1, 1000))
    tables = {
        family: {
            **{name: {skill: next(numbers) / 1000 for skill in SKILLS} for name in domain_names()},
            SYMBOLS: {"chain of depth 2": next(numbers) / 1000, "chain of depth 3": 1.0},
        }
        for family in FAMILIES
    }
    told = io.StringIO()
    Console(file=told, width=120).print(probe_view(tables, 37))
    text = told.getvalue()
    places = [text.index(f"{family} before fine-tuning: fraction right of 37") for family in FAMILIES]
    assert places == sorted(places)
    for family, start, end in zip(FAMILIES, places, [*places[1:], len(text)], strict=True):
        lines = text[start:end].splitlines()
        cells = [[cell.strip() for cell in line.strip("│┃").split("┃" if "┃" in line else "│")] for line in lines]
        assert ["domain", *SKILLS] in cells
        for name in domain_names():
            assert [name, *(f"{value:.2f}" for value in tables[family][name].values())] in cells, (family, name)
        assert not any(row[0] == SYMBOLS for row in cells)
        two = tables[family][SYMBOLS]["chain of depth 2"]
        assert f"In neutral symbols: chain of depth 2 {two:.2f}, chain of depth 3 1.00" in lines


@pytest.mark.parametrize("status", [0, 1, 130])
def test_student_measure_passes_on_what_is_asked_and_how_it_ended(
    tmp_path: Path, isograd: Isograd, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    asked: dict[str, Any] = {}

    def measured(output: Path, *, console: Console, **options: Any) -> int:
        asked.update(options, output=output)
        return status

    monkeypatch.setattr(student_table, "run_student_table", measured)
    done = isograd("student", "measure", "-o", tmp_path, "--model", "some/model", "--seed", "3", "--workers", "1")
    assert done.status == status
    assert asked == {"output": tmp_path, "model": "some/model", "seed": 3, "workers": 1}
    isograd("student", "measure", "-o", tmp_path)
    assert asked == {"output": tmp_path, "model": "builtin", "seed": 0, "workers": 2}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_demo_of_a_family(tmp_path: Path, isograd: Isograd, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    asked: dict[str, Any] = {}

    def shown(output: Path, *, console: Console, **options: Any) -> int:
        asked.update(options, output=output)
        return 130

    monkeypatch.setattr(demo, "run_demo", shown)
    assert isograd("demo", "-o", tmp_path, "--family", family, "--seeds", "3").status == 130
    assert asked == {"output": tmp_path, "family": family, "seeds": 3, "workers": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demo", "--family", "algebra"), "unknown family 'algebra'"),
        (("demo", "--workers", "0"), "workers is 0"),
        (("student", "show", "--model", "none/here"), "none/here"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, isograd: Isograd, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rest = () if arguments[1] == "show" else ("-o", "here")
    done = isograd(*arguments, *rest)
    assert done.status == 2
    assert done.errors.startswith("isograd: error: ")
    assert done.errors.count("\n") == 1
    assert message in done.errors
    assert not list(tmp_path.iterdir())
