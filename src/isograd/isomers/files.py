"""Files of isomer sets: one set a line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from isograd.common.errors import UserError
from isograd.common.files import atomic_writer
from isograd.isomers.schema import IsomerSet

__all__ = ["iter_isomers", "load_isomers", "save_isomers", "to_rows"]


def save_isomers(sets: Iterable[IsomerSet], path: str | os.PathLike[str]) -> int:
    """Write sets as JSON lines, atomically; returns how many."""
    count = 0
    with atomic_writer(path) as file:
        for isomer_set in sets:
            file.write(isomer_set.model_dump_json(exclude_defaults=True) + "\n")
            count += 1
    return count


def iter_isomers(path: str | os.PathLike[str]) -> Iterator[IsomerSet]:
    """Read sets from JSON lines, one at a time.

    Raises:
        UserError: no such file, or a line that is not an isomer set; the message names file, line, field and fault.
    """
    source = Path(path)
    if not source.is_file():
        raise UserError(f"{source}: no such file; make one with: isograd isomers make --output {source}")
    with source.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield IsomerSet.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"]) or "line"
                raise UserError(f"{source}:{number}: {place}: {first['msg']}") from None


def load_isomers(path: str | os.PathLike[str]) -> list[IsomerSet]:
    """Read all sets of a JSON-lines file; raises as :func:`iter_isomers`."""
    return list(iter_isomers(path))


def to_rows(sets: Iterable[IsomerSet]) -> list[dict[str, Any]]:
    """Flatten sets to training rows, members of a set side by side.

    Returns:
        One dict a member: ``prompt``, ``completion``, ``domain``, ``set_id``, and ``spans``: a list of
        ``[start, end]`` in the completion, aligned over the members of a set, the answer's last.
    """
    return [
        {
            "prompt": member.prompt,
            "completion": member.completion,
            "domain": member.domain,
            "set_id": isomer_set.id,
            "spans": [[span.start, span.end] for span in member.spans],
        }
        for isomer_set in sets
        for member in isomer_set.members
    ]
