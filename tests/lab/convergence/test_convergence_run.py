"""The whole experiment, small, from end to end."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from isograd.common.errors import UserError
from isograd.lab.convergence.experiment import QUICK, run_convergence

PLOTS = {f"convergence-{n}.png" for n in ("rates", "tau", "standstill", "noise", "bias", "ranks", "factors")}
TINY = replace(QUICK, seeds=2, exact=20, noisy=20, ranks=12, factors=12, standstill=110, draws=40)


def test_two_runs_give_equal_bytes_and_every_table(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    seen: list[tuple[int, int, str]] = []
    for folder in folders:
        files = run_convergence(folder, TINY, lambda *now: seen.append(now))
        assert {file.name for file in files} == {path.name for path in folder.iterdir()}
    assert {path.name for path in folders[0].iterdir()} == PLOTS | {"results.json", "results.csv", "convergence.md"}
    for path in sorted(folders[0].iterdir()):
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name
    assert seen[-1][0] == seen[-1][1] == len(seen) // 2
    results = json.loads((folders[0] / "results.json").read_text())
    with (folders[0] / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results["records"])
    experiments = {"exact", "afar", "standstill", "noisy", "bias", "ranks", "by hand", "factors"}
    assert {row["experiment"] for row in rows} == experiments
    page = (folders[0] / "convergence.md").read_text()
    assert "Fewer than five seeds" in page
    assert all(name in page for name in PLOTS)


def test_one_seed_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        run_convergence(tmp_path / "out", replace(TINY, seeds=1))
    assert str(refused.value) == "seeds is 1; an interval needs at least 2, a claim at least 5"
    assert not (tmp_path / "out").exists()
