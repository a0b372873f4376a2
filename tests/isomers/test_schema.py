"""Sets and their files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from isograd.common.errors import UserError
from isograd.isomers import (
    Edge,
    Isomer,
    IsomerSet,
    Node,
    NodeType,
    Provenance,
    ReasoningGraph,
    Span,
    Step,
    create_isomers,
    iter_isomers,
    load_isomers,
    save_isomers,
    to_rows,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT


@st.composite
def members(draw: st.DrawFn, domain: str) -> Isomer:
    steps = draw(st.lists(st.builds(Step, text=TEXT, node=NAME, value=TEXT), max_size=3))
    answer = draw(NAME)
    length = sum(len(step.text) + 1 for step in steps) + len(f"Answer: {answer}")
    borders = st.tuples(st.integers(0, length), st.integers(0, length)).filter(lambda pair: pair[0] != pair[1])
    spans = [Span(node="n", start=min(pair), end=max(pair)) for pair in draw(st.lists(borders, max_size=3))]
    cue = draw(st.none() | NAME)
    return Isomer(domain=domain, problem=draw(TEXT), steps=tuple(steps), answer=answer, spans=tuple(spans), cue=cue)


@st.composite
def isomer_sets(draw: st.DrawFn) -> IsomerSet:
    nodes = st.builds(
        Node,
        id=NAME,
        type=st.sampled_from(NodeType),
        description=TEXT,
        op=st.none() | NAME,
        args=st.lists(NAME, max_size=2).map(tuple),
        value=VALUE,
    )
    edges = st.builds(Edge, source=NAME, target=NAME, role=TEXT)
    domains = draw(st.lists(NAME, min_size=1, max_size=3, unique=True))
    return IsomerSet(
        id=draw(NAME),
        family=draw(TEXT),
        graph=ReasoningGraph(
            nodes=tuple(draw(st.lists(nodes, max_size=3))), edges=tuple(draw(st.lists(edges, max_size=3)))
        ),
        structure=draw(TEXT),
        labels=tuple(draw(st.lists(TEXT, max_size=3))),
        members=tuple(draw(members(domain)) for domain in domains),
        noisy=draw(st.booleans()),
        provenance=Provenance(
            generator=draw(TEXT),
            version=draw(st.integers()),
            split=draw(TEXT),
            seed=draw(st.integers()),
            index=draw(st.integers()),
            options=draw(st.dictionaries(TEXT, VALUE, max_size=2)),
        ),
    )


@given(written=st.lists(isomer_sets(), max_size=3))
def test_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, written: list[IsomerSet]) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    assert save_isomers(written, path) == len(written)
    read = load_isomers(path)
    assert read == written
    # 1 == 1.0 == True, so equality alone would let a value change its type.
    for old, new in zip(written, read, strict=True):
        for before, after in zip(old.graph.nodes, new.graph.nodes, strict=True):
            assert type(before.value) is type(after.value)


def test_generated_sets_round_trip_and_files_are_one_set_a_line(tmp_path: Path, sets: list[IsomerSet]) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    save_isomers(sets, first)
    assert len(first.read_text().splitlines()) == len(sets)
    save_isomers(load_isomers(first), second)
    assert second.read_bytes() == first.read_bytes()
    assert list(iter_isomers(first)) == sets


def test_blank_lines_are_passed_over(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.jsonl"
    save_isomers(sets[:2], path)
    path.write_text("\n" + path.read_text().replace("\n", "\n  \n"))
    assert load_isomers(path) == sets[:2]


def test_a_failing_iterator_leaves_the_old_file(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.jsonl"
    save_isomers(sets[:2], path)

    def failing() -> Iterator[IsomerSet]:
        yield sets[2]
        raise RuntimeError("the source dried up")

    with pytest.raises(RuntimeError, match="the source dried up"):
        save_isomers(failing(), path)
    assert load_isomers(path) == sets[:2]
    assert list(tmp_path.iterdir()) == [path]


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        place: Any = record
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def _drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        place: Any = record
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def _twice(record: dict[str, Any]) -> None:
    record["members"][1]["domain"] = record["members"][0]["domain"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop("graph"), "graph: Field required"),
        (_drop("members", 1, "answer"), "members.1.answer: Field required"),
        (_drop("provenance", "seed"), "provenance.seed: Field required"),
        (_set("id", value=""), "id: String should have at least 1 character"),
        (_set("members", value=[]), "members: Tuple should have at least 1 item after validation, not 0"),
        (_set("graph", "nodes", 0, "type", value="THING"), "graph.nodes.0.type: Input should be 'ENTITY', 'RELATION'"),
        (_set("graph", "edges", 2, "weight", value=1), "graph.edges.2.weight: Extra inputs are not permitted"),
        (_set("graph", "edges", 2, "role", value=None), "graph.edges.2.role: Input should be a valid string"),
        (_set("noisy", value="perhaps"), "noisy: Input should be a valid boolean"),
        (_set("members", 0, "spans", 0, "start", value=-1), "members.0.spans.0.start: Input should be greater than"),
        (_set("members", 0, "spans", 0, "end", value=9999), "members.0: Value error, span of node 'q1' is ["),
        (_set("members", 0, "spans", 0, "start", value=999), "members.0: Value error, span of node 'q1' is [999, "),
        (_set("members", 0, "cue", value=3), "members.0.cue: Input should be a valid string"),
        (_twice, "line: Value error, set 'arithmetic-train-depth2-seed3-1' tells a domain twice: law, law"),
    ],
)
def test_a_malformed_line_is_named(
    tmp_path: Path, sets: list[IsomerSet], change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = tmp_path / "sets.jsonl"
    save_isomers(sets[:3], path)
    lines = path.read_text().splitlines()
    record = json.loads(lines[1])
    change(record)
    lines[1] = json.dumps(record)
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}:2: {message}')}"):
        load_isomers(path)
    # The line before the broken one is still read.
    assert next(iter_isomers(path)) == sets[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": "x"', "line: Invalid JSON: EOF"),
        (b"null", "line: Input should be an object"),
        (b"[1, 2]", "line: Input should be an object"),
        (b"\xff\xfe{}", "line: Invalid JSON"),
        (b"half a line", "line: Invalid JSON"),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "sets.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}:2: {message}')}"):
        load_isomers(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: no such file; make one with: isograd isomers make --output"):
        load_isomers(tmp_path / "none.jsonl")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_json_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Node(id="n", type=NodeType.ENTITY, value=value)


@pytest.mark.parametrize(("start", "end"), [(0, 12), (11, 12), (5, 5), (6, 5)])
def test_spans_must_lie_in_the_completion(start: int, end: int) -> None:
    with pytest.raises(ValidationError, match=rf"span of node 'goal' is \[{start}, {end}\) in a text of 11 characters"):
        Isomer(domain="law", problem="?", steps=(), answer="yes", spans=(Span(node="goal", start=start, end=end),))


def test_sets_are_frozen(sets: list[IsomerSet]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        sets[0].noisy = True  # type: ignore[misc]


def test_rows_carry_texts_and_aligned_spans(sets: list[IsomerSet]) -> None:
    rows = to_rows(sets)
    told = [(isomer_set, member) for isomer_set in sets for member in isomer_set.members]
    assert len(rows) == len(told) == 48
    for row, (isomer_set, member) in zip(rows, told, strict=True):
        assert row["prompt"] == member.problem + "\n"
        assert row["completion"].endswith(f"\nAnswer: {member.answer}")
        assert (row["domain"], row["set_id"]) == (member.domain, isomer_set.id)
        texts = [row["completion"][start:end] for start, end in row["spans"]]
        assert texts == [*(step.value for step in member.steps), member.answer]


def test_members_keep_the_order_of_the_domains() -> None:
    dataset = create_isomers(size=1, domains=["science", "law", "cooking"])
    assert dataset[0].domains == ("science", "law", "cooking")
    assert [row["domain"] for row in to_rows(dataset)] == ["science", "law", "cooking"]
