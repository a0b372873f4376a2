"""Some runs of a comparison: one row again, in the folders of the whole."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from pretended import named, pretend
from rich.console import Console

from isograd.common.errors import UserError
from isograd.experiment.compare import planned_runs, planned_students, run_compare
from isograd.experiment.compare_config import CompareConfig, load_compare
from isograd.experiment.selection import selected

CONFIG: dict[str, Any] = {
    "name": "tiny",
    "families": ["arithmetic", "ordering"],
    "generator": {"sets": 4, "evaluation_sets": 2, "splits": ["id", "ood_domain"]},
    "seeds": 2,
    "training": {"max_steps": 3, "per_device_train_batch_size": 8},
    "methods": {"ERM": None, "IGA": {"method": "iga"}, "IRM": {"method": "irm"}},
}
RULES = {
    "reinforce": {"group_sizes": [2, 4], "training": {"per_device_train_batch_size": 8}},
    "methods": {"GRPO": {"loss_type": "grpo"}, "plain": {"loss_type": "bnpo"}},
}


def load(folder: Path, **fields: Any) -> CompareConfig:
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**CONFIG, **fields}, sort_keys=False))
    return load_compare(folder / "tiny.yaml")


def compare(config: CompareConfig, output: Path, **options: Any) -> int:
    return run_compare(config, output, console=Console(file=io.StringIO(), width=200), **options)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("chosen", "runs"),
    [
        ({"labels": ["IRM"], "seeds": [1], "families": ["ordering"]}, ["ordering/erm-seed1", "ordering/irm-seed1"]),
        ({"labels": ["ERM"], "seeds": [0]}, ["arithmetic/erm-seed0", "ordering/erm-seed0"]),
        (
            {"families": ["arithmetic"], "seeds": [1]},
            ["arithmetic/erm-seed1", "arithmetic/iga-seed1", "arithmetic/irm-seed1"],
        ),
    ],
)
def test_what_is_selected_and_the_baseline(tmp_path: Path, chosen: dict[str, Any], runs: list[str]) -> None:
    config = selected(load(tmp_path), **chosen)
    assert [named(folder) for folder in planned_runs(config, tmp_path)] == runs
    assert planned_students(config, tmp_path) == {}


def test_group_sizes_are_selected_as_the_tables_name_them(tmp_path: Path) -> None:
    whole = load(tmp_path, **RULES)
    config = selected(whole, families=["ordering-g4"], labels=["plain"], seeds=[1])
    assert [named(folder) for folder in planned_runs(config, tmp_path)] == [
        *("ordering-g4/grpo-seed1", "ordering-g4/plain-seed1")
    ]
    assert [named(folder) for folder in planned_students(config, tmp_path)] == ["distilled/ordering-seed1"]
    assert selected(whole, families=["ordering"]).groups == ["ordering-g2", "ordering-g4"]
    assert selected(whole, families=["ordering-g2", "arithmetic-g2"]).groups == ["arithmetic-g2", "ordering-g2"]
    with pytest.raises(UserError, match=r"--family: ordering-g2, arithmetic-g4: families with different group sizes"):
        selected(whole, families=["ordering-g2", "arithmetic-g4"])


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"labels": ["IAG"]}, "--only: no method 'IAG'; did you mean 'IGA'?"),
        ({"labels": ["erm"]}, "--only: no method 'erm'; there are: ERM, IGA, IRM"),
        ({"seeds": [7]}, "--seed: 7 is no seed of this comparison; there are: 0, 1"),
        ({"families": ["ordring"]}, "--family: no family 'ordring' in this comparison; did you mean 'ordering'?"),
    ],
)
def test_what_there_is_not(tmp_path: Path, chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as told:
        selected(load(tmp_path), **chosen)
    assert str(told.value) == message


def test_a_selection_and_the_whole_share_their_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, output = load(tmp_path), tmp_path / "out"
    part = selected(whole, labels=["IGA"], seeds=[1], families=["ordering"])
    given = pretend(monkeypatch)
    assert compare(part, output, tables=output / "selected") == 0
    first = [named(folder) for folder in given]
    assert first == ["ordering/erm-seed1", "ordering/iga-seed1"]
    assert not list(output.glob("table.*"))
    assert (output / "selected" / "table.md").read_text().startswith("# tiny: selected runs\n")
    rows = csv.DictReader(io.StringIO((output / "selected" / "runs.csv").read_text()))
    assert [(row["family"], row["method"], row["seed"]) for row in rows] == [
        *(("ordering", "ERM", "1"), ("ordering", "IGA", "1"))
    ]
    assert (output / "selected" / "report.html").is_file()

    # The whole takes them over, and a selection of the whole leaves all of it as it is.
    given.clear()
    assert compare(whole, output) == 0
    assert len(given) == 10
    assert not {*first} & {named(folder) for folder in given}
    before = files(output)
    given.clear()
    assert compare(part, output, tables=output / "selected") == 0
    assert given == []
    assert files(output) == before


def test_changed_evaluation_sets_are_measured_again_and_changed_training_sets_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, output = {"methods": {"ERM": None}, "families": ["arithmetic"], "seeds": 1}, tmp_path / "out"
    given = pretend(monkeypatch)
    for more in ({}, {"unseen_domains": ["sport"]}, {"evaluation_sets": 3}, {"splits": ["id"]}):
        given.clear()
        assert compare(load(tmp_path, **one, generator={**CONFIG["generator"], **more}), output) == 0
        assert [named(folder) for folder in given] == ["arithmetic/erm-seed0"]
    with pytest.raises(UserError, match="the runs beside it had other generator options"):
        compare(load(tmp_path, **one, generator={**CONFIG["generator"], "noise": 0.0}), output)
