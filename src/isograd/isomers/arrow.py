"""Isomer sets as Arrow tables: Parquet files and Hugging Face datasets, with one schema for both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import PydanticSerializationError, from_json, to_json

from isograd.common.errors import UserError
from isograd.common.files import atomic_writer
from isograd.isomers.parsing import FaultError, parse
from isograd.isomers.schema import Isomer, IsomerSet

__all__ = ["SETS_SCHEMA", "VIEW_SCHEMAS", "document", "from_dataset", "to_dataset", "to_record", "write_parquet"]

ROW_GROUP: Final = 1000
"""Rows that are held in memory while a file is written."""

_TEXT = pa.string()
_TEXTS = pa.list_(_TEXT)

# A node's value is a truth value, a number or a text, and a generator's options are anything: Arrow columns have one
# type each and Parquet has no unions, so graphs and provenance are columns of JSON text.
SETS_SCHEMA: Final = pa.schema(
    [
        ("id", _TEXT),
        ("family", _TEXT),
        ("structure", _TEXT),
        ("labels", _TEXTS),
        ("noisy", pa.bool_()),
        (
            "members",
            pa.list_(
                pa.struct(
                    [
                        ("domain", _TEXT),
                        ("problem", _TEXT),
                        ("steps", pa.list_(pa.struct([("text", _TEXT), ("node", _TEXT), ("value", _TEXT)]))),
                        ("answer", _TEXT),
                        ("spans", pa.list_(pa.struct([("node", _TEXT), ("start", pa.int64()), ("end", pa.int64())]))),
                        ("cue", _TEXT),
                        ("graph", _TEXT),
                    ]
                )
            ),
        ),
        ("graph", _TEXT),
        ("provenance", _TEXT),
    ]
)
"""The columns of a file of isomer sets, one set a row."""

VIEW_SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    "sft": pa.schema(
        [
            *((name, _TEXT) for name in ("prompt", "completion", "domain", "set_id", "family")),
            ("spans", pa.list_(pa.list_(pa.int64()))),
        ]
    ),
    "grpo": pa.schema(
        [
            ("prompt", _TEXT),
            ("answer", _TEXT),
            ("labels", _TEXTS),
            *((name, _TEXT) for name in ("domain", "set_id", "family", "structure")),
        ]
    ),
}
"""The columns of each of :data:`isograd.isomers.views.VIEWS`."""


def to_record(isomer_set: IsomerSet) -> dict[str, Any]:
    """One row of :data:`SETS_SCHEMA`."""
    return {
        "id": isomer_set.id,
        "family": isomer_set.family,
        "structure": isomer_set.structure,
        "labels": list(isomer_set.labels),
        "noisy": isomer_set.noisy,
        "members": [_member(member) for member in isomer_set.members],
        "graph": isomer_set.graph.model_dump_json(exclude_defaults=True),
        "provenance": isomer_set.provenance.model_dump_json(),
    }


def _member(member: Isomer) -> dict[str, Any]:
    return {
        "domain": member.domain,
        "problem": member.problem,
        "steps": [{"text": step.text, "node": step.node, "value": step.value} for step in member.steps],
        "answer": member.answer,
        "spans": [{"node": span.node, "start": span.start, "end": span.end} for span in member.spans],
        "cue": member.cue,
        "graph": None if member.graph is None else member.graph.model_dump_json(exclude_defaults=True),
    }


def document(record: Mapping[str, Any]) -> bytes:
    """A row as the JSON that a line of a JSON-lines file would hold, so that both are read and judged alike.

    Raises:
        FaultError: a column of JSON text is not JSON, or a value is nothing that JSON can hold.
    """
    whole = {name: _value(name, value) for name, value in record.items()}
    if isinstance(members := record.get("members"), list):
        whole["members"] = [
            {**member, "graph": _value("graph", member.get("graph"), f"members.{index}.graph")}
            if isinstance(member, dict)
            else member
            for index, member in enumerate(members)
        ]
    try:
        # Not null for what is not finite: it is to be found out, not hidden.
        return to_json(whole, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError) as error:
        raise FaultError("row", f"holds what JSON cannot: {error}", "write the columns that isograd writes") from None


def _value(name: str, value: Any, place: str | None = None) -> Any:
    if name not in ("graph", "provenance") or not isinstance(value, str):
        return value
    try:
        return from_json(value)
    except ValueError as error:
        raise FaultError(place or name, f"not valid JSON: {error}", "this column holds JSON text") from None


def write_parquet(rows: Iterable[Mapping[str, Any]], path: str | os.PathLike[str], schema: pa.Schema) -> int:
    """Write rows as Parquet, atomically, holding one row group in memory; returns how many."""
    count = 0
    with (
        atomic_writer(path, "wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for batch in _batches(rows, schema):
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _batches(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    source = iter(rows)
    while some := list(islice(source, ROW_GROUP)):
        yield pa.RecordBatch.from_pylist(some, schema=schema)


def to_dataset(sets: Iterable[IsomerSet]) -> Any:
    """Sets as a ``datasets.Dataset`` in memory, one set a row; :func:`from_dataset` gives the same sets back.

    Graphs and provenance are columns of JSON text.
    """
    from datasets import Dataset

    return Dataset(pa.Table.from_batches(_batches(map(to_record, sets), SETS_SCHEMA), schema=SETS_SCHEMA))


def from_dataset(dataset: Any) -> Iterator[IsomerSet]:
    """The sets of a dataset made by :func:`to_dataset` or loaded from a Parquet file of sets, one at a time.

    Args:
        dataset: a ``datasets.Dataset`` or ``IterableDataset``.

    Raises:
        UserError: a row is not an isomer set; the message names row (from 1), field and fault.
    """
    number = 0
    for table in dataset.with_format("arrow").iter(batch_size=ROW_GROUP):
        for record in table.to_pylist():
            number += 1
            try:
                yield parse(document(record))
            except FaultError as error:
                raise UserError(f"row {number}: {error}") from None
