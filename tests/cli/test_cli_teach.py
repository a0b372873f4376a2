"""``isograd isomers teach``, ``status`` and ``merge`` as a user types them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_done import Isograd

sys.path.insert(0, str(Path(__file__).parents[1] / "teacher"))

from fault_run import FIELDS
from rule_teacher import Book, Running, rule_server, some_sets, write_book

from isograd.isomers import load_isomers

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return write_book(tmp_path, some_sets(3), stubborn={1: "refusal"})


@pytest.fixture
def server(tmp_path: Path, book: Book) -> Iterator[Running]:
    with rule_server(tmp_path, book, key=KEY) as running:
        yield running


def arguments(book: Book, folder: Path, url: str, *more: str) -> list[str]:
    told = ["isomers", "teach", str(book.seeds), "-o", str(folder), "--model", "teacher", "--base-url", url]
    return [*told, "--fields", FIELDS, "--domains", "law,medicine", "--solutions", "1", *more]


def test_teach_status_and_merge(
    tmp_path: Path, book: Book, server: Running, isograd: Isograd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOGRAD_API_KEY", KEY)
    run = tmp_path / "run"
    done = isograd(*arguments(book, run, server.url, "--sets", "made.parquet"))
    assert (done.status, done.errors) == (0, "")
    assert f"{run / 'made.parquet'}: 2 sets" in done.told
    assert "1 seeds quarantined (refused 1)" in done.told
    assert len(load_isomers(run / "made.parquet")) == 2

    # Neither on disk nor on the screen.
    assert KEY not in done.told
    files = [file for file in run.rglob("*") if file.is_file()]
    assert {file.name for file in files} == {"journal.sqlite", "made.parquet", "quarantine.jsonl"}
    assert not any(KEY.encode() in file.read_bytes() for file in files)

    for place in (run, run / "journal.sqlite"):
        shown = isograd("isomers", "status", place)
        assert shown.status == 0
        assert "3 seeds: 0 waiting, 0 working, 2 verified, 1 quarantined" in shown.told
        assert "all seeds are finished" in shown.told
        for word in ("abstract", "transpose", "verify", "solve", "law", "medicine", "refused", "100.0%"):
            assert word in shown.told

    merged = isograd("isomers", "merge", run, "-o", tmp_path / "merged")
    assert merged.status == 0
    assert "1 journals merged" in merged.told
    assert load_isomers(tmp_path / "merged" / "sets.jsonl") == load_isomers(run / "made.parquet")


def test_what_a_teacher_made_trains_a_student(
    tmp_path: Path, book: Book, server: Running, isograd: Isograd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOGRAD_API_KEY", KEY)
    assert isograd(*arguments(book, tmp_path / "run", server.url)).status == 0
    sets = tmp_path / "run" / "sets.jsonl"
    assert isograd("isomers", "verify", sets).status == 0
    config = tmp_path / "distill.yaml"
    training = "method: iga, consistency: logit_variance, per_device_train_batch_size: 4, max_steps: 2, save_steps: 2"
    config.write_text(f"data: [{{path: {sets}}}]\ntraining: {{{training}}}\n")
    trained = isograd("distill", config, "--output", tmp_path / "student")
    assert trained.status == 0, trained.errors
    assert (tmp_path / "student" / "adapter" / "adapter_model.safetensors").is_file()
    measured = isograd("lcs", tmp_path / "student", "--data", sets, "--output", tmp_path / "lcs.json")
    assert measured.status == 0, measured.errors
    record = json.loads((tmp_path / "lcs.json").read_text())
    assert (record["n_sets"], record["domains"]) == (2, ["law", "medicine"])
    for layer in record["by_layer"].values():
        # A teacher's sets have aligned steps, hence spans.
        assert list(layer) == ["mean", "last", "spans"]
        assert all(0 <= scores[side] <= 2 for scores in layer.values() for side in ("within", "between"))


def test_a_refused_key_is_one_line(
    tmp_path: Path, book: Book, server: Running, isograd: Isograd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOGRAD_API_KEY", "sk-wrong-key")
    done = isograd(*arguments(book, tmp_path / "run", server.url))
    assert done.status == 2
    assert len(done.errors.splitlines()) == 1
    assert "status 401" in done.errors
    assert "sk-wrong-key" not in done.errors
    assert not (tmp_path / "run" / "sets.jsonl").exists()


def test_a_dry_run_calls_nobody_and_writes_nothing(tmp_path: Path, book: Book, isograd: Isograd) -> None:
    run = tmp_path / "run"
    # Nothing listens there.
    more = ("--dry-run", "--prompt-price", "1", "--completion-price", "2")
    done = isograd(*arguments(book, run, "http://127.0.0.1:9/v1", *more))
    assert (done.status, done.errors) == (0, "")
    assert "3 of 3 seeds to work on, in 2 domains (law, medicine)" in done.told
    assert "if every telling passes at once: 27 calls, about " in done.told
    assert "if each is repaired 2 times: 75 calls" in done.told
    assert "nobody was called" in done.told
    assert not run.exists()


def test_rows_that_are_no_seeds_are_told(tmp_path: Path, book: Book, isograd: Isograd) -> None:
    with book.seeds.open("a") as file:
        file.write("nonsense\n" + json.dumps({"id": "x", "problem": "", "answer": "1"}) + "\n")
    done = isograd(*arguments(book, tmp_path / "run", "http://127.0.0.1:9/v1", "--dry-run"))
    assert done.status == 0
    lines = done.errors.splitlines()
    assert lines[0].startswith(f"{book.seeds}:4:")
    assert lines[1].startswith(f"{book.seeds}:5:")
    assert lines[2] == f"{book.seeds}: 2 rows are no seeds and were left out"
    assert "3 of 3 seeds" in done.told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--max-cost", "5"), "--max-cost needs to know what the teacher costs"),
        (("--domains", "law"), "a set needs two or more"),
        (("--domains", "law,lore"), "unknown domain 'lore'"),
        (("--shard", "3/2"), "shard is '3/2'"),
        (("--sets", "sets.csv"), "sets.csv"),
        (("--split", "test"), "refused as seeds: it is a 'test' split"),
        (("--fields", "problem=problem"), "problem and answer are needed"),
        (("--against", "nothing.jsonl"), "nothing.jsonl"),
        (("--least-domains", "3"), "give 2 to 2"),
        ((), "no server answers at http://127.0.0.1:9/v1"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, book: Book, isograd: Isograd, more: tuple[str, ...], message: str
) -> None:
    done = isograd(*arguments(book, tmp_path / "run", "http://127.0.0.1:9/v1", *more))
    assert done.status == 2
    assert len(done.errors.splitlines()) == 1
    assert done.errors.startswith("isograd: error: ")
    assert message in done.errors


def test_a_forced_test_split_is_warned_of(tmp_path: Path, book: Book, isograd: Isograd) -> None:
    more = ("--split", "test", "--force-test", "--dry-run")
    done = isograd(*arguments(book, tmp_path / "run", "http://127.0.0.1:9/v1", *more))
    assert done.status == 0
    assert done.errors.startswith("warning: ")
    assert "leak" in done.errors


def test_status_of_what_is_no_run(tmp_path: Path, isograd: Isograd) -> None:
    done = isograd("isomers", "status", tmp_path)
    assert done.status == 2
    assert "no run of a teacher" in done.errors
    done = isograd("isomers", "merge", tmp_path, "-o", tmp_path / "merged")
    assert done.status == 2
    assert not (tmp_path / "merged").exists()
