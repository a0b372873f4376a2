"""Comparisons: paired differences on matched seeds, ratios of costs, and the files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from isograd.common.errors import UserError
from isograd.common.seeding import named_random
from isograd.report.comparison import Comparison, Group, read_comparison
from isograd.report.comparison_files import RUN_HEAD, TABLE_HEAD, save_comparison
from isograd.report.comparison_page import save_comparison_pages
from isograd.report.comparison_tables import failures, group_tables, run_count
from isograd.report.summary import average

SPLITS = ("id", "ood_domain", "cue_random", "cue_reversed")
METRICS = (
    *(f"accuracy/{split}" for split in SPLITS),
    *(f"chain/{split}" for split in SPLITS),
    *("lcs/mean/within", "lcs/mean/between", "lcs/last/within", "lcs/last/between"),
    *("step_seconds", "peak_memory_bytes", "step_time_ratio", "peak_memory_ratio"),
)
MIB = 2**20


def score(folder: Path, accuracy: float, *, chain: float | None = None, within: float | None = None) -> Path:
    """Write these numbers into a run folder: the accuracies of ``id`` and the LCS, mean pooling."""
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["splits"]["id"] |= {"accuracy": accuracy, "chain_accuracy": chain}
    if within is not None:
        metrics["lcs"]["mean"]["within"] = within
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture
def group(make_run: Callable[..., Path]) -> Group:
    """ERM with seeds 0, 1, 2; IGA with 1, 2, 3 and a failed 0; Fish failed whole."""
    erm = [(0, 0.10, 1.0), (1, 0.50, 2.0), (2, 0.70, 4.0)]
    iga = [(1, 0.60, 3.0), (2, 0.50, 4.0), (3, 0.99, None)]
    runs = [
        score(make_run("ERM", seed, step_seconds=time, peak_memory_bytes=100 * MIB), value, chain=0.5, within=0.25)
        for seed, value, time in erm
    ]
    runs += [
        score(make_run("IGA", seed, step_seconds=time), value, chain=0.75, within=0.3) for seed, value, time in iga
    ]
    runs.append(make_run("IGA", 0, status="failed", error="ValueError: the loss\nis NaN"))
    runs += [make_run("Fish", seed, status="failed", error="out | of <luck>") for seed in (0, 1)]
    return read_comparison({"arithmetic": runs}, "ERM").groups[0]


def cells(group: Group, method: str) -> dict[str, tuple[float | None, int, float | None, int]]:
    """By metric: mean, seeds, mean difference, common seeds."""
    return {
        row.metric: (
            row.cell and row.cell.mean,
            row.cell.n if row.cell else 0,
            row.difference and row.difference.mean,
            row.difference.n if row.difference else 0,
        )
        for row in group.rows()
        if row.method.label == method
    }


def test_every_metric_of_every_method_has_a_row(group: Group) -> None:
    assert [(row.method.label, row.metric) for row in group.rows()] == [
        (label, metric) for label in ("ERM", "IGA", "Fish") for metric in METRICS
    ]


def test_differences_are_those_of_common_seeds(group: Group) -> None:
    iga = cells(group, "IGA")
    mean, n, difference, common = iga["accuracy/id"]
    assert (mean, n, common) == (pytest.approx((0.6 + 0.5 + 0.99) / 3), 3, 2)
    # Seeds 1 and 2: .60 - .50 and .50 - .70; not the difference of the means.
    assert difference == pytest.approx(-0.05)
    assert iga["chain/id"][2] == pytest.approx(0.25)
    assert iga["lcs/mean/within"][2] == pytest.approx(0.05)
    (row,) = [row for row in group.rows() if (row.method.label, row.metric) == ("IGA", "accuracy/id")]
    assert row.difference is not None
    # Two pairs: the bootstrap spans them.
    assert row.difference.interval == (pytest.approx(-0.2), pytest.approx(0.1))
    assert row.difference.sd == pytest.approx(0.3 / 2**0.5)


def test_costs_are_ratios_to_the_baseline_run_of_the_same_seed(group: Group) -> None:
    iga = cells(group, "IGA")
    # Seeds 1 and 2: 3 / 2 and 4 / 4; seed 3 was not timed.
    assert iga["step_time_ratio"] == (pytest.approx(1.25), 2, None, 0)
    assert iga["step_seconds"][:2] == (pytest.approx(3.5), 2)
    assert iga["peak_memory_ratio"] == (None, 0, None, 0)
    assert cells(group, "ERM")["peak_memory_ratio"] == (1.0, 3, None, 0)


def test_the_baseline_has_no_difference_and_a_failed_method_no_numbers(group: Group) -> None:
    assert {value[2:] for value in cells(group, "ERM").values()} == {(None, 0)}
    assert set(cells(group, "Fish").values()) == {(None, 0, None, 0)}


def test_failures_stay_with_their_reasons(group: Group) -> None:
    assert [run_count(method) for method in group.methods] == ["3 of 3", "3 of 4; 1 missing", "0 of 2; 2 missing"]
    assert failures(group) == [
        "IGA: 3 of 4 runs; seed 0 failed: ValueError: the loss is NaN",
        "Fish: 0 of 2 runs; seed 0 failed: out | of <luck>",
        "Fish: 0 of 2 runs; seed 1 failed: out | of <luck>",
    ]


def test_tables(group: Group) -> None:
    tables = {table.key: table for table in group_tables(group)}
    assert [*tables] == [
        *("accuracy", "chain", "accuracy_difference", "chain_difference", "lcs", "lcs_difference", "cost")
    ]
    accuracy = tables["accuracy"]
    assert accuracy.head == ("method", "runs", "in distribution", "unseen domains", "cue random", "cue reversed")
    assert "Guessing gives .250. Different problems, others being" in accuracy.note
    assert "in other words: cue reversed 8 to 11 of 64 sets. Such intervals are too narrow" in accuracy.note
    assert accuracy.rows[1][:2] == ("IGA", "3 of 4; 1 missing")
    assert accuracy.rows[1][2].startswith(".697 ± .259 [")
    assert accuracy.rows[2] == ("Fish", "0 of 2; 2 missing", "-", "-", "-", "-")
    assert [row[0] for row in tables["accuracy_difference"].rows] == ["IGA", "Fish"]
    assert tables["accuracy_difference"].rows[0][1] == "-.050 [-.200, +.100]; of 2"
    assert tables["chain_difference"].rows[0][1] == "+.250 [+.250, +.250]; of 2"
    assert tables["cost"].rows[1] == ("IGA", "3.5 [3, 4]", "1.25 [1.00, 1.50]", "not measured", "not measured")
    assert tables["cost"].rows[0][3:] == ("100 [100, 100]", "1.00 [1.00, 1.00]")


def test_intervals_of_five_seeds_miss_one_time_in_six() -> None:
    random = named_random("tests", "intervals")
    missed = 0
    for _ in range(1000):
        cell = average([random.gauss(0, 1) for _ in range(5)])
        assert cell.interval is not None
        missed += not cell.interval[0] <= 0 <= cell.interval[1]
    assert 0.13 < missed / 1000 < 0.19


def test_consistency_by_layer(make_run: Callable[..., Path]) -> None:
    erm, iga = make_run("ERM"), make_run("IGA")
    metrics = json.loads((erm / "metrics.json").read_text())
    known, unknown = {"within": 0.1, "between": 0.4}, {"within": 0.1, "between": None}
    metrics["lcs"]["by_layer"] = {"2": {"mean": known, "last": unknown}, "10": {"mean": unknown, "last": known}}
    (erm / "metrics.json").write_text(json.dumps(metrics))
    (group,) = read_comparison({"x": [erm, iga]}, "ERM").groups
    table = {table.key: table for table in group_tables(group)}["lcs_ratio"]
    pooled = ("mean over tokens", "last token")
    assert table.head == ("method", *(f"{pooling}: layer {layer}" for pooling in pooled for layer in (2, 10)))
    assert [*table.rows] == [("ERM", ".250", "-", "-", ".250"), ("IGA", "-", "-", "-", "-")]


def test_one_seed_has_no_interval_over_seeds(make_run: Callable[..., Path]) -> None:
    runs = [score(make_run("ERM"), 0.5), score(make_run("IGA"), 1.0)]
    (group,) = read_comparison({"x": runs}, "ERM").groups
    tables = {table.key: table for table in group_tables(group)}
    assert tables["accuracy"].rows[1][2] == "1.000"
    assert tables["accuracy_difference"].rows[0][1] == "+.500"


def test_a_method_alone_has_no_differences(make_run: Callable[..., Path]) -> None:
    (group,) = read_comparison({"x": [make_run("ERM")]}, "ERM").groups
    assert [table.key for table in group_tables(group)] == ["accuracy", "chain", "lcs", "cost"]


def test_a_baseline_that_is_not_there(make_run: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="x: no run of the baseline 'SGD'"):
        read_comparison({"x": [make_run("ERM")]}, "SGD")


def test_the_files(group: Group, tmp_path: Path) -> None:
    files = save_comparison(
        Comparison([group]), tmp_path, title="A | <title>", notes=["- command: `isograd compare x`"]
    )
    assert [file.name for file in files] == ["table.md", "table.csv", "runs.csv"]
    rows = list(csv.reader(io.StringIO(files[1].read_text())))
    assert tuple(rows[0]) == TABLE_HEAD
    assert len(rows) == 1 + 3 * len(METRICS)
    by_key = {(row[1], row[2]): row for row in rows[1:]}
    assert by_key["IGA", "accuracy/id"][3:5] == ["4", "3"]
    assert [float(value) for value in by_key["IGA", "accuracy/id"][9:]] == pytest.approx([2, -0.05, -0.2, 0.1])
    assert by_key["Fish", "accuracy/id"][3:] == ["2", "0", "", "", "", "", "0", "", "", ""]
    runs = list(csv.DictReader(io.StringIO(files[2].read_text())))
    assert tuple(runs[0])[: len(RUN_HEAD)] == RUN_HEAD
    assert tuple(runs[0])[len(RUN_HEAD) :] == METRICS[:-2]
    assert len(runs) == 9
    assert (runs[3]["method"], runs[3]["seed"], runs[3]["accuracy/id"]) == ("IGA", "1", "0.6")
    assert runs[3]["folder"] == "runs/iga-seed1"
    assert (runs[8]["status"], runs[8]["trouble"]) == ("failed", "failed: out | of <luck>")
    text = files[0].read_text()
    assert text.startswith("# A | &lt;title&gt;\n\n## arithmetic\n\n### Accuracy\n\nMean ± standard deviation")
    assert "| IGA | 3 of 4; 1 missing | .697 ± .259 [" in text
    assert "- Fish: 0 of 2 runs; seed 1 failed: out | of &lt;luck&gt;\n" in text
    foot = text.partition("## How these runs were made\n")[2]
    assert "- command: `isograd compare x`" in foot
    assert "- seeds: 0, 1, 2, 3" in foot
    assert foot.count("- machine: ") == foot.count("- versions: ") == 1
    tables = [block for block in text.split("\n\n") if block.startswith("| ")]
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines()}) == 1
    before = [file.read_bytes() for file in files]
    save_comparison(Comparison([group]), tmp_path, title="A | <title>", notes=["- command: `isograd compare x`"])
    assert [file.read_bytes() for file in files] == before


def test_pages(group: Group, tmp_path: Path, make_run: Callable[..., Path]) -> None:
    page = save_comparison_pages(Comparison([group]), tmp_path / "one", title="One")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["report.html"]
    text = page.read_text()
    for words in ("Difference to ERM, same seeds", "Paired difference to ERM: chain accuracy", "+.250", "Cost"):
        assert words in text
    assert "<luck>" not in text
    other = read_comparison({"ordering": [make_run("V-REx", seed) for seed in (0, 1)]}, "V-REx").groups[0]
    page = save_comparison_pages(Comparison([group, other]), tmp_path / "two", title="Two <families>")
    names = sorted(path.name for path in (tmp_path / "two").iterdir())
    assert names == ["report-arithmetic.html", "report-ordering.html", "report.html"]
    text = page.read_text()
    for words in (
        'href="report-ordering.html"',
        "Two &lt;families&gt;",
        "-.050 [-.200, +.100]; of 2",
        "0 of 2; 2 missing",
    ):
        assert words in text
    assert "<luck>" not in text
    # The baseline need not be called ERM.
    assert "× V-REx" in (tmp_path / "two" / "report-ordering.html").read_text()
