"""``run_bound`` from end to end, slopes and verdicts."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from isograd.common.errors import UserError
from isograd.lab.bound.claims import Claim, below, near
from isograd.lab.bound.experiment import QUICK, run_bound
from isograd.lab.bound.page import ratio_cell
from isograd.lab.bound.plots import PICTURES
from isograd.lab.bound.scaling import fitted_slope
from isograd.lab.records import Record


def record(mean: float, low: float, high: float) -> Record:
    return Record("e", "t", "a", "m", None, mean, low, high, 5)


def test_quick_run_twice_gives_equal_bytes(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    ticks: list[tuple[int, int, str]] = []
    for folder in folders:
        files = run_bound(folder, QUICK, lambda *now: ticks.append(now))
    assert [done for done, _, _ in ticks] == 2 * list(range(1, QUICK.ticks() + 1))
    names = {path.name for path in folders[0].iterdir()}
    plots = {f"bound-{name}.png" for name in PICTURES}
    assert names == {path.name for path in files} == plots | {"results.json", "results.csv", "bound.md"}
    for name in sorted(names):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    results = json.loads((folders[0] / "results.json").read_text())
    assert results["scale"]["seeds"] == QUICK.seeds
    with (folders[0] / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results["records"])
    assert {row["experiment"] for row in rows} == {"minimum", "flow", "decay", "speed", "limit", "scaling"}
    page = (folders[0] / "bound.md").read_text()
    assert "Fewer than five seeds" in page
    assert all(name in page for name in plots)


def test_one_seed_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^seeds is 1; an interval needs at least 2, a claim at least 5$"):
        run_bound(tmp_path / "out", replace(QUICK, seeds=1))
    assert not (tmp_path / "out").exists()


def test_slopes_are_those_of_power_laws() -> None:
    K = [2, 4, 16, 64]
    values = torch.tensor([[3 * k**-1.0, k**-0.5, 0.0] for k in K], dtype=torch.float64)
    first, second, none = fitted_slope(K, values)
    assert (first, second) == pytest.approx((-1, -0.5))
    assert math.isnan(none)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-2, -1, "confirmed"), (1, 2, "refuted"), (-1, 1, "open"), (math.nan, math.nan, "open")],
)
def test_below(low: float, high: float, expected: str) -> None:
    assert below(0)(record((low + high) / 2, low, high)) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.95, 1.05, "confirmed"), (0.5, 0.8, "refuted"), (1.2, 1.3, "refuted"), (0.8, 1.0, "open")],
)
def test_near(low: float, high: float, expected: str) -> None:
    assert near(1, 0.1)(record((low + high) / 2, low, high)) == expected


def test_a_verdict_names_its_conditions() -> None:
    one = record(0, 0, 0)
    claim = Claim("c", "p", (("exact", one, "confirmed"), ("rotated", one, "refuted"), ("few", one, "confirmed")))
    assert claim.verdict() == "**confirmed under** exact (0), few (0); **refuted when** rotated (0)"
    assert Claim("c", "p", ()).verdict() == "open"


def test_a_ratio_is_shown_as_a_geometric_mean() -> None:
    assert ratio_cell(record(math.log(2), math.log(1), math.log(4))) == "2 [1, 4]"
    assert ratio_cell(None) == "-"
