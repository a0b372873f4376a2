"""`isograd compare`: its options, the dry run, and what a mistake looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer.main
from cli_done import Isograd

from isograd.cli.app import app

CONFIG = """
families: [arithmetic, ordering]
seeds: 2
output: results
methods:
  ERM:
  IGA: {method: iga}
"""


def test_its_options_are_these() -> None:
    """Options are promises: scripts rely on them."""
    command = typer.main.get_command(app).commands["compare"]  # type: ignore[attr-defined]
    options = {tuple(parameter.opts) for parameter in command.params}
    chosen = {("--only",), ("--seed",), ("--family",)}
    assert options == {("config",), ("--output", "-o"), ("--workers",), *chosen, ("--dry-run",)}


def test_a_dry_run_prints_the_runs_and_writes_nothing(tmp_path: Path, isograd: Isograd) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    done = isograd("compare", tmp_path / "c.yaml", "--dry-run")
    assert done.status == 0
    lines = done.told.splitlines()
    assert lines[0] == f"{tmp_path}/results/runs/arithmetic/erm-seed0: ERM on arithmetic, seed 0"
    assert lines[7] == f"{tmp_path}/results/runs/ordering/iga-seed1: IGA on ordering, seed 1"
    assert lines[8:] == ["8 runs: 2 methods, 2 seeds, on arithmetic, ordering"]
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]
    done = isograd("compare", tmp_path / "c.yaml", "--dry-run", "--output", "elsewhere")
    assert done.told.startswith("elsewhere/runs/arithmetic/erm-seed0: ")
    done = isograd(
        *("compare", tmp_path / "c.yaml", "--dry-run", "--only", "IGA", "--seed", "1", "--family", "ordering"),
        *("--family", "arithmetic"),
    )
    assert [line.partition(": ")[2] for line in done.told.splitlines()] == [
        *(f"{label} on {family}, seed 1" for family in ("arithmetic", "ordering") for label in ("ERM", "IGA")),
        "2 methods, 1 seeds, on arithmetic, ordering",
    ]


def test_a_dry_run_counts_the_distillations_too(tmp_path: Path, isograd: Isograd) -> None:
    rules = "reinforce: {training: {per_device_train_batch_size: 8}}\nmethods: {GRPO: {loss_type: grpo}}\n"
    (tmp_path / "c.yaml").write_text(CONFIG.partition("methods:")[0] + rules)
    lines = isograd("compare", tmp_path / "c.yaml", "--dry-run", "--family", "ordering").told.splitlines()
    assert lines[0] == f"{tmp_path}/results/runs/distilled/ordering-seed0: distilled on ordering, seed 0"
    assert lines[2] == f"{tmp_path}/results/runs/ordering-g8/grpo-seed0: GRPO on ordering-g8, seed 0"
    assert lines[4:] == ["2 distillations, then 2 runs: 1 methods, 2 seeds, on ordering-g8"]


def test_the_tables_of_a_selection_are_told_apart(
    tmp_path: Path, isograd: Isograd, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def compared(config: Any, output: Path, *, tables: Path | None, **options: Any) -> int:
        asked.update(methods=[*config.methods], tables=tables, command=options["command"])
        return 0

    monkeypatch.setattr("isograd.experiment.compare.run_compare", compared)
    (tmp_path / "c.yaml").write_text(CONFIG)
    words = ("compare", str(tmp_path / "c.yaml"))
    assert isograd(*words).status == 0
    assert asked == {"methods": ["ERM", "IGA"], "tables": None, "command": ["isograd", *words]}
    words = (*words, "--only", "ERM", "--seed", "1")
    assert isograd(*words).status == 0
    selection = tmp_path / "results" / "selected"
    assert asked == {"methods": ["ERM"], "tables": selection, "command": ["isograd", *words]}


@pytest.mark.parametrize(
    ("arguments", "config", "message"),
    [
        ((), CONFIG.replace("iga}", "iag}"), "methods.IGA: unknown method 'iag'; did you mean 'iga'?"),
        ((), CONFIG.replace("seeds", "seed"), "seed: no such field; did you mean 'seeds'?"),
        (("--workers", "0"), CONFIG, "workers is 0; it must be at least 1"),
        (("--only", "IAG"), CONFIG, "--only: no method 'IAG'; did you mean 'IGA'?"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, isograd: Isograd, arguments: tuple[str, ...], config: str, message: str
) -> None:
    (tmp_path / "c.yaml").write_text(config)
    done = isograd("compare", tmp_path / "c.yaml", *arguments)
    assert done.status == 2
    assert done.errors.startswith("isograd: error: ")
    assert done.errors.count("\n") == 1
    assert message in done.errors
    assert not (tmp_path / "results").exists()
