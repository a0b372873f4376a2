"""What a review leaves: the sets that were accepted, as they are or as edited, in file order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isograd.common.errors import UserError
from isograd.isomers.files import iter_isomers, save_isomers
from isograd.isomers.parsing import FaultError
from isograd.isomers.reading import suffix_of
from isograd.isomers.review.catalog import Entry
from isograd.isomers.review.content import content_hash, from_plain
from isograd.isomers.review.ledger import Ledger, State
from isograd.isomers.schema import IsomerSet
from isograd.isomers.teacher.journal import Journal

__all__ = ["Exported", "export_reviewed"]


@dataclass(frozen=True)
class Exported:
    """How many sets were written, and where all of them stood."""

    written: int
    states: Counter[State]


def export_reviewed(
    file: str | os.PathLike[str],
    journal: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    undecided: bool = False,
) -> Exported:
    """Write the sets of a file that its reviewers let pass.

    Args:
        file: the sets that were reviewed, ``*.jsonl`` or ``*.parquet``.
        journal: the decisions on them.
        output: the file to write, of either type.
        undecided: also write the sets without a decision, and those whose decision is on other content.

    Returns:
        The counts.

    Raises:
        UserError: a file cannot be read or written, one is no set of ours, or there is nothing to write.
    """
    source, target = Path(file), Path(output)
    suffix_of(target)
    if target.resolve() == source.resolve():
        raise UserError(f"{target}: is the file that was reviewed; name another file for what was accepted")
    if not Path(journal).is_file():
        raise UserError(f"{journal}: no such journal; decide first: isograd isomers review {source}")
    states: Counter[State] = Counter()
    with Journal(journal, read_only=True) as opened:
        ledger = Ledger(opened)
        wanted = _wanted(source, ledger, states, undecided, os.fspath(journal))
        first = next(wanted, None)
        if first is None:
            raise UserError(f"{source}: nothing to write: no set of it is accepted in {journal}")
        try:
            written = save_isomers(_chain(first, wanted), target)
        except OSError as error:
            raise UserError(f"{target}: cannot be written: {error.strerror or error}") from None
    return Exported(written, states)


def _chain(first: IsomerSet, rest: Iterator[IsomerSet]) -> Iterator[IsomerSet]:
    yield first
    yield from rest


def _wanted(source: Path, ledger: Ledger, states: Counter[State], undecided: bool, journal: str) -> Iterator[IsomerSet]:
    for isomer_set in iter_isomers(source):
        entry = Entry(0, isomer_set.id, content_hash(isomer_set))
        state, decision = ledger.state(entry), ledger.decision(entry)
        states[state] += 1
        if state == "edited" and decision is not None:
            try:
                yield from_plain(decision.content)
            except FaultError as error:
                raise UserError(f"{journal}: the edit of set {isomer_set.id!r} is damaged: {error}") from None
        elif state == "accepted" or (undecided and state in ("undecided", "stale")):
            yield isomer_set
