"""Reading the answer out of what a model wrote; nothing here raises, whatever the text.

The answer stands after the last of these marks: ``\\boxed{...}``, ``####``, a line ``Answer:``, ``the answer is``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from isograd.evaluate.answers import extract_number

__all__ = ["LONGEST", "last_boxed", "only_number", "read_label", "read_number", "read_text"]

LONGEST: Final = 1 << 16
"""Characters at the end of a completion that are looked at."""

_PIECE = re.compile(r"\\(?:boxed|fbox)\s*\{?|\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"[^\s${}\\]+")
_SAID = re.compile(r"####|(?:^|\n)\W{0,4}(?:final )?answer\W{0,4}:|\banswer\W{0,4}\s(?:is|=|equals)\b", re.IGNORECASE)
_MARKS = " \t*_`'\"$()[]{}.:,;"
_WORD = re.compile(r"\w")
# 1,000 or 12 or 3.5 or .5, a fraction or a mixed one; no part of a word, of a longer number or of a power of ten.
_PLAIN = r"(?:(?:\d{1,3}(?:,\d{3})+|\d{1,40})(?:\.\d{1,40})?|\.\d{1,40})"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)])[-\u2212])?[$\u20ac\xa3]?(?<![\w.,/^])"
    rf"(?:(?:(?P<whole>\d{{1,9}}) )?(?P<top>\d{{1,9}})/(?P<bottom>\d{{1,9}})|(?P<plain>{_PLAIN}))"
    r"(?![\d/]|[.,]\d|[eE][-+]?\d|\s?[xyz]\b)"
)
_AREA = re.compile(r"\b([a-z]{1,6})(?:\^?[23]|[\xb2\xb3])(?!\w)", re.IGNORECASE)
_BESIDE = frozenset(" \t*_$\u20ac\xa3%.,;:!?'\"()/-")
_OTHER_BEFORE = re.compile(r"\b(?:not|than|root|sqrt|log|minus|negative)\b", re.IGNORECASE)
_OTHER_AFTER = re.compile(r"\b(?:half|squared|cubed|hundred|thousand|million|billion|minus)\b|\u03c0", re.IGNORECASE)


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


def only_number(text: str) -> Fraction | None:
    """The number of an answer that is a number with words or a unit (``about $18.00 a week``, ``1 1/2 cups``).

    After ``=`` only what follows the last one counts. A text with two numbers, and one with signs or words that make
    another number of it (``2 and a half``, ``less than 5``, ``3 thousand``), has none.
    """
    said = _AREA.sub(r"\1", text.rpartition("=")[2].strip(" \t*_("))
    said = re.sub(r"^([-\u2212])\s+", r"\1", said)
    found = list(_NUMBER.finditer(said))
    if len(found) != 1:
        return None
    (number,) = found
    before, after = said[: number.start()], said[number.end() :]
    if not all(sign.isalpha() or sign in _BESIDE for sign in before + after):
        return None
    if _OTHER_BEFORE.search(before) or _OTHER_AFTER.search(after):
        return None
    if number["plain"]:
        value = Fraction(number["plain"].replace(",", ""))
    elif int(number["bottom"]):
        value = int(number["whole"] or 0) + Fraction(int(number["top"]), int(number["bottom"]))
    else:
        return None
    return -value if number["sign"] else value


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
