"""`isograd tune`: its options, the dry run, and what a mistake looks like."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.main
from cli_done import Isograd

from isograd.cli.app import app

CONFIG = """
families: [arithmetic, ordering]
generator: {splits: [cue_reversed]}
seeds: 2
output: results
methods:
  ERM: {learning_rate: 1e-3}
  IGA: {method: iga}
tuning: {budget: 3}
"""


def test_its_options_are_these() -> None:
    """Options are promises: scripts rely on them."""
    command = typer.main.get_command(app).commands["tune"]  # type: ignore[attr-defined]
    options = {tuple(parameter.opts) for parameter in command.params}
    assert options == {("config",), ("--output", "-o"), ("--workers",), ("--dry-run",)}


def test_a_dry_run_prints_the_configurations_and_writes_nothing(tmp_path: Path, isograd: Isograd) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    done = isograd("tune", tmp_path / "c.yaml", "--dry-run")
    assert done.status == 0
    lines = done.told.splitlines()
    assert lines[:2] == ["ERM 0: {}", 'IGA 0: {"learning_rate": 0.001, "method_params": {"tau": 1.0}}']
    assert [line.partition(":")[0] for line in lines[2:4]] == ["IGA 1", "IGA 2"]
    assert lines[4:] == ["8 runs: 4 configurations, 2 runs each, validation"]
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


@pytest.mark.parametrize(
    ("arguments", "config", "message"),
    [
        (
            (),
            CONFIG.replace("{budget: 3}", "{splits: [id]}"),
            "tuning.splits: no such field; tuning reads no test split",
        ),
        ((), CONFIG.replace("seeds", "seed"), "seed: no such field; did you mean 'seeds'?"),
        (("--workers", "0"), CONFIG, "workers is 0; it must be at least 1"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, isograd: Isograd, arguments: tuple[str, ...], config: str, message: str
) -> None:
    (tmp_path / "c.yaml").write_text(config)
    done = isograd("tune", tmp_path / "c.yaml", *arguments)
    assert done.status == 2
    assert done.errors.startswith("isograd: error: ")
    assert done.errors.count("\n") == 1
    assert message in done.errors
    assert not (tmp_path / "results").exists()
