"""Files of isomer sets: JSON lines and Parquet, written and read in little memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from isograd.common.errors import UserError
from isograd.common.files import write_lines
from isograd.isomers.parsing import Fault
from isograd.isomers.reading import PARQUET, read_lines, suffix_of
from isograd.isomers.schema import IsomerSet

__all__ = ["iter_isomers", "load_isomers", "save_isomers"]


def save_isomers(sets: Iterable[IsomerSet], path: str | os.PathLike[str]) -> int:
    """Write sets, atomically and as they come; returns how many.

    Args:
        sets: any iterable; it is gone through once.
        path: its suffix says the format: ``.jsonl`` (one set a line) or ``.parquet`` (one set a row).

    Raises:
        UserError: an unknown suffix.
    """
    if suffix_of(path) == PARQUET:
        from isograd.isomers.arrow import SETS_SCHEMA, to_record, write_parquet

        return write_parquet(map(to_record, sets), path, SETS_SCHEMA)
    return write_lines((isomer_set.model_dump_json(exclude_defaults=True) for isomer_set in sets), path)


def iter_isomers(path: str | os.PathLike[str]) -> Iterator[IsomerSet]:
    """Read sets from a ``.jsonl`` or ``.parquet`` file, one at a time.

    Raises:
        UserError: no such file, an unknown suffix, or a line that is not an isomer set (see
            :func:`isograd.isomers.reading.read_lines` for what is checked); the message names file, line (row), field
            and fault, and says how to mend it.
    """
    for _, item in read_lines(path):
        if isinstance(item, Fault):
            raise UserError(f"{Path(path)}:{item}")
        yield item


def load_isomers(path: str | os.PathLike[str]) -> list[IsomerSet]:
    """Read all sets of a file; raises as :func:`iter_isomers`."""
    return list(iter_isomers(path))
