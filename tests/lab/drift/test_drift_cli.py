"""``isograd lab drift`` from end to end."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from isograd.cli import main

PLOTS = {f"drift-{name}.png" for name in ("residuals", "formula", "exact", "long", "groups", "predictions")}


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["isograd", "lab", "drift", *words])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_quick_run_twice_gives_equal_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        assert call(monkeypatch, "--quick", "--seeds", "2", "--output", str(folder)) == 0
    names = {path.name for path in folders[0].iterdir()}
    assert names == PLOTS | {"results.json", "results.csv", "drift.md"}
    for name in sorted(names):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
    results = json.loads((folders[0] / "results.json").read_text())
    assert results["scale"]["seeds"] == 2
    with (folders[0] / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results["records"])
    experiments = {row["experiment"] for row in rows}
    assert {"cancellation", "direction", "exact", "disputed", "formula", "group", "predictions"} <= experiments
    assert {"long adam", "long sgd", "restored normalized"} <= experiments
    page = (folders[0] / "drift.md").read_text()
    assert "Fewer than five seeds" in page
    assert all(name in page for name in PLOTS)


def test_one_seed_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--quick", "--seeds", "1", "--output", str(tmp_path / "out")) == 2
    said = capsys.readouterr()
    assert said.err == "isograd: error: seeds is 1; an interval needs at least 2, a claim at least 5\n"
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    assert call(monkeypatch, "--quick", "--output", str(tmp_path / "out")) == 2
    assert "out: cannot be made: File exists" in capsys.readouterr().err
