"""Reading files of isomer sets that anybody may have made: every fault is named, none of them ends the reading.

A file is never held in memory: what is kept of a set once it has been handed on is a hash of its id.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from isograd.common.errors import UserError
from isograd.isomers.graph import problems
from isograd.isomers.schema import ANSWER_PREFIX, Isomer, IsomerSet, ReasoningGraph, Span

__all__ = ["JSON_LINES", "MAX_LINE", "PARQUET", "Fault", "FaultError", "parse", "raw_lines", "read_lines", "suffix_of"]

MAX_LINE: Final = 16 * 2**20
"""Longest line (and longest row, as JSON) that is read, in bytes."""
JSON_LINES: Final = ".jsonl"
PARQUET: Final = ".parquet"
READ_ROWS: Final = 100
"""Rows of a Parquet file that are held in memory."""

_LONGEST_TEXT: Final = 300


@dataclass(frozen=True)
class Fault:
    """Why a line (or a row) is not an isomer set. All texts are one printable line.

    Attributes:
        line: number of the line or row, from 1.
        field: dotted path of the field at fault, ``members.0.spans.2``; ``line`` or ``row`` for the whole of it,
            ``file`` where the fault is the file's.
        reason: what is wrong.
        mend: what to do about it.
    """

    line: int
    field: str
    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{self.line}: {self.field}: {self.reason}; {self.mend}"


class FaultError(ValueError):
    """What a fault is before its line is known."""

    def __init__(self, field: str, reason: str, mend: str) -> None:
        self.field, self.reason, self.mend = (_one_line(text) for text in (field, reason, mend))
        super().__init__(f"{self.field}: {self.reason}; {self.mend}")

    def at(self, line: int) -> Fault:
        """The fault on a line."""
        return Fault(line, self.field, self.reason, self.mend)


def _one_line(text: str) -> str:
    """Printable characters alone: files come from anywhere, and messages go to terminals."""
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def suffix_of(path: str | os.PathLike[str]) -> str:
    """:data:`JSON_LINES` or :data:`PARQUET`.

    Raises:
        UserError: the path ends in neither.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (JSON_LINES, PARQUET):
        raise UserError(f"{path}: unknown file type; name it *{JSON_LINES} (JSON lines) or *{PARQUET} (Parquet)")
    return suffix


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, IsomerSet | Fault]]:
    """Read a file of isomer sets line by line (or row by row), whatever it holds.

    Beyond the schema, each set's graphs must be reasoning graphs (:func:`isograd.isomers.graph.problems`), its spans
    must cover what their nodes state, and its id must be new. Of each line, the first fault is told.

    Args:
        path: ``*.jsonl`` or ``*.parquet``.

    Yields:
        Number of the line or row, from 1 (blank lines are passed over), and the set, or why it is none.

    Raises:
        UserError: no such file, one that may not be read, or an unknown suffix. Never for what the file holds.
    """
    source = Path(path)
    suffix = suffix_of(source)
    if not source.is_file():
        raise UserError(f"{source}: no such file; make one with: isograd isomers make --output {source}")
    first_lines: dict[bytes, int] = {}
    found = False
    try:
        for line, data in _rows(source) if suffix == PARQUET else raw_lines(source):
            found = True
            try:
                if isinstance(data, FaultError):
                    raise data
                isomer_set = parse(data)
                _check(isomer_set)
                # 50,000 hashes are a few megabytes, whatever the ids are.
                key = hashlib.blake2b(isomer_set.id.encode(), digest_size=16).digest()
                if (first := first_lines.setdefault(key, line)) != line:
                    raise FaultError("id", f"{isomer_set.id!r} is also the id of line {first}", "give each set its own")
            except FaultError as error:
                yield line, error.at(line)
            else:
                yield line, isomer_set
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror or error}") from None
    if not found:
        yield 1, Fault(1, "file", "has no sets", f"make some with: isograd isomers make --output {source.name}")


def raw_lines(source: Path) -> Iterator[tuple[int, bytes | FaultError]]:
    """Numbers and contents of the lines of a JSON-lines file that are not blank, or what is wrong with them.

    Raises:
        OSError: the file cannot be read.
    """
    with source.open("rb") as file:
        encoding = _foreign_encoding(file.read(4))
        if encoding is not None:
            yield 1, _recode("file", f"is {encoding}, not UTF-8", encoding)
            return
        file.seek(0)
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE and not line.endswith(b"\n"):
                length = len(line)
                while not line.endswith(b"\n") and (line := file.readline(2**16)):
                    length += len(line)
                reason = f"is {length} bytes long, more than {MAX_LINE}"
                yield number, FaultError("line", reason, "write one set a line, and each line whole")
            elif number == 1 and line.startswith(codecs.BOM_UTF8):
                mend = "remove the first three bytes: tail -c +4 OLD > NEW"
                yield number, FaultError("line", "begins with a byte order mark", mend)
            elif line.strip():
                # Without its end, after which columns would be counted anew.
                yield number, line.rstrip(b"\r\n")


def _foreign_encoding(start: bytes) -> str | None:
    """The Unicode encoding that a file's first four bytes betray, where it is not UTF-8."""
    if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return "UTF-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    # Without a mark: the opening brace of the first line, in two bytes.
    return {b"{\0": "UTF-16LE", b"\0{": "UTF-16BE"}.get(start[:2])


