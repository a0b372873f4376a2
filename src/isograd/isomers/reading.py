"""Reading files of isomer sets that anybody may have made: every fault is named, none of them ends the reading.

A file is never held in memory: what is kept of a set once it has been handed on is a hash of its id.
"""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from isograd.common.errors import UserError
from isograd.isomers.parsing import Fault, FaultError, check, parse, recode
from isograd.isomers.schema import IsomerSet

__all__ = ["JSON_LINES", "MAX_LINE", "PARQUET", "raw_lines", "read_lines", "suffix_of"]

MAX_LINE: Final = 16 * 2**20
"""Longest line (and longest row, as JSON) that is read, in bytes."""
JSON_LINES: Final = ".jsonl"
PARQUET: Final = ".parquet"
READ_ROWS: Final = 100
"""Rows of a Parquet file that are held in memory."""


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
                check(isomer_set)
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
            yield 1, recode("file", f"is {encoding}, not UTF-8", encoding)
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
