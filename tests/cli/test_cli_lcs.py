"""The command ``isograd lcs``: its file, its table and its warning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.tiny import tiny_llama

from isograd.cli.lcs import lcs
from isograd.common.errors import UserError
from isograd.isomers import create_isomers, save_isomers
from isograd.isomers.views import save_view


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


def poolings(output: Path) -> set[tuple[str, ...]]:
    return {tuple(scores) for scores in json.loads(output.read_text())["by_layer"].values()}


def test_a_plain_paired_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"set_id": f"s{number}", "domain": domain, "prompt": f"{thing} {number}: how many?", "completion": f" {number}"}
        for number in range(4)
        for domain, thing in (("law", "clauses"), ("cooking", "cups"))
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lcs("builtin", tmp_path / "rows.jsonl", output=tmp_path / "lcs.json")
    record = json.loads((tmp_path / "lcs.json").read_text())
    assert (record["n_sets"], record["domains"]) == (4, ["cooking", "law"])
    assert poolings(tmp_path / "lcs.json") == {("mean", "last")}
    assert "Distances within and between 4 sets" in capsys.readouterr().out


def test_without_spans_in_every_set_there_is_no_pooling_over_them(tmp_path: Path) -> None:
    data, output = tmp_path / "rows.jsonl", tmp_path / "lcs.json"
    save_view(create_isomers(size=5, domains=["law", "cooking"]), data, "sft")
    first, *rest = data.read_text().splitlines()
    lcs("builtin", data, output=output)
    assert poolings(output) == {("mean", "last", "spans")}
    bare = json.loads(rest[-1])
    del bare["spans"]
    data.write_text("".join(f"{line}\n" for line in (first, *rest[:-1], json.dumps(bare))))
    lcs("builtin", data, output=output)
    assert poolings(output) == {("mean", "last")}
    # Who asks for it is told.
    with pytest.raises(UserError, match="has no aligned spans before the answer"):
        lcs("builtin", data, pooling="spans", output=output)


def test_a_tokenizer_without_places_has_no_pooling_over_spans(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer()
    assert not tokenizer.is_fast
    folder, data, output = tmp_path / "model", tmp_path / "sets.jsonl", tmp_path / "lcs.json"
    tiny_llama(tokenizer, max_position_embeddings=2048).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_isomers(create_isomers(size=4, domains=["law", "cooking"]), data)
    lcs(str(folder), data, output=output)
    assert poolings(output) == {("mean", "last")}
    with pytest.raises(UserError, match="pooling 'spans' needs a fast tokenizer"):
        lcs(str(folder), data, pooling="spans", output=output)


def test_mistakes_are_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "half.jsonl").write_text('{"set_id": "a", "domain": "d", "prompt": "p"}\n{"set_id": "b"}\n')
    with pytest.raises(UserError, match=r"half\.jsonl:2: domain: Field required"):
        lcs("no such model", tmp_path / "half.jsonl")
    with pytest.raises(UserError, match="--layers 'five': choose four or all"):
        lcs("no such model", tmp_path / "sets.jsonl", layers="five")
    with pytest.raises(UserError, match=r"sets\.jsonl: no such file"):
        lcs("no such model", tmp_path / "sets.jsonl")
