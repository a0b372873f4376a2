"""`isograd compare`: its options, the dry run, and what a mistake looks like."""

from __future__ import annotations

from pathlib import Path

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
    assert options == {("config",), ("--output", "-o"), ("--workers",), ("--dry-run",)}


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


@pytest.mark.parametrize(
    ("arguments", "config", "message"),
    [
        ((), CONFIG.replace("iga}", "iag}"), "methods.IGA: unknown method 'iag'; did you mean 'iga'?"),
        ((), CONFIG.replace("seeds", "seed"), "seed: no such field; did you mean 'seeds'?"),
        (("--workers", "0"), CONFIG, "workers is 0; it must be at least 1"),
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
