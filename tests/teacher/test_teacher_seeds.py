"""Seeds: gold answers of real rows, native formats, field maps, faults by line, evaluation splits refused."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.common.errors import UserError
from isograd.isomers.parsing import Fault
from isograd.isomers.teacher.replies import AnswerMap
from isograd.isomers.teacher.seed_formats import FORMS, boxed, field_map
from isograd.isomers.teacher.seeds import Seed, read_seeds, split_of

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

Row = dict[str, Any]


def written(path: Path, rows: list[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def seeds(path: Path | str, **options: Any) -> list[Seed]:
    found = [item for _, item in read_seeds(path, **options)]
    assert not [str(item) for item in found if isinstance(item, Fault)]
    return [item for item in found if isinstance(item, Seed)]


def faults(path: Path, **options: Any) -> dict[int, Fault]:
    return {line: item for line, item in read_seeds(path, **options) if isinstance(item, Fault)}


def number(text: str) -> str:
    found = re.search(r"####\s*(\S+)\s*$", text)
    assert found
    return found[1].replace(",", "")


GOLD: dict[str, Callable[[Row, Seed], bool]] = {
    "gsm8k": lambda row, seed: (
        seed.answer == number(row["answer"]) and AnswerMap.of("1").written(seed.answer)[-1] in "0123456789"
    ),
    "math500": lambda row, seed: seed.answer == row["answer"] == boxed(row["solution"]),
    "logiqa2": lambda row, seed: (
        seed.choices is not None
        and seed.answer == "ABCD"[row["answer"]]
        and seed.choices["ABCD".index(seed.answer)] == row["options"][row["answer"]]
    ),
    "folio": lambda row, seed: (
        seed.answer == row["label"] and all(one.strip() in seed.problem for one in row["premises"])
    ),
    "prontoqa": lambda row, seed: f"{row['answer']}) {seed.answer}" in row["options"],
    "proofwriter": lambda row, seed: f"{row['answer']}) {seed.answer}" in row["options"],
    "medqa": lambda row, seed: (
        seed.choices is not None
        and seed.choices["ABCD".index(seed.answer)] == row["answer"]
        and seed.problem == row["question"].strip()
    ),
    "legalbench": lambda row, seed: (
        seed.answer == row["answer"].strip() and row["task"].replace("_", " ") in seed.problem
    ),
}


@pytest.mark.parametrize("form", GOLD)
def test_the_gold_answer_of_every_real_row(form: str) -> None:
    path = DATA / form / "sample.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    if form == "math500":
        with pytest.warns(UserWarning, match="evaluation"):
            found = seeds(path, force_test=True)
    else:
        found = seeds(path, split="train")
    assert len(found) == len(rows) >= 100
    assert len({seed.id for seed in found}) == len(rows)
    for row, seed in zip(rows, found, strict=True):
        assert GOLD[form](row, seed), row
        assert seed.source == form
        assert not seed.choices or seed.text.endswith(seed.choices[-1])
        assert "<<" not in (seed.rationale or "") or form != "gsm8k"


GSM8K = {"question": "Ann has 3 hens. She buys 4. How many?", "answer": "3+4=<<3+4=7>>7 hens\n#### 1,007"}
SMALL: dict[str, tuple[Row, tuple[str, tuple[str, ...] | None, str]]] = {
    "gsm8k": (GSM8K, ("1007", None, "3+4=7 hens")),
    "math": (
        {"problem": "Half?", "level": "Level ?", "type": "x", "solution": r"It is $\boxed{\frac{1}{2}}$."},
        (r"\frac{1}{2}", None, ""),
    ),
    "reclor": (
        {"context": "All nap.", "question": "So?", "answers": ["p", "q", "r", "s"], "label": 2, "id_string": "train_7"},
        ("C", ("p", "q", "r", "s"), ""),
    ),
    "arb": (
        {"_id": "9", "Problem Statement": "Which?", "Answer Candidates": ["x", "y"], "Final Answer": "B"},
        ("B", ("x", "y"), ""),
    ),
    "folio": ({"premises": "A is B.\nB is C.", "conclusion": "A is C.", "label": "Uncertain"}, ("Unknown", None, "")),
}


@pytest.mark.parametrize("form", SMALL)
def test_formats_that_are_not_at_hand(form: str, tmp_path: Path) -> None:
    row, (answer, choices, told) = SMALL[form]
    path = written(tmp_path / "train.jsonl", [row])
    if form == "arb":
        with pytest.warns(UserWarning, match="arb is published for evaluation only"):
            (seed,) = seeds(path, force_test=True)
    else:
        (seed,) = seeds(path)
    assert (seed.answer, seed.choices) == (answer, choices)
    assert told in (seed.rationale or "")
    assert seed.split == ("test" if form == "arb" else "train")


def test_arrays_single_objects_and_tables(tmp_path: Path) -> None:
    array = tmp_path / "train.json"
    array.write_text(json.dumps([GSM8K, {**GSM8K, "question": "Other?"}]))
    assert len(seeds(array)) == 2
    one = tmp_path / "train" / "5.json"
    one.parent.mkdir()
    one.write_text(json.dumps(SMALL["math"][0]))
    assert seeds(one)[0].answer == r"\frac{1}{2}"
    table = tmp_path / "abercrombie" / "train.tsv"
    table.parent.mkdir()
    table.write_text('index\tanswer\ttext\n0\tgeneric\t"Salt, for\ttable salt"\n1\tfanciful\n')
    found = list(read_seeds(table))
    assert isinstance(found[0][1], Seed)
    assert (found[0][1].id, found[0][1].domain_hint) == ("legalbench/abercrombie/0", "law")
    assert isinstance(found[1][1], Fault)


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so \boxed{1} and \boxed{\frac{2}{\sqrt{3}}}.", r"\frac{2}{\sqrt{3}}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"$\boxed 7$.", "7"),
        (r"\fbox{x}", "x"),
        (r"\boxed{ \text{a } }", r"\text{a }"),
    ],
)
def test_boxed(solution: str, answer: str) -> None:
    assert boxed(solution) == answer


@pytest.mark.parametrize("solution", ["no box", r"\boxed{1", r"\boxedly{1}"])
def test_boxed_refuses(solution: str) -> None:
    with pytest.raises(ValueError, match="boxed"):
        boxed(solution)


@given(st.text())
def test_boxed_never_fails_otherwise(text: str) -> None:
    for tried in (text, "\\boxed{" + text):
        with contextlib.suppress(ValueError):
            assert len(boxed(tried)) <= len(text)


def test_plain_rows_by_a_field_map(tmp_path: Path) -> None:
    rows: list[object] = [
        {"q": "How many?", "gold": 7, "n": "a"},
        {"q": "Which?", "gold": "7.5", "n": "b"},
        {"q": "Which?", "gold": True, "n": "c"},
        {"q": "Who?", "n": "d"},
    ]
    path = written(tmp_path / "train.jsonl", rows)
    fields = field_map("problem=q, answer=gold,id=n")
    found = dict(read_seeds(path, fields=fields))
    assert [getattr(found[line], "answer", None) for line in (1, 2)] == ["7", "7.5"]
    assert getattr(found[1], "id", None) == "plain/a"
    assert {line: getattr(found[line], "field", None) for line in (3, 4)} == {3: "answer", 4: "gold"}


@pytest.mark.parametrize(
    ("choices", "answer"),
    [
        (["x", "y", "z"], "B"),
        (["x", "y", "z"], 1),
        (["x", "y", "z"], "y"),
        ({"A": "x", "B": "y", "C": "z"}, "B"),
        ({"text": ["x", "y", "z"], "label": ["A", "B", "C"]}, "B"),
    ],
)
def test_choices_of_plain_rows(choices: object, answer: object, tmp_path: Path) -> None:
    path = written(tmp_path / "train.jsonl", [{"q": "Which?", "c": choices, "a": answer}])
    (seed,) = seeds(path, fields=field_map("problem=q,answer=a,choices=c"))
    assert (seed.answer, seed.choices) == ("B", ("x", "y", "z"))
    assert seed.text == "Which?\nA) x\nB) y\nC) z"


@pytest.mark.parametrize(
    "text", ["", "problem=q", "problem,answer=a", "problem=q,answer=a,answer=b", "problem=q,gold=a"]
)
def test_field_maps_that_cannot_be(text: str) -> None:
    with pytest.raises(UserError, match="problem=question,answer=gold"):
        field_map(text)


def test_faults_name_their_line_and_the_rest_is_read(tmp_path: Path) -> None:
    rows: list[object] = [
        GSM8K,
        "{broken",
        {"question": "no mark", "answer": "7"},
        "[1, 2]",
        {"question": "x"},
        {"question": 5, "answer": "#### 5"},
        {"question": " ", "answer": "#### 5"},
        {"question": "half \ud800", "answer": "#### 5"},
        {"question": "x" * 30_000, "answer": "#### 5"},
        GSM8K,
        {"question": "nothing", "answer": "#### "},
        "[" * 100_000,
        {"question": "last", "answer": "#### 5"},
    ]
    path = written(tmp_path / "train.jsonl", rows)
    with path.open("ab") as file:
        file.write(b'\n{"question": "\xff", "answer": "#### 1"}\n')
    found = faults(path, form="gsm8k")
    assert sorted(found) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15]
    assert all(fault.line == line and fault.mend and "\n" not in str(fault) for line, fault in found.items())
    assert "'####'" in found[3].reason
    assert found[5].field == "answer"
    assert "line 1" in found[10].reason
    assert [line for line, item in read_seeds(path) if isinstance(item, Seed)] == [1, 13]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYS = ("question", "answer", "problem", "solution", "text", "options", "answers", "label", "context", "conclusion")


@given(ANYTHING, st.sampled_from(sorted(FORMS)))
def test_no_row_ends_the_reading(tmp_path_factory: pytest.TempPathFactory, value: object, form: str) -> None:
    # As JSON: a text as it stands may be a blank line, or two lines.
    rows: list[object] = [json.dumps(value), dict.fromkeys((*KEYS, "premises", "task", "index"), value)]
    path = written(tmp_path_factory.mktemp("rows") / "x.jsonl", rows)
    if form in ("math500", "arb"):
        return
    assert len(list(read_seeds(path, form=form, split="train"))) == 2


@pytest.mark.parametrize("name", ["test", "gsm8k_test", "folio-validation", "dev", "DEV-2", "train_test", "eval.part1"])
def test_evaluation_files_are_refused_unless_forced(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"{name}.jsonl", [GSM8K])
    for options in ({}, {"split": "train"}):
        with pytest.raises(UserError, match=r"refused as seeds.*leak.*--force-test"):
            read_seeds(path, **options)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="leak them into training"):
        (seed,) = seeds(path, force_test=True)
    assert split_of(seed.split) == seed.split != "train"


def test_a_file_of_which_nobody_knows_the_split_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "test_of_mine" / "latest.jsonl", [GSM8K])
    with pytest.raises(UserError, match=r"nothing tells which split it is.*--split train"):
        read_seeds(path)
    assert seeds(path, split="train")[0].split == "train"
    with pytest.raises(UserError, match="'test' split"):
        read_seeds(path, split="test")
    with pytest.raises(UserError, match="no training split's name"):
        read_seeds(path, split="pool")
    with pytest.raises(UserError, match="'test' split"):
        read_seeds(written(tmp_path / "test" / "0001.jsonl", [GSM8K]))


def test_rows_that_say_that_they_are_test_rows(tmp_path: Path) -> None:
    row = {"problem": "Half?", "answer": "2", "solution": "x", "unique_id": "test/algebra/1.json"}
    path = written(tmp_path / "train.jsonl", [row])
    with pytest.raises(UserError, match="math500 is published for evaluation only"):
        read_seeds(path)
    assert faults(path, form="math")[1].field == "unique_id"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for name, match in {"none/at all": "no such file", "absent.jsonl": "no such file"}.items():
        with pytest.raises(UserError, match=match):
            read_seeds(name, split="train")
    with pytest.raises(UserError, match="unknown file type"):
        read_seeds(written(tmp_path / "train.xml", ["<x/>"]))
    with pytest.raises(UserError, match="has no rows"):
        read_seeds(written(tmp_path / "train.jsonl", []))
    with pytest.raises(UserError, match="no row can be read"):
        read_seeds(written(tmp_path / "train.jsonl", ["{"]))
    with pytest.raises(UserError, match="no known seed format"):
        read_seeds(written(tmp_path / "train.jsonl", [{"a": 1}]))
    with pytest.raises(UserError, match="unknown seed format 'gsm'"):
        read_seeds(tmp_path / "train.jsonl", form="gsm")
    with pytest.raises(UserError, match="'test' split"):  # before anything is downloaded
        read_seeds("openai/gsm8k", split="test")


def test_a_local_folder_stands_in_for_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "gsm8k"
    written(folder / "train.jsonl", [GSM8K, {"question": "Bad", "answer": "7"}])
    written(folder / "test.jsonl", [GSM8K])
    found = list(read_seeds(folder))
    assert isinstance(found[0][1], Seed)
    assert isinstance(found[1][1], Fault)
    with pytest.raises(UserError, match="'test' split"):
        read_seeds(folder, split="test")
    with pytest.warns(UserWarning, match="leak"):
        assert seeds(folder, split="test", force_test=True)[0].split == "test"
    nameless = written(tmp_path / "nameless" / "data.jsonl", [GSM8K]).parent
    with pytest.raises(UserError, match="nothing tells"):
        read_seeds(nameless)
    assert seeds(nameless, split="train")[0].answer == "1007"
