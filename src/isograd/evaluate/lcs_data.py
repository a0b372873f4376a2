"""What the Logical Consistency Score reads: isomer sets, or the rows of any paired file, one set at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isograd.common.errors import UserError
from isograd.isomers import IsomerSet, iter_isomers
from isograd.isomers.parsing import FaultError
from isograd.isomers.reading import JSON_LINES, raw_lines, suffix_of

__all__ = ["ReadMember", "ReadSet", "iter_read_sets"]


@dataclass(frozen=True)
class ReadMember:
    """What is read of one member.

    Attributes:
        domain: its domain.
        text: prompt and reasoning, up to the answer.
        spans: characters ``[start, end)`` of the text that state the value of each step, aligned over the members.
    """

    domain: str
    text: str
    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, domain: str, prompt: str, completion: str, spans: tuple[tuple[int, int], ...]) -> ReadMember:
        """Cut before the answer, which is the last span of the completion; without spans there is no cut."""
        text, before = prompt + completion, len(prompt)
        if spans:
            text = text[: before + spans[-1][0]]
        moved = tuple((before + start, before + end) for start, end in spans[:-1])
        return cls(domain, text.rstrip(" "), moved)


@dataclass(frozen=True)
class ReadSet:
    """What is read of one set: its members, sorted by domain."""

    id: str
    members: tuple[ReadMember, ...]

    @classmethod
    def of(cls, isomer_set: IsomerSet) -> ReadSet:
        """Each member's prompt and reference reasoning, up to the answer."""
        members = (
            ReadMember.of(
                member.domain, member.prompt, member.completion, tuple((span.start, span.end) for span in member.spans)
            )
            for member in isomer_set.members
        )
        return cls(isomer_set.id, _sorted(members))

    @property
    def domains(self) -> tuple[str, ...]:
        """In order."""
        return tuple(member.domain for member in self.members)

    @property
    def has_spans(self) -> bool:
        """Whether every member has a span before its answer."""
        return all(member.spans for member in self.members)


def _sorted(members: Iterator[ReadMember]) -> tuple[ReadMember, ...]:
    return tuple(sorted(members, key=lambda member: member.domain))


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore")

    set_id: Annotated[str, Field(min_length=1)]
    domain: Annotated[str, Field(min_length=1)]
    prompt: Annotated[str, Field(min_length=1)]
    completion: str = ""
    spans: tuple[tuple[int, int], ...] = ()


def iter_read_sets(path: Path) -> Iterator[ReadSet]:
    """Read a file, one set at a time.

    Args:
        path: isomer sets (``.jsonl`` or ``.parquet``), or JSON lines of rows with ``set_id``, ``domain``, ``prompt``
            and, if there are, ``completion`` and ``spans`` (as :func:`isograd.isomers.to_rows` makes them). The rows
            of a set stand together.

    Raises:
        UserError: no such file, an unknown suffix, or a line that is neither; the message names file and line.
    """
    if suffix_of(path) == JSON_LINES and path.is_file() and _is_paired(path):
        for set_id, rows in groupby(_rows(path), key=lambda item: item[0]):
            yield ReadSet(set_id, _sorted(member for _, member in rows))
    else:
        yield from map(ReadSet.of, iter_isomers(path))


def _is_paired(path: Path) -> bool:
    """Whether the first line is a row: what is none is left to the reader of isomer sets, and to its messages."""
    for _, line in raw_lines(path):
        if isinstance(line, FaultError):
            return False
        try:
            value = json.loads(line)
        except ValueError:
            return False
        return isinstance(value, dict) and "set_id" in value
    return False


def _rows(path: Path) -> Iterator[tuple[str, ReadMember]]:
    for number, line in raw_lines(path):
        if isinstance(line, FaultError):
            raise UserError(f"{path}:{line.at(number)}")
        try:
            row = _Row.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "line"
            raise UserError(
                f"{path}:{number}: {field}: {first['msg']}; each line needs set_id, domain and prompt"
            ) from None
        ends = [0, *(place for span in row.spans for place in span)]
        if ends != sorted(ends) or ends[-1] > len(row.completion) or any(start == end for start, end in row.spans):
            raise UserError(
                f"{path}:{number}: spans: must be [start, end) characters of the completion, in order; mend them"
            )
        yield row.set_id, ReadMember.of(row.domain, row.prompt, row.completion, row.spans)
