"""Which sets are shown, and which comes next: the filters, their counts, and the way through them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

from isograd.isomers.parsing import FaultError
from isograd.isomers.review.catalog import Catalog, Entry
from isograd.isomers.review.content import content_hash, from_plain
from isograd.isomers.review.ledger import Ledger, State
from isograd.isomers.schema import IsomerSet
from isograd.isomers.verify import Verdict

__all__ = ["FILTERS", "Queue"]

FILTERS: Final = ("all", "undecided", "accepted", "rejected", "findings")

_SHOWN_UNDER: Final[Mapping[State, str]] = {
    "undecided": "undecided",
    "stale": "undecided",
    "accepted": "accepted",
    "edited": "accepted",
    "rejected": "rejected",
}


class Queue:
    """A catalog and the decisions on it, as one list to go through. Numbers count from 1."""

    def __init__(self, catalog: Catalog, ledger: Ledger) -> None:
        self.catalog: Final = catalog
        self.ledger: Final = ledger
        # Verdicts of edits by hash, and by line of the edit that was judged last.
        self._edits: dict[str, Verdict] = {}
        self._latest: dict[int, Verdict] = {}
        self._listed: tuple[tuple[int, ...], Mapping[str, Sequence[int]]] = ((), {})

    def shown(self, number: int, original: IsomerSet) -> tuple[IsomerSet, Verdict]:
        """A set as it would be passed on, edits included, and its verdict."""
        entry = self.catalog.entries[number - 1]
        decision = self.ledger.decision(entry)
        if decision is not None and decision.verdict == "edit":
            try:
                edited = from_plain(decision.content)
            except FaultError:
                # Another program wrote to the journal; the export refuses it.
                return original, self.catalog.verdict(number, original)
            return edited, self.judge_edit(entry, edited)
        return original, self.catalog.verdict(number, original)

    def judge_edit(self, entry: Entry, edited: IsomerSet) -> Verdict:
        """The verdict on an edited set; made once."""
        key = content_hash(edited)
        if key not in self._edits:
            self._edits[key] = self.catalog.judge(entry.line, edited)
        self._latest[entry.line] = self._edits[key]
        return self._edits[key]

    def numbers(self, name: str) -> Sequence[int]:
        """What a filter shows of what was read so far, in file order."""
        entries, verdicts = self.catalog.entries, self.catalog.verdicts
        key = (self.ledger.mark, len(entries), len(verdicts), len(self._edits))
        if key != self._listed[0]:
            found: dict[str, list[int]] = {name: [] for name in FILTERS}
            for number, entry in enumerate(entries[: key[1]], 1):
                found["all"].append(number)
                if self._has_findings(number, entry):
                    found["findings"].append(number)
                if entry.fault is None:
                    found[_SHOWN_UNDER[self.ledger.state(entry)]].append(number)
            self._listed = key, found
        return self._listed[1][name]

    def _has_findings(self, number: int, entry: Entry) -> bool:
        if entry.fault is not None:
            return True
        decision = self.ledger.decision(entry)
        edited = decision is not None and decision.verdict == "edit"
        verdicts = self.catalog.verdicts
        verdict = self._latest.get(entry.line) if edited else None
        if verdict is None and number <= len(verdicts):
            verdict = verdicts[number - 1]
        return verdict is not None and not verdict.passed

    def after(self, number: int, name: str) -> int | None:
        """The next number of a filter."""
        numbers = self.numbers(name)
        at = bisect_right(numbers, number)
        return numbers[at] if at < len(numbers) else None

    def before(self, number: int, name: str) -> int | None:
        """The previous number of a filter."""
        numbers = self.numbers(name)
        at = bisect_left(numbers, number)
        return numbers[at - 1] if at else None

    def find(self, text: str) -> int | None:
        """The entry with a number or, failing that, an id."""
        text = text.strip()
        if text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= self.catalog.total:
            return int(text)
        return next((number for number, entry in enumerate(self.catalog.entries, 1) if text and entry.id == text), None)
