"""The table over all families of docs/results: what is missing is told, differences are paired, p is exact."""

from __future__ import annotations

import csv
import itertools
import sys
from pathlib import Path

import pytest
from tests.scripts import load_script

SCRIPT = load_script(Path(__file__).parents[2] / "docs" / "results" / "pooled.py")


def pooled(folder: Path, rows: list[tuple[str, str, int, float | None]]) -> None:
    with (folder / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("family", "method", "seed", "trouble", "accuracy/id"))
        for family, method, seed, score in rows:
            writer.writerow((family, method, seed, "" if score is not None else "failed: out of memory", score))


def told(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["pooled.py", str(folder / "runs.csv"), *words])
    SCRIPT.main()
    return capsys.readouterr().out.splitlines()


def test_missing_runs_are_counted_and_differences_paired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = itertools.product(("arithmetic-g2", "arithmetic-g4", "deduction-g2"), range(3))
    rows = [(family, name, seed, seed / 10 + gain) for family, seed in seeds for name, gain in (("A", 0), ("B", 0.25))]
    rows[3] = (*rows[3][:3], None)
    rows += [("deduction-g2", "C", 0, None)]
    pooled(tmp_path, rows)
    lines = told(tmp_path, monkeypatch, capsys, "A")
    assert [line.split(" | ")[:2] for line in lines[4:7]] == [
        ["| A", "9 of 9"],
        ["| B", "8 of 9"],
        ["| C", "0 of 1"],
    ]
    # Six pairs of family and seed: 2 of 64 signings are as far from zero.
    assert lines[12] == "| B | all | +0.250 [+0.250, +0.250] p 0.031 |"
    assert lines[13] == "| B | arithmetic | +0.250 [+0.250, +0.250] |"
    assert [line.split(" | ")[1] for line in lines[13:]] == ["arithmetic", "deduction", "group size 2", "group size 4"]


def test_one_pair_has_no_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pooled(tmp_path, [("ordering", "A", 0, 0.5), ("ordering", "B", 0, 0.25)])
    lines = told(tmp_path, monkeypatch, capsys, "A")
    assert lines[4] == "| A | 1 of 1 | 0.500 |"
    assert lines[-1] == "| B | ordering | -0.250 |"


def test_p_is_that_of_all_signings() -> None:
    values = [0.3, -0.1, 0.2, 0.05, 0.4, -0.05]
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in itertools.product((1, -1), repeat=6)
    ]
    assert SCRIPT.sign_flip_p(values) == sum(total >= abs(sum(values)) - 1e-12 for total in sums) / 64
    assert SCRIPT.sign_flip_p([1.0] * 5) == 2 / 32
