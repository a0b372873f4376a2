"""Texts of a file as pieces that can be shown: what a reader could not see, or be misled by, is made visible."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["Piece", "clean", "pieces", "shorten"]

# Controls but tab and line feed, soft hyphen, marks that turn the direction of writing, blanks without width,
# separators of lines that no editor shows, and tags. Joiners stay: some scripts, and emoji, are written with them.
_UNSEEN: Final = re.compile(
    r"([\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f])\1*"
)
_MOST_MARKS: Final = 500


class Piece(NamedTuple):
    """A piece of a text: ``kind`` is ``text``, ``value``, ``cue`` or ``unseen``; the latter's text is its name."""

    kind: str
    text: str


def pieces(text: str, *, value: tuple[int, int] | None = None, cue: str | None = None) -> list[Piece]:
    """A text cut up.

    Args:
        text: as it is in the file.
        value: start and end of the value that it states.
        cue: the word to mark.

    Returns:
        Pieces in order; none is empty.
    """
    cuts = [(*value, "value")] if value and value[0] < value[1] else []
    if cue:
        found = re.finditer(rf"(?<!\w){re.escape(cue)}(?!\w)", text)
        cuts += [(match.start(), match.end(), "cue") for _, match in zip(range(_MOST_MARKS), found, strict=False)]
    parts: list[Piece] = []
    at = 0
    for start, end, kind in sorted(cuts):
        if start < at:
            continue
        parts += [*_seen(text[at:start], "text"), *_seen(text[start:end], kind)]
        at = end
    return [*parts, *_seen(text[at:], "text")]


def _seen(text: str, kind: str) -> Iterable[Piece]:
    at = 0
    for match in _UNSEEN.finditer(text):
        if match.start() > at:
            yield Piece(kind, text[at : match.start()])
        count = match.end() - match.start()
        yield Piece("unseen", f"U+{ord(match[1]):04X}" + (f" ×{count}" if count > 1 else ""))
        at = match.end()
    if at < len(text):
        yield Piece(kind, text[at:])


def clean(text: str) -> str:
    """One line for a title, a label or a drawing: what cannot be seen is replaced."""
    return " ".join(_UNSEEN.sub("\ufffd", text).split())


def shorten(text: str, length: int) -> str:
    """:func:`clean`, and cut at a length."""
    text = clean(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"
