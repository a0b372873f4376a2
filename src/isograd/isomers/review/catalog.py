"""The sets of a file in file order: read once, in the background, and fetched one at a time.

A file of ten thousand sets takes a while to read and longer to verify; the first set is there at once. What was read
is kept, compressed, in a temporary file: memory holds an id, a hash and a verdict of each set.
"""

from __future__ import annotations

import os
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from isograd.common.errors import UserError
from isograd.isomers.parsing import Fault, parse
from isograd.isomers.reading import JSON_LINES, raw_lines, read_lines, suffix_of
from isograd.isomers.review.content import content_hash
from isograd.isomers.schema import IsomerSet
from isograd.isomers.verify import MAX_OVERLAP, LeakageIndex, Verdict, Verifier

__all__ = ["Catalog", "Entry"]


@dataclass(frozen=True)
class Entry:
    """One line (or row) of the file.

    Attributes:
        line: its number in the file.
        id: the set's; empty where the line is no set.
        hash: :func:`~isograd.isomers.review.content.content_hash` of the set; empty where the line is no set.
        fault: why it is no set.
        place: where its content is kept.
        length: how long that is.
    """

    line: int
    id: str = ""
    hash: str = ""
    fault: Fault | None = None
    place: int = 0
    length: int = 0


class Catalog:
    """The entries of a file, numbered from 1, and their verdicts.

    Threads may share it. ``entries`` and ``verdicts`` grow while the file is read and never change otherwise.

    Attributes:
        path: the file.
        entries: what was read so far.
        verdicts: what was verified so far, in the same order.
        total: how many entries there will be, as far as is known.
        reading: whether more entries are to come.
        trouble: why reading ended early, if it did.
        max_overlap: the largest overlap that the verifier lets pass.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        against: LeakageIndex | None = None,
        max_overlap: float = MAX_OVERLAP,
        domains: Mapping[str, str] | None = None,
    ) -> None:
        """Open a file and read its first set; the rest follows in the background.

        Args:
            path: ``*.jsonl`` or ``*.parquet``.
            against: evaluation items that no set may repeat.
            max_overlap: the largest Jaccard index of two members' content words.
            domains: files of domains that isograd does not bring, by name.

        Raises:
            UserError: no such file, one that may not be read, or an unknown suffix.
        """
        self.path: Final = Path(path)
        self.entries: list[Entry] = []
        self.verdicts: list[Verdict] = []
        self.reading = True
        self.trouble: str | None = None
        self.max_overlap: Final = max_overlap
        self._against = against
        self._domains = domains
        self._lock = threading.Lock()
        self._stop = threading.Event()
        items = read_lines(self.path)
        first = next(items)
        self._stamp = self._stamped()
        self.total = max(1, _count(self.path))
        self._kept = tempfile.TemporaryFile(prefix="isograd-review-")  # noqa: SIM115 - closed by close()
        self._keep(*first)
        self._thread = threading.Thread(target=self._work, args=(items,), name="catalog", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the reading and let go of what was kept."""
        self._stop.set()
        self._thread.join()
        self._kept.close()

    @property
    def busy(self) -> bool:
        """Whether anything is still being read or verified."""
        return self._thread.is_alive()

    @property
    def changed(self) -> bool:
        """Whether the file is not the one any more that was opened."""
        return self._stamped() != self._stamp

    def wait(self) -> None:
        """Wait until everything is read and verified."""
        self._thread.join()

    def fetch(self, entry: Entry) -> IsomerSet | Fault:
        """The set of an entry."""
        if entry.fault is not None:
            return entry.fault
        with self._lock:
            self._kept.seek(entry.place)
            data = self._kept.read(entry.length)
        return parse(zlib.decompress(data))

    def verdict(self, number: int, item: IsomerSet | Fault) -> Verdict:
        """The verdict on an entry, made now where its turn has not come; duplicates are then not looked for yet."""
        if number <= len(self.verdicts):
            return self.verdicts[number - 1]
        return self.judge(self.entries[number - 1].line, item)

    def judge(self, line: int, item: IsomerSet | Fault) -> Verdict:
        """The verdict on a set by itself: not compared with the others of the file."""
        return self._verifier().judge(line, item)

    def _verifier(self) -> Verifier:
        return Verifier(self._against, max_overlap=self.max_overlap, domains=self._domains)

    def _work(self, items: Iterator[tuple[int, IsomerSet | Fault]]) -> None:
        try:
            for line, item in items:
                if self._stop.is_set():
                    return
                self._keep(line, item)
        except UserError as error:
            self.trouble = str(error)
        self.total = len(self.entries)
        self.reading = False
        # In file order, for a duplicate is one of what stands before it.
        verifier = self._verifier()
        for entry in self.entries:
            if self._stop.is_set():
                return
            self.verdicts.append(verifier.judge(entry.line, self.fetch(entry)))

    def _keep(self, line: int, item: IsomerSet | Fault) -> None:
        if isinstance(item, Fault):
            entry = Entry(line, fault=item)
        else:
            data = zlib.compress(item.model_dump_json(exclude_defaults=True).encode(), 1)
            with self._lock:
                place = self._kept.seek(0, os.SEEK_END)
                self._kept.write(data)
            entry = Entry(line, item.id, content_hash(item), place=place, length=len(data))
        self.entries.append(entry)
        self.total = max(self.total, len(self.entries))

    def _stamped(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def _count(path: Path) -> int:
    """How many entries a file will have, without looking into them; 0 where that cannot be told."""
    if suffix_of(path) == JSON_LINES:
        return sum(1 for _ in raw_lines(path))
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError, ValueError):
        return 0
