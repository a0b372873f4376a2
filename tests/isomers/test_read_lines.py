"""Reading what anybody may have written: every fault is named, none is raised."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isomer_strategies import isomer_sets

from isograd.common.errors import UserError
from isograd.isomers import Edge, Fault, IsomerSet, Node, NodeType, create_isomers, read_lines, save_isomers
from isograd.isomers.arrow import SETS_SCHEMA, to_record, write_parquet
from isograd.isomers.parsing import FaultError, parse
from isograd.isomers.reading import MAX_LINE

Change = Callable[[dict[str, Any]], None]


def faults(path: Path) -> list[Fault]:
    found = []
    for number, item in read_lines(path):
        if isinstance(item, Fault):
            assert item.line == number
            for text in (item.field, item.reason, item.mend):
                assert text
                assert text.isprintable()
                assert len(text) < 2000
            found.append(item)
    return found


def lines_of(sets: list[IsomerSet]) -> list[bytes]:
    return [isomer_set.model_dump_json(exclude_defaults=True).encode() for isomer_set in sets]


def put(*path: str | int, value: Any) -> Change:
    def change(record: dict[str, Any]) -> None:
        place: Any = record
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


def drop(*path: str | int) -> Change:
    def change(record: dict[str, Any]) -> None:
        place: Any = record
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def shift(part: int, start: int, end: int) -> Change:
    def change(record: dict[str, Any]) -> None:
        span = record["members"][0]["spans"][part]
        span["start"] += start
        span["end"] += end

    return change


def twice(record: dict[str, Any]) -> None:
    record["members"][1]["domain"] = record["members"][0]["domain"]


def cycle(record: dict[str, Any]) -> None:
    edge = record["graph"]["edges"][-2]
    record["graph"]["edges"].append({"source": edge["target"], "target": edge["source"], "role": "back"})


def own_graph(record: dict[str, Any]) -> None:
    graph = json.loads(json.dumps(record["graph"]))
    graph["edges"][0]["source"] = "nowhere"
    record["members"][1]["graph"] = graph


MALFORMED: list[tuple[Change, str, str]] = [
    (drop("graph"), "graph", "Field required; add it"),
    (drop("members", 1, "answer"), "members.1.answer", "Field required"),
    (drop("provenance", "seed"), "provenance.seed", "Field required"),
    (put("id", value=""), "id", "String should have at least 1 character"),
    (put("id", value=3), "id", "Input should be a valid string"),
    (put("members", value=[]), "members", "Tuple should have at least 1 item after validation, not 0"),
    (put("members", value={}), "members", "Input should be a valid array"),
    (put("graph", "nodes", 0, "type", value="THING"), "graph.nodes.0.type", "Input should be 'ENTITY', 'RELATION'"),
    (put("graph", "nodes", 0, "value", value=[1]), "graph.nodes.0.value", "Input should be a finite number, a text, "),
    (put("graph", "edges", 2, "weight", value=1), "graph.edges.2.weight", "Extra inputs are not permitted; remove it"),
    (put("graph", "edges", 2, "role", value=None), "graph.edges.2.role", "Input should be a valid string"),
    (put("noisy", value="true"), "noisy", "Input should be a valid boolean"),
    (put("provenance", "version", value="1"), "provenance.version", "Input should be a valid integer"),
    (put("members", 0, "spans", 1, "start", value=-1), "members.0.spans.1.start", "Input should be greater than"),
    (put("members", 0, "spans", 2, "end", value="9"), "members.0.spans.2.end", "Input should be a valid integer"),
    (put("members", 0, "spans", 2, "end", value=9999), "members.0.spans.2", "span of node 'goal' is ["),
    (put("members", 0, "spans", 0, "start", value=999), "members.0.spans.0", "span of node 'q1' is [999, "),
    (shift(0, 1, 1), "members.0.spans.0", "[{0}, {1}) covers "),
    (shift(0, -1, -1), "members.0.spans.0", "[{0}, {1}) covers "),
    (shift(0, -1, 0), "members.0.spans.0", "[{0}, {1}) covers "),
    (shift(1, 0, 1), "members.0.spans.1", "[{0}, {1}) covers "),
    (shift(2, 1, 0), "members.0.spans.2", "[{0}, {1}) covers "),
    (put("members", 0, "spans", 0, "node", value="a1"), "members.0.spans.0.node", "names node 'a1', which is neither"),
    (put("members", 0, "cue", value=3), "members.0.cue", "Input should be a valid string"),
    (put("id\x1b[2J", value=1), "id\\x1b[2J", "Extra inputs are not permitted"),
    (twice, "members", "set 'arithmetic-train-"),
    (cycle, "graph", "the graph has a cycle: "),
    (own_graph, "members.1.graph", "edge 'nowhere' -> 'q1' names an unknown node; correct the graph"),
    (put("graph", "nodes", 0, "type", value="GOAL"), "graph", "2 GOAL nodes, there must be exactly one"),
    (put("graph", "edges", 0, "target", value="nowhere"), "graph", "edge 'q0' -> 'nowhere' names an unknown node"),
]


@pytest.mark.parametrize(("change", "field", "message"), MALFORMED)
def test_a_malformed_set_is_named_and_the_others_are_read(
    tmp_path: Path, sets: list[IsomerSet], change: Change, field: str, message: str
) -> None:
    records = [json.loads(line) for line in lines_of(sets[:3])]
    change(records[1])
    path = tmp_path / "sets.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    if "{0}" in message:
        span = records[1]["members"][0]["spans"][int(field[-1])]
        message = message.format(span["start"], span["end"])
    items = dict(read_lines(path))
    fault = items.pop(2)
    assert isinstance(fault, Fault)
    assert fault.field == field
    assert f"{fault.reason}; {fault.mend}".startswith(message)
    assert items == {1: sets[0], 3: sets[2]}


def graph_text(change: Change) -> Change:
    """The same change where the graph is a column of JSON text."""

    def apply(record: dict[str, Any]) -> None:
        graph = {"graph": json.loads(record["graph"])}
        change(graph)
        record["graph"] = json.dumps(graph["graph"])

    return apply


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (put("family", value=None), "family", "Input should be a valid string"),
        (put("graph", value=None), "graph", "Input should be an object"),
        (put("graph", value="{"), "graph", "not valid JSON: EOF while parsing an object at line 1 column 1; this "),
        (put("provenance", value="[1]"), "provenance", "Input should be an object"),
        (put("members", 1, "graph", value="{}"), "members.1.graph.nodes", "Field required"),
        (put("members", 1, "graph", value="x"), "members.1.graph", "not valid JSON: expected value"),
        (put("members", 1, value=None), "members.1", "Input should be an object"),
        (put("members", value=[]), "members", "Tuple should have at least 1 item"),
        (graph_text(cycle), "graph", "the graph has a cycle: "),
        (graph_text(put("graph", "nodes", 0, "value", value=[1])), "graph.nodes.0.value", "Input should be a finite"),
        (graph_text(put("graph", "nodes", 0, "value", value=float("nan"))), "graph.nodes.0.value", "Input should be a"),
        (put("provenance", value='{"options": {"rate": NaN}}'), "provenance.generator", "Field required"),
        (shift(0, 1, 1), "members.0.spans.0", "["),
        (twice, "members", "set 'arithmetic-train-"),
    ],
)
def test_a_malformed_row_is_named_and_the_others_are_read(
    tmp_path: Path, sets: list[IsomerSet], change: Change, field: str, message: str
) -> None:
    records = [to_record(isomer_set) for isomer_set in sets[:3]]
    change(records[1])
    path = tmp_path / "sets.parquet"
    write_parquet(records, path, SETS_SCHEMA)
    items = dict(read_lines(path))
    fault = items.pop(2)
    assert isinstance(fault, Fault)
    assert fault.field == field
    assert f"{fault.reason}; {fault.mend}".startswith(message)
    assert items == {1: sets[0], 3: sets[2]}


def test_columns_that_are_missing_or_too_many_are_told_for_each_row(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.parquet"
    records = [to_record(isomer_set) for isomer_set in sets[:2]]
    pq.write_table(pa.Table.from_pylist([{**record, "note": "x"} for record in records]), path)
    assert faults(path) == [
        Fault(row, "note", "Extra inputs are not permitted", "remove it, or correct its name") for row in (1, 2)
    ]
    pq.write_table(pa.Table.from_pylist(records).drop_columns("labels"), path)
    assert [fault.field for fault in faults(path)] == ["labels", "labels"]


def test_a_span_that_is_off_is_mended_as_told(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.jsonl"
    record = json.loads(lines_of(sets)[0])
    right = [(span["start"], span["end"]) for span in record["members"][0]["spans"]]
    for part, (start, end) in enumerate(right):
        span = record["members"][0]["spans"][part]
        for before, after in ((start - 1, end - 1), (start - 1, end), (start - 3, end - 3)):
            span["start"], span["end"] = before, after
            path.write_text(json.dumps(record))
            (fault,) = faults(path)
            assert fault.mend == f"set it to [{start}, {end})"
        span["start"], span["end"] = start, end
    record["members"][0]["steps"][0]["value"] = "one hundred"
    path.write_text(json.dumps(record))
    assert faults(path)[0].mend == "the step's text does not hold its value; correct one of them"


def test_a_span_must_lie_in_the_step_of_its_node(tmp_path: Path, sets: list[IsomerSet]) -> None:
    record = json.loads(lines_of(sets)[0])
    member = record["members"][0]
    for step in member["steps"]:
        step["text"], step["value"] = "0 = 0", "0"
    member["answer"] = "0"
    member["spans"] = [{"node": node, "start": 4, "end": 5} for node in ("q1", "q2", "goal")]
    path = tmp_path / "sets.jsonl"
    path.write_text(json.dumps(record))
    (fault,) = faults(path)
    assert (fault.field, fault.mend) == ("members.0.spans.1", "set it to [10, 11)")
    member["spans"][1] |= {"start": 10, "end": 11}
    path.write_text(json.dumps(record))
    (fault,) = faults(path)
    assert (fault.field, fault.mend) == ("members.0.spans.2", "set it to [20, 21)")
    member["spans"] = [{"node": "q1", "start": 10, "end": 11}]
    path.write_text(json.dumps(record))
    (fault,) = faults(path)
    assert (fault.field, fault.mend) == ("members.0.spans.0", "set it to [4, 5)")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_id_is_used_once(tmp_path: Path, sets: list[IsomerSet], suffix: str) -> None:
    path = tmp_path / f"sets{suffix}"
    save_isomers([sets[0], sets[1], sets[0], sets[0]], path)
    reason = f"{sets[0].id!r} is also the id of line 1"
    assert faults(path) == [Fault(line, "id", reason, "give each set its own") for line in (3, 4)]


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        (b'{"id": "x"', "line", "not valid JSON at column 10: EOF while parsing an object; write one JSON object"),
        ('{"é": "ü" "x"}'.encode(), "line", "not valid JSON at column 11: expected `,` or `}`"),
        (b"null", "line", "Input should be an object"),
        (b"[1, 2]", "line", "Input should be an object"),
        (b"half a line", "line", "not valid JSON at column 1: expected value"),
        (b'{"id": "caf\xe9"}', "line", "not UTF-8: byte 0xe9 at byte 12 of the line; save it as UTF-8: iconv -f WIN"),
        (b"\xff\xfe{}", "line", "not UTF-8: byte 0xff at byte 1 of the line"),
        (b'{"id": "\xed\xa0\x80"}', "line", "not UTF-8: byte 0xed at byte 9 of the line"),
        (b'{"id": "\\ud800"}', "line", "not valid JSON at column "),
        (b'{"id": "a\x00b"}', "line", "not valid JSON at column 10: control character"),
        (b"\x00" * 100, "line", "not valid JSON at column 1: expected value"),
        (b"[" * 10_000, "line", "not valid JSON at column "),
        (b'{"a":' * 10_000, "line", "not valid JSON at column "),
        (b'{"id": ' + b"9" * 10_000 + b"}", "line", "not valid JSON at column "),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: bytes, field: str, message: str) -> None:
    path = tmp_path / "sets.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    (fault,) = faults(path)
    assert (fault.line, fault.field) == (2, field)
    assert f"{fault.reason}; {fault.mend}".startswith(message)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ["value", "option"])
def test_numbers_that_are_not_finite_are_refused(
    tmp_path: Path, sets: list[IsomerSet], number: str, place: str
) -> None:
    record = json.loads(lines_of(sets)[0])
    if place == "value":
        record["graph"]["nodes"][0]["value"] = "HERE"
    else:
        record["provenance"]["options"]["rates"] = {"deep": [1, "HERE"]}
    path = tmp_path / "sets.jsonl"
    path.write_text(json.dumps(record).replace('"HERE"', number))
    (fault,) = faults(path)
    assert fault.field == ("graph.nodes.0.value" if place == "value" else "provenance.options")
    assert "finite number" in fault.reason


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_of_a_whole_file_are_told_once(tmp_path: Path, sets: list[IsomerSet], encoding: str) -> None:
    path = tmp_path / "sets.jsonl"
    path.write_text("\n".join(line.decode() for line in lines_of(sets)), encoding=encoding)
    (fault,) = faults(path)
    named = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    assert fault == Fault(1, "file", f"is {named}, not UTF-8", f"save it as UTF-8: iconv -f {named} -t UTF-8 OLD > NEW")


def test_a_byte_order_mark_is_told_and_the_rest_is_read(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines_of(sets)))
    assert faults(path) == [
        Fault(1, "line", "begins with a byte order mark", "remove the first three bytes: tail -c +4 OLD > NEW")
    ]
    assert [item for _, item in read_lines(path)][1:] == sets[1:]


@pytest.mark.parametrize("content", [b"", b"\n", b"\n  \r\n\n"])
def test_a_file_without_sets_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sets.jsonl"
    path.write_bytes(content)
    (fault,) = faults(path)
    assert str(fault) == "1: file: has no sets; make some with: isograd isomers make --output sets.jsonl"
    parquet = tmp_path / "sets.parquet"
    save_isomers([], parquet)
    assert faults(parquet)[0].reason == "has no sets"


def test_a_line_that_is_too_long_is_never_held(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.jsonl"
    first, second = lines_of(sets[:2])
    length = 4 * MAX_LINE
    with path.open("wb") as file:
        file.write(first + b"\n")
        for _ in range(4):
            file.write(b"x" * MAX_LINE)
        file.write(b"\n" + second)
    tracemalloc.start()
    items = list(read_lines(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.5 * MAX_LINE
    assert [number for number, _ in items] == [1, 2, 3]
    assert (items[0][1], items[2][1]) == (sets[0], sets[1])
    fault = items[1][1]
    assert isinstance(fault, Fault)
    assert fault.reason == f"is {length + 1} bytes long, more than {MAX_LINE}"


def test_the_longest_line_is_read(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.jsonl"
    line = lines_of(sets)[0]
    room = MAX_LINE - len(line)
    for extra, count in ((0, 0), (1, 1)):
        path.write_bytes(line[:-1] + b" " * (room + extra) + b"}\n" + lines_of(sets)[1])
        assert len(faults(path)) == count
        assert len(list(read_lines(path))) == 2


def test_a_parquet_row_that_is_too_long_is_told(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.parquet"
    member = sets[0].members[0].model_copy(update={"problem": "x" * MAX_LINE})
    save_isomers([sets[0].model_copy(update={"members": (member,)}), sets[1]], path)
    (fault,) = faults(path)
    assert (fault.line, fault.field) == (1, "row")
    assert re.fullmatch(rf"is \d+ bytes long as JSON, more than {MAX_LINE}", fault.reason)


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path, whole = tmp_path / "cut.parquet", tmp_path / "sets.parquet"
    save_isomers(sets, whole)
    for content in (b"", b"PAR1", b"hello\n" * 100, whole.read_bytes()[:-100], whole.read_bytes()[100:]):
        path.write_bytes(content)
        (fault,) = faults(path)
        assert (fault.line, fault.field) == (1, "file")
        assert fault.reason.startswith("cannot be read as Parquet from row 1 on: ")


def test_parquet_rows_that_are_not_text_are_told(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.parquet"
    record = to_record(sets[0])
    broken = pa.array([b"caf\xe9"]).view(pa.string())
    table = pa.Table.from_pylist([record]).set_column(0, "id", broken)
    pq.write_table(table, path)
    (fault,) = faults(path)
    assert (fault.field, fault.mend) == ("row", "write the row again")
    dates = pa.array([2**58], pa.timestamp("ms"))
    pq.write_table(pa.Table.from_pylist([record]).set_column(0, "id", dates), path)
    assert faults(path)[0].field == "row"
    for texts, field in (({"graph": "{"}, "graph"), ({"provenance": "NaN"}, "provenance"), ({"graph": None}, "graph")):
        pq.write_table(pa.Table.from_pylist([record | texts]), path)
        assert faults(path)[0].field == field
    record["members"][1]["graph"] = "[" * 10_000
    pq.write_table(pa.Table.from_pylist([record]), path)
    assert faults(path)[0].field == "members.1.graph"


def test_only_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        next(read_lines(tmp_path / "none.parquet"))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(UserError, match="no such file"):
        next(read_lines(tmp_path / "folder.jsonl"))


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sets.jsonl"
    path.write_text("{}")

    def forbidden(*arguments: Any, **named: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(UserError, match=r"sets\.jsonl: cannot be read: Permission denied"):
        next(read_lines(path))


@given(content=st.binary(max_size=200) | st.lists(st.binary(max_size=20), max_size=5).map(b"\n".join))
def test_arbitrary_bytes_never_raise(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for suffix in (".jsonl", ".parquet"):
        path = tmp_path_factory.getbasetemp() / f"arbitrary{suffix}"
        path.write_bytes(content)
        assert faults(path)


LINES = lines_of([*create_isomers(seed=1, size=3, cue="member", noise=0.5)])
TOKENS = [b"NaN", b"1e999", b"null", b"[]", b"{}", b'"\\u0000"', b"\x00", b"\xff", b"[" * 300, b"9" * 5000, b"-1", b'"']


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_lines_never_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    line = data.draw(st.sampled_from(LINES))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(line)))
        end = start + data.draw(st.integers(0, 12))
        piece = data.draw(st.sampled_from(TOKENS) | st.binary(max_size=3) | st.just(line[start : start + 40]))
        line = line[:start] + piece + line[end:]
    path = tmp_path_factory.getbasetemp() / "mutated.jsonl"
    path.write_bytes(LINES[0] + b"\n" + line)
    items = list(read_lines(path))
    assert isinstance(items[0][1], IsomerSet)
    faults(path)


# Values of other types in every place of a set, which cutting up its text seldom makes.
OTHER = st.sampled_from(
    [None, True, -1, 0, 1, 2**80, 1.5, "", "x", "\x00", "\x1b[2J", [], {}, [[]], {"a": 1}, "GOAL", "goal"]
)


@settings(max_examples=300)
@given(data=st.data())
def test_changed_values_never_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    record = json.loads(data.draw(st.sampled_from(LINES)))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = record
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and data.draw(st.integers(0, 9)):
                place = place[key]
                continue
            if data.draw(st.integers(0, 3)):
                place[key] = data.draw(OTHER)
            else:
                del place[key]
            break
    path = tmp_path_factory.getbasetemp() / "changed.jsonl"
    path.write_text(json.dumps(record))
    faults(path)


def test_no_changed_byte_in_the_data_of_a_parquet_file_goes_unseen(tmp_path: Path, sets: list[IsomerSet]) -> None:
    path = tmp_path / "sets.parquet"
    save_isomers(sets, path)
    content, column = path.read_bytes(), pq.ParquetFile(path).metadata.row_group(0).column(0)
    # The last bytes of the column's pages: after their headers, which no checksum covers.
    end = column.dictionary_page_offset + column.total_compressed_size
    for place in range(end - 4, end):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert faults(path)[-1].field == "file"


@given(data=st.data())
def test_mutated_parquet_never_raises(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.parquet"
    save_isomers(create_isomers(seed=1, size=3), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    faults(path)


@given(loose=isomer_sets(sound=False))
def test_what_the_schema_takes_is_a_set_or_a_fault(tmp_path_factory: pytest.TempPathFactory, loose: IsomerSet) -> None:
    path = tmp_path_factory.getbasetemp() / "loose.jsonl"
    save_isomers([loose], path)
    (item,) = (item for _, item in read_lines(path))
    assert item == loose or isinstance(item, Fault)


def test_a_large_graph_is_judged_in_time(tmp_path: Path, sets: list[IsomerSet]) -> None:
    names = [f"n{index}" for index in range(5000)]
    nodes = [Node(id=name, type=NodeType.PROPOSITION, op="f") for name in names]
    edges = [Edge(source=one, target=two, role="r") for one, two in zip(names, names[1:] + names[:1], strict=True)]
    graph = sets[0].graph
    grown = graph.model_copy(update={"nodes": (*nodes, *graph.nodes), "edges": (*edges, *graph.edges)})
    path = tmp_path / "sets.jsonl"
    save_isomers([sets[0].model_copy(update={"graph": grown})], path)
    (fault,) = faults(path)
    assert fault.reason.startswith("the graph has a cycle: n0 -> n1 -> ")
    assert fault.reason.endswith("...")


def test_errors_say_field_reason_and_mend() -> None:
    with pytest.raises(FaultError) as caught:
        parse(b"{}")
    assert str(caught.value) == "id: Field required; add it"
    assert caught.value.at(7) == Fault(7, "id", "Field required", "add it")
