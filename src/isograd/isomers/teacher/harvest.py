"""From a journal to files: the sets that passed, in the order of the seeds, and all that did not, with the reasons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from isograd.common.errors import UserError
from isograd.common.files import atomic_writer
from isograd.isomers.files import save_isomers
from isograd.isomers.reading import suffix_of
from isograd.isomers.schema import IsomerSet
from isograd.isomers.teacher.calls import Failure
from isograd.isomers.teacher.journal import Journal, SeedRecord
from isograd.isomers.teacher.pipeline import seed_leaks
from isograd.isomers.teacher.seed_work import SET, seed_from_json
from isograd.isomers.verify.findings import Finding
from isograd.isomers.verify.leakage import LeakageIndex
from isograd.isomers.verify.verification import Verifier

__all__ = ["Harvest", "RunFolder", "harvest"]


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files.

    Attributes:
        folder: the run's folder.
        name: of the file of sets in it; its suffix, ``.jsonl`` or ``.parquet``, says the format.

    Raises:
        UserError: the name has another suffix, or is a path.
    """

    folder: Path
    name: str = "sets.jsonl"

    def __post_init__(self) -> None:
        if Path(self.name).name != self.name or self.sets in (self.journal, self.quarantine):
            raise UserError(f"{self.name}: no name for the file of sets; give one like sets.jsonl or sets.parquet")
        suffix_of(self.name)

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.folder / "journal.sqlite"

    @property
    def sets(self) -> Path:
        """The sets."""
        return self.folder / self.name

    @property
    def quarantine(self) -> Path:
        """What was rejected."""
        return self.folder / "quarantine.jsonl"


@dataclass
class Harvest:
    """What was written.

    Attributes:
        sets: sets written.
        quarantined: seeds that gave no set.
        short: sets that lack a domain.
        unfinished: seeds that are still to be worked on.
        reasons: quarantined seeds by reason; one with several counts for each.
    """

    sets: int = 0
    quarantined: int = 0
    short: int = 0
    unfinished: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def harvest(journal: Journal, files: RunFolder, against: LeakageIndex | None = None) -> Harvest:
    """Write the sets and the quarantine file, atomically. Equal journals give equal bytes.

    The sets are judged once more beside one another and against evaluation items. A line of the quarantine file has
    ``seed_id``, ``kept`` (whether the seed gave a set all the same, which lacks a domain), ``stage`` and ``reasons``
    (of the first failure, of all), ``failures`` (``stage``, ``domain``, ``reason``, ``detail``), ``texts`` (the
    teacher's last ones, by domain), and the ``seed``.

    Args:
        journal: finished, or still being worked on.
        files: where to.
        against: evaluation items that neither seeds nor sets may repeat.

    Raises:
        UserError: a file cannot be written.
    """
    done = Harvest(unfinished=len(journal.seeds.ids("waiting", "working")))
    verifier = Verifier(against)
    try:
        with atomic_writer(files.quarantine) as rejects:
            done.sets = save_isomers(_sound(journal, verifier, against, rejects, done), files.sets)
    except OSError as error:
        raise UserError(f"{files.folder}: cannot be written: {error.strerror or error}") from None
    return done


def _sound(
    journal: Journal, verifier: Verifier, against: LeakageIndex | None, rejects: IO[str], done: Harvest
) -> Iterator[IsomerSet]:
    # One at a time: all of them may not fit into memory.
    for name in journal.seeds.ids("verified", "quarantined"):
        record = journal.seeds.get(name)
        assert record is not None
        result: dict[str, Any] = record.result
        failures = [Failure(**failure) for failure in result["failures"]]
        made = None if result["set"] is None else IsomerSet.model_validate(result["set"])
        if made is not None:
            wrong = [*seed_leaks(seed_from_json(record.source), against), *_wrong(verifier, record, made)]
            failures += wrong
            if not wrong:
                done.short += bool(failures)
                yield made
        kept = made is not None and not wrong
        if not kept:
            done.quarantined += 1
            done.reasons.update({failure.reason for failure in failures})
        if failures:
            _reject(rejects, record, failures, made if not kept else None, kept=kept)


def _wrong(verifier: Verifier, record: SeedRecord, made: IsomerSet) -> list[Failure]:
    verdict = verifier.judge(record.number, made)
    return [
        Failure(SET, "", str(found.reason), f"{found.where}: {found.detail}")
        for found in verdict.rejections
        if isinstance(found, Finding)
    ]


def _reject(
    rejects: IO[str], record: SeedRecord, failures: list[Failure], made: IsomerSet | None, *, kept: bool
) -> None:
    texts = dict(record.result["texts"])
    if made is not None:
        texts |= {member.domain: member.model_dump(mode="json", exclude_defaults=True) for member in made.members}
    line = {
        "seed_id": record.id,
        "kept": kept,
        "stage": failures[0].stage,
        "reasons": list(dict.fromkeys(failure.reason for failure in failures)),
        "failures": [failure.to_json() for failure in failures],
        "texts": texts,
        "seed": record.source,
    }
    rejects.write(json.dumps(line, ensure_ascii=False) + "\n")
