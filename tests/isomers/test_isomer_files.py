"""Files and datasets of isomer sets: what is read is what was written, and little of it is ever in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, load_dataset
from hypothesis import given
from hypothesis import strategies as st
from isomer_strategies import assert_same, isomer_sets

from isograd.common.errors import UserError
from isograd.isomers import (
    IsomerSet,
    create_isomers,
    from_dataset,
    iter_isomers,
    load_isomers,
    save_isomers,
    to_dataset,
    to_prompts,
    to_rows,
)
from isograd.isomers.arrow import SETS_SCHEMA, VIEW_SCHEMAS, write_parquet
from isograd.isomers.views import VIEWS, save_view

SUFFIXES = (".jsonl", ".parquet")


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(written=st.lists(isomer_sets(sound=True), min_size=1, max_size=3, unique_by=lambda item: item.id))
def test_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, suffix: str, written: list[IsomerSet]) -> None:
    path = tmp_path_factory.getbasetemp() / f"round_trip{suffix}"
    assert save_isomers(written, path) == len(written)
    assert_same(load_isomers(path), written)


@given(written=st.lists(isomer_sets(sound=False), max_size=3))
def test_datasets_round_trip_whatever_the_schema_takes(written: list[IsomerSet]) -> None:
    dataset = to_dataset(written)
    assert dataset.column_names == SETS_SCHEMA.names
    assert_same(list(from_dataset(dataset)), written)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_generated_sets_round_trip_and_bytes_repeat(tmp_path: Path, sets: list[IsomerSet], suffix: str) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    save_isomers(sets, first)
    save_isomers(load_isomers(first), second)
    assert second.read_bytes() == first.read_bytes()
    assert_same(list(iter_isomers(first)), sets)


def test_json_lines_are_one_set_a_line_and_blank_ones_are_passed_over(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "SETS.JSONL"
    save_isomers(sets, path)
    assert len(path.read_text().splitlines()) == len(sets)
    path.write_text("\n" + path.read_text().replace("\n", "\r\n  \n"))
    assert load_isomers(path) == sets


def test_parquet_loads_as_a_dataset_with_the_same_features(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.parquet"
    save_isomers(sets, path)
    loaded = load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / "cache"), split="train")
    assert loaded.features == to_dataset(sets).features
    assert loaded[0]["members"][0]["domain"] == sets[0].members[0].domain
    assert json.loads(loaded[0]["graph"])["nodes"][0]["id"] == sets[0].graph.nodes[0].id
    assert_same(list(from_dataset(loaded)), sets)
    stream = load_dataset("parquet", data_files=str(path), split="train", streaming=True)
    assert_same(list(from_dataset(stream)), sets)


def test_a_dataset_from_elsewhere_is_named_by_row_and_field(sets: list[IsomerSet]) -> None:
    rows = to_dataset(sets[:3]).to_list()
    rows[1]["graph"] = "{"
    with pytest.raises(UserError, match=r"^row 2: graph: not valid JSON: EOF .*; this column holds JSON text$"):
        list(from_dataset(Dataset.from_list(rows)))
    with pytest.raises(UserError, match=r"^row 1: family: Field required; add it$"):
        list(from_dataset(to_dataset(sets).remove_columns("family")))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failing_iterator_leaves_the_old_file(tmp_path: Path, sets: list[IsomerSet], suffix: str) -> None:
    path = tmp_path / f"sets{suffix}"
    save_isomers(sets[:2], path)

    def failing() -> Iterator[IsomerSet]:
        yield sets[2]
        raise RuntimeError("the source dried up")

    with pytest.raises(RuntimeError, match="the source dried up"):
        save_isomers(failing(), path)
    assert load_isomers(path) == sets[:2]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["sets.json", "sets", "sets.jsonl.gz"])
def test_other_suffixes_are_refused_by_name(tmp_path: Path, sets: list[IsomerSet], name: str) -> None:
    path = tmp_path / name
    for act in (lambda: save_isomers(sets, path), lambda: load_isomers(path), lambda: save_view(sets, path, "sft")):
        with pytest.raises(UserError, match=r"unknown file type; name it \*\.jsonl \(JSON lines\) or \*\.parquet"):
            act()
    assert not list(tmp_path.iterdir())


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: no such file; make one with: isograd isomers make --output"):
        load_isomers(tmp_path / "none.jsonl")


def test_strict_reading_ends_at_the_first_fault(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.jsonl"
    save_isomers(sets[:3], path)
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace('"structure"', '"stricture"')
    path.write_text("\n".join(lines))
    reading = iter_isomers(path)
    assert next(reading) == sets[0]
    with pytest.raises(UserError) as caught:
        next(reading)
    assert str(caught.value) == f"{path}:2: structure: Field required; add it"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("view", VIEWS)
def test_views_are_streamed_to_files(tmp_path: Path, sets: list[IsomerSet], view: str, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    wanted = VIEWS[view](sets)
    assert save_view(iter(sets), path, view) == len(wanted) == 4 * len(sets)
    kind = "json" if suffix == ".jsonl" else "parquet"
    loaded = load_dataset(kind, data_files=str(path), cache_dir=str(tmp_path / "cache"), split="train")
    assert loaded.to_list() == wanted


def test_the_columns_of_views_are_those_of_their_rows(sets: list[IsomerSet]) -> None:
    assert VIEW_SCHEMAS.keys() == VIEWS.keys()
    for view, rows in VIEWS.items():
        assert list(rows(sets)[0]) == VIEW_SCHEMAS[view].names
        assert Dataset.from_list(rows(sets)).data.schema.remove_metadata() == VIEW_SCHEMAS[view]
    with pytest.raises(UserError, match="unknown view 'dpo'; there are: sets, sft, grpo"):
        save_view(sets, "rows.jsonl", "dpo")


def test_files_are_written_in_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "many.parquet"
    assert write_parquet(({"n": number} for number in range(2500)), path, pa.schema([("n", pa.int64())])) == 2500
    groups = pq.ParquetFile(path).metadata
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == [1000, 1000, 500]


_STREAM = """
import sys
from isograd.common.memory import peak_resident_bytes
from isograd.isomers import create_isomers, iter_isomers, save_isomers
import isograd.isomers.arrow

