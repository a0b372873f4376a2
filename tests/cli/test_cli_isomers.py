"""The commands that pass isomer sets on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from isograd.isomers import create_isomers, load_isomers, save_isomers, to_prompts, to_rows


def isomers(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "isograd", "isomers", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=250)


def test_export_and_card(tmp_path: Path) -> None:
    sets = create_isomers(size=5, cue="member", noise=0.5)[:]
    file, parquet, rows = tmp_path / "sets.jsonl", tmp_path / "sets.parquet", tmp_path / "rows.jsonl"
    save_isomers(sets, file)
    done = isomers("export", file, "--output", parquet)
    assert (done.returncode, done.stdout) == (0, f"{parquet}: 5 sets\n")
    assert load_isomers(parquet) == sets
    for view, wanted in (("sft", to_rows(sets)), ("grpo", to_prompts(sets))):
        done = isomers("export", parquet, "--view", view, "--output", rows)
        assert (done.returncode, done.stdout) == (0, f"{rows}: {len(wanted)} rows\n")
        assert [json.loads(line) for line in rows.read_text().splitlines()] == wanted
    printed = isomers("card", parquet)
    assert printed.returncode == 0
    assert isomers("card", file, "--output", tmp_path / "README.md").returncode == 0
    assert (tmp_path / "README.md").read_text() == printed.stdout
    assert DatasetCard(printed.stdout).data.license == "apache-2.0"
    assert DatasetCard(isomers("card", file, "--license", "mit").stdout).data.license == "mit"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "FILE", "-o", "x.csv"), "x.csv: unknown file type; name it *.jsonl"),
        (("export", "FILE", "-o", "x.jsonl", "--view", "dpo"), "unknown view 'dpo'; there are: sets, sft, grpo"),
        (("export", "none.jsonl", "-o", "x.jsonl"), "none.jsonl: no such file"),
        (("card", "none.jsonl"), "none.jsonl: no such file"),
        (("push", "none.jsonl", "user/name"), "none.jsonl: no such file"),
        (("push", "FILE", "user/name", "--split", "a-b"), "split is 'a-b'"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    file = tmp_path / "sets.jsonl"
    save_isomers(create_isomers(size=1), file)
    done = isomers(*(str(file) if argument == "FILE" else argument for argument in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith("isograd: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
