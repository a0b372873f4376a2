"""Where an answer first went wrong: its steps held against the reference, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from isograd.report.runs import Example
from isograd.report.summary import Method

__all__ = ["SLIPS", "Slip", "first_slip", "slip_counts"]

SLIPS: Final = ("all right", "answer only", "step 1", "step 2", "step 3 or later")
"""Where answers go wrong, as columns of a table."""
_LONGEST = 200


@dataclass(frozen=True)
class Slip:
    """The first step that differs: its number from 1, how many the reference has, what it asks for and what was said.

    ``step`` is None where the chain is right and the answer alone is wrong; ``wanted`` is empty where the student
    went on after the last step, ``written`` where it stopped before it.
    """

    step: int | None
    steps: int
    wanted: str = ""
    written: str = ""

    @property
    def text(self) -> str:
        """In words."""
        if self.step is None:
            return "The steps are right; the answer alone is wrong."
        if not self.written:
            return f"Stops before step {self.step} of {self.steps}: “{self.wanted}”."
        if not self.wanted:
            return f"Goes on after the last of {self.steps} steps: “{self.written}”."
        return f"First wrong at step {self.step} of {self.steps}: “{self.written}” for “{self.wanted}”."


def first_slip(example: Example) -> Slip | None:
    """Where ``example`` first departs from its reference, or None where nothing is wrong.

    A line is a step; the last line of a reference is its answer. Where the run says that the chain is right, that
    holds, however it is worded; otherwise the first line that differs (but for space, case and the cue word at its
    end) is where it went wrong.
    """
    reference, written = _lines(example.reference), _lines(example.completion)
    chain = reference[:-1]
    if example.chain_correct is not True:
        steps = _before_answer(written, reference[-1] if reference else "")
        for number in range(max(len(chain), len(steps))):
            wanted = chain[number] if number < len(chain) else ""
            said = steps[number] if number < len(steps) else ""
            if not _same(said, wanted, example.cue):
                return Slip(number + 1, len(chain), _short(wanted), _short(said))
    return None if example.correct else Slip(None, len(chain))


def slip_counts(methods: Sequence[Method]) -> list[tuple[Method, int, list[int]]]:
    """``(method, answers kept, counts in the order of SLIPS)`` of each method whose runs kept examples."""
    counts = []
    for method in methods:
        slips = [first_slip(example) for run in method.scored for example in run.examples]
        if slips:
            columns = [_column(slip) for slip in slips]
            counts.append((method, len(slips), [columns.count(name) for name in SLIPS]))
    return counts


def _column(slip: Slip | None) -> str:
    if slip is None:
        return SLIPS[0]
    return SLIPS[1] if slip.step is None else SLIPS[1 + min(slip.step, 3)]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _before_answer(written: list[str], answer: str) -> list[str]:
    """The lines before the last one that begins as the reference's answer does (``Answer:``)."""
    start, colon, _ = answer.partition(":")
    places = [place for place, line in enumerate(written) if colon and line.strip().startswith(start + colon)]
    return written[: places[-1]] if places else written


def _same(said: str, wanted: str, cue: str | None) -> bool:
    """Equal but for space and case; the cue word at the end is no part of the reasoning."""
    said, wanted = (" ".join(line.split()).casefold() for line in (said, wanted))
    if not said or not wanted:
        return said == wanted
    bare = wanted.removesuffix(f" {cue.casefold()}") if cue else wanted
    return said in (wanted, bare) or (bare != wanted and said.startswith(f"{bare} "))


def _short(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