made = create_isomers(size=500)[:]
sets = lambda count: (made[n % 500].model_copy(update={"id": str(n)}) for n in range(count))
path = sys.argv[1]
peaks = []
for count in (3000, 12000):
    assert save_isomers(sets(count), path) == count
    assert sum(1 for _ in iter_isomers(path)) == count
    peaks.append(peak_resident_bytes() // 2**20)
print(*peaks)
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, suffix: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STREAM, str(tmp_path / f"many{suffix}")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
    )
    few, many = map(int, done.stdout.split())
    # 9,000 more sets are 30 MiB of text, and several times as much as objects.
    assert many - few < 25


def test_reading_json_lines_loads_no_arrow() -> None:
    program = (
        "import sys\nfrom isograd.isomers import create_isomers, read_lines\ncreate_isomers(size=1)[0]\n"
        "print(*(name for name in ('pyarrow', 'datasets', 'huggingface_hub', 'torch') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_rows_carry_texts_and_aligned_spans(sets: list[IsomerSet]) -> None:
    rows = to_rows(sets)
    told = [(isomer_set, member) for isomer_set in sets for member in isomer_set.members]
    assert len(rows) == len(told) == 48
    for row, (isomer_set, member) in zip(rows, told, strict=True):
        assert row["prompt"] == member.problem + "\n"
        assert row["completion"].endswith(f"\nAnswer: {member.answer}")
        assert (row["domain"], row["set_id"], row["family"]) == (member.domain, isomer_set.id, isomer_set.family)
        texts = [row["completion"][start:end] for start, end in row["spans"]]
        assert texts == [*(step.value for step in member.steps), member.answer]


def test_members_keep_the_order_of_the_domains() -> None:
    dataset = create_isomers(size=1, domains=["science", "law", "cooking"])
    assert dataset[0].domains == ("science", "law", "cooking")
    assert [row["domain"] for row in to_rows(dataset)] == ["science", "law", "cooking"]


def test_prompts_carry_the_true_answer(sets: list[IsomerSet]) -> None:
    assert {isomer_set.noisy for isomer_set in sets} == {True, False}
    rows = to_prompts(sets)
    for isomer_set in sets:
        for member in isomer_set.members:
            row = rows.pop(0)
            assert row["prompt"] == member.prompt
            assert "completion" not in row
            assert row["answer"] in row["labels"]
            assert (row["answer"] != member.answer) == isomer_set.noisy
            assert (row["set_id"], row["structure"]) == (isomer_set.id, isomer_set.structure)


@pytest.mark.parametrize(
    ("value", "labels", "wanted"),
    [
        (None, ("no", "yes"), "stated"),
        (False, ("no", "yes"), "no"),
        (True, ("no", "yes"), "yes"),
        (True, (), "True"),
        (True, ("no", "unknown", "yes"), "stated"),
        ("unknown", ("no", "unknown", "yes"), "unknown"),
        ("maybe", ("no", "yes"), "stated"),
        (7, (), "7"),
        (7, ("5", "7"), "7"),
    ],
)
def test_true_answers(sets: list[IsomerSet], value: Any, labels: tuple[str, ...], wanted: str) -> None:
    isomer_set = sets[0]
    nodes = (*isomer_set.graph.nodes[:-1], isomer_set.graph.goal.model_copy(update={"value": value}))
    member = isomer_set.members[0].model_copy(update={"answer": "stated"})
    graph = isomer_set.graph.model_copy(update={"nodes": nodes})
    changed = isomer_set.model_copy(update={"graph": graph, "labels": labels, "members": (member,)})
    assert to_prompts([changed])[0]["answer"] == wanted


def test_trainers_find_the_columns_that_they_look_for(sets: list[IsomerSet]) -> None:
    from trl.data_utils import is_conversational

    supervised, prompts = Dataset.from_list(to_rows(sets)), Dataset.from_list(to_prompts(sets))
    assert {"prompt", "completion"} <= set(supervised.column_names)
    assert "prompt" in prompts.column_names
    # What TRL hands to reward functions by name of its own must not be taken by a column.
    assert not {"prompts", "completions", "completion_ids", "trainer_state"} & set(prompts.column_names)
    assert not is_conversational(supervised[0])
    assert not is_conversational(prompts[0])
