"""The command ``isograd lcs``: its file, its table and its warning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isograd.cli.lcs import lcs
from isograd.common.errors import UserError
from isograd.isomers import create_isomers, save_isomers


def test_layers_poolings_and_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_isomers(create_isomers(size=5, domains=["law", "cooking"]), tmp_path / "sets.jsonl")
    output = tmp_path / "lcs.json"
    lcs("builtin", tmp_path / "sets.jsonl", layers="all", batch_size=4, output=output)
    told, errors = capsys.readouterr()
    assert str(output) in told
    assert "collapsed: layer 0 last:" in errors
    record = json.loads(output.read_text())
    assert record["n_sets"] == 5
    assert record["domains"] == ["cooking", "law"]
    assert list(record["by_layer"]) == [str(layer) for layer in range(record["depth"] + 1)]
    for scores in record["by_layer"].values():
        assert list(scores) == ["mean", "last", "spans"]
    last = record["by_layer"][str(record["depth"])]["mean"]
    assert 0 < last["within"] < last["between"]
    assert not last["collapsed"]
    assert last["cka"]["between"] is not None

    lcs("builtin", tmp_path / "sets.jsonl", pooling="last", output=output)
    four = json.loads(output.read_text())["by_layer"]
    assert len(four) <= 4
    for layer, scores in four.items():
        assert list(scores) == ["last"]
        assert scores["last"]["within"] == pytest.approx(record["by_layer"][layer]["last"]["within"], abs=1e-5)


def test_mistakes_are_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--layers 'five': choose four or all"):
        lcs("no such model", tmp_path / "sets.jsonl", layers="five")
    with pytest.raises(UserError, match=r"sets\.jsonl: no such file"):
        lcs("no such model", tmp_path / "sets.jsonl")