def _recode(field: str, reason: str, encoding: str) -> FaultError:
    return FaultError(field, reason, f"save it as UTF-8: iconv -f {encoding} -t UTF-8 OLD > NEW")


def _rows(source: Path) -> Iterator[tuple[int, bytes | FaultError]]:
    """Numbers and contents, as JSON, of the rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from isograd.isomers.arrow import document

    number = 0
    with source.open("rb") as opened:
        try:
            with pq.ParquetFile(opened, pre_buffer=False, page_checksum_verification=True) as file:
                for batch in file.iter_batches(READ_ROWS, use_threads=False):
                    for index in range(batch.num_rows):
                        number += 1
                        try:
                            (record,) = batch.slice(index, 1).to_pylist()
                            data = document(record)
                            if len(data) > MAX_LINE:
                                reason = f"is {len(data)} bytes long as JSON, more than {MAX_LINE}"
                                raise FaultError("row", reason, "write one set a row")
                            yield number, data
                        except FaultError as error:
                            yield number, error
                        except (ValueError, OverflowError) as error:
                            # Arrow checks neither texts nor dates before they are asked for.
                            yield number, FaultError("row", f"cannot be read: {error}", "write the row again")
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = f"cannot be read as Parquet from row {number + 1} on: {error}"
            yield number + 1, FaultError("file", reason, "write the file again; it may have been cut off")


def parse(data: bytes) -> IsomerSet:
    """One set from its JSON. Types must be right as they stand: no text is taken for a number.

    Raises:
        FaultError: the JSON is broken, or not that of an isomer set.
    """
    try:
        return IsomerSet.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise _diagnosis(data, error) from None


_MENDS: Final = {
    "missing": "add it",
    "extra_forbidden": "remove it, or correct its name",
    "finite_number": "JSON has no NaN and no infinity; write a number or null",
    "isomers": "correct it",
}


def _diagnosis(data: bytes, error: ValidationError) -> FaultError:
    """The first fault of a line that is no isomer set, in words."""
    try:
        data.decode()
    except UnicodeDecodeError as wrong:
        reason = f"not UTF-8: byte 0x{data[wrong.start]:02x} at byte {wrong.start + 1} of the line"
        return _recode("line", reason, "WINDOWS-1252")
    first: Any = error.errors(include_url=False, include_input=False)[0]
    place, kind, context = list(first["loc"]), first["type"], first.get("ctx", {})
    if kind == "json_invalid":
        found = re.fullmatch(r"(.*) at line \d+ column (\d+)", context["error"])
        reason, column = found.groups() if found else (context["error"], "1")
        # Counted in bytes there, in characters by an editor.
        characters = len(data[: int(column)].decode(errors="ignore"))
        return FaultError("line", f"not valid JSON at column {characters}: {reason}", "write one JSON object a line")
    reason = first["msg"].removeprefix("Value error, ")
    if kind == "isomers":
        place += context["place"]
    if place[:2] == ["graph", "nodes"] and place[3:4] == ["value"] and len(place) > 4:
        # One message for each type that a value may have; none of them is the whole truth.
        place = place[:4]
        reason = "Input should be a finite number, a text, true, false or null"
    return FaultError(".".join(map(str, place)) or "line", reason, _MENDS.get(kind, "correct the value"))


def _check(isomer_set: IsomerSet) -> None:
    """What the schema cannot say.

    Raises:
        FaultError: a graph is no reasoning graph, or a span does not cover what its node states.
    """
    _check_graph(isomer_set.graph, "graph")
    for index, member in enumerate(isomer_set.members):
        goals = {isomer_set.graph.goal.id}
        if member.graph is not None:
            _check_graph(member.graph, f"members.{index}.graph")
            goals.add(member.graph.goal.id)
        _check_spans(member, goals, f"members.{index}.spans")


def _check_graph(graph: ReasoningGraph, place: str) -> None:
    faults = problems(graph)
    if faults:
        raise FaultError(place, faults[0], "correct the graph")


def _check_spans(member: Isomer, goals: set[str], place: str) -> None:
    text, start = member.completion, 0
    # Where each node's value may stand: (start, end) of a step's line and the value; for the goal, the answer itself.
    stated: dict[str, list[tuple[int, int, str]]] = {}
    for step in member.steps:
        end = start + len(step.text)
        stated.setdefault(step.node, []).append((start, end, step.value))
        start = end + 1
    for goal in goals:
        stated.setdefault(goal, []).append((start + len(ANSWER_PREFIX), len(text), member.answer))
    for index, span in enumerate(member.spans):
        if span.node not in stated:
            reason = f"names node {span.node!r}, which is neither a step's nor the goal"
            raise FaultError(f"{place}.{index}.node", reason, "name the node whose value the span covers")
        if not any(
            first <= span.start and span.end <= last and text[span.start : span.end] == value
            for first, last, value in stated[span.node]
        ):
            raise _wrong_span(text, span, stated[span.node], f"{place}.{index}")


def _wrong_span(text: str, span: Span, stated: list[tuple[int, int, str]], place: str) -> FaultError:
    value = stated[0][2]
    reason = f"[{span.start}, {span.end}) covers {text[span.start : span.end]!r}, node {span.node!r} states {value!r}"
    # A step says its value last.
    start = max((text.rfind(value, first, last) for first, last, value in stated if value), default=-1)
    if start < 0:
        return FaultError(place, reason, "the step's text does not hold its value; correct one of them")
    return FaultError(place, reason, f"set it to [{start}, {start + len(value)})")
