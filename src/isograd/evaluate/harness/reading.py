"""Reading the answer out of what a model wrote; nothing here raises, whatever the text.

The answer stands after the last of these marks: ``\\boxed{...}``, ``####``, a line ``Answer:``, ``the answer is``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from isograd.evaluate.answers import extract_number

__all__ = ["LONGEST", "last_boxed", "read_label", "read_number", "read_text"]

LONGEST: Final = 1 << 16
"""Characters at the end of a completion that are looked at."""

_PIECE = re.compile(r"\\(?:boxed|fbox)\s*\{?|\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"[^\s${}\\]+")
_SAID = re.compile(r"####|(?:^|\n)\W{0,4}(?:final )?answer\W{0,4}:|\banswer\W{0,4}\s(?:is|=|equals)\b", re.IGNORECASE)
_MARKS = " \t*_`'\"$()[]{}.:,;"
_WORD = re.compile(r"\w")


def last_boxed(text: str) -> str | None:
    """The content of the last complete ``\\boxed{...}``, braces balanced, or ``None`` where there is none.

    ``\\{`` and ``\\}`` are printed braces and do not count; ``\\boxed 5`` is read as well; an empty box is none.
    """
    found = _last_box(text[-LONGEST:])
    return None if found is None else found[1]


def _last_box(text: str) -> tuple[int, str] | None:
    """Where the last complete box begins, and its content; in one pass, whatever is left open."""
    last: tuple[int, str] | None = None
    # Of each open brace, the place of the box that it belongs to, if any, and where its content begins.
    opened: list[tuple[int, int]] = []
    for piece in _PIECE.finditer(text):
        found = None
        if piece[0].startswith(("\\boxed", "\\fbox")):
            if piece[0].endswith("{"):
                opened.append((piece.start(), piece.end()))
            elif piece[0][-1].isspace():
                word = _UNBRACED.match(text, piece.end())
                found = (piece.start(), word[0].rstrip(".,")) if word else None
        elif piece[0] == "{":
            opened.append((-1, piece.end()))
        elif piece[0] == "}" and opened:
            place, start = opened.pop()
            found = (place, text[start : piece.start()].strip()) if place >= 0 else None
        # A box may hold another, which ends before it: the one that begins last counts.
        if found is not None and found[1] and (last is None or found[0] > last[0]):
            last = found
    return last


def read_text(completion: str) -> str | None:
    """The answer as text: the box, or the rest of the line after another mark; ``None`` without any mark."""
    text = completion[-LONGEST:]
    said = 0
    for match in _SAID.finditer(text):
        said = match.end()
    box = _last_box(text)
    if box is not None and box[0] >= said:
        return box[1]
    if not said:
        return None
    rest = text[said:].lstrip(" \t*_:")
    # "Answer:" may stand alone on its line, with the answer on the next.
    line = rest.lstrip("\n").partition("\n")[0].strip().strip("*_").strip()
    return line or None


def read_number(completion: str) -> str | None:
    """The answer of a word problem: the text after the last mark, else the last number of all."""
    return read_text(completion) or extract_number(completion[-LONGEST:])


def read_label(completion: str, labels: Sequence[str]) -> str | None:
    """Which of the labels a completion names, or ``None``.

    The answer must be a label or begin with one (``True, because ...``); of labels that begin alike the longest counts.
    A completion without any mark counts only if it is nothing but a label.
    """
    answer = read_text(completion)
    said = (completion[-LONGEST:] if answer is None else answer).strip(_MARKS + "\n")
    said = re.sub(r"^\\text\w*\{", "", said).casefold()
    for label in sorted(labels, key=len, reverse=True):
        rest = said.removeprefix(label.casefold())
        if rest == said:
            continue
        if not rest or (answer is not None and not _WORD.match(rest) and not re.match(r"-\w", rest)):
            return label
    return None
