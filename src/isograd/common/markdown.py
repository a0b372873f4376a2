"""Text of other people in Markdown files: none of its markup counts."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence

__all__ = ["as_text", "markdown_table", "without_html"]


def as_text(value: object) -> str:
    """One line in which no character is markup and none ends a table's cell, for cards that are shown rendered."""
    text = "".join(char if char.isprintable() else " " for char in str(value))
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|$&~" else char for char in text)


def without_html(value: object) -> str:
    """The text with its tags made visible, for files that are read as they are as often as rendered."""
    return html.escape(str(value), quote=False)


def _cell(value: object) -> str:
    return without_html(value).replace("|", "\\|")


def markdown_table(
    head: Sequence[object], rows: Iterable[Sequence[object]], *, cell: Callable[[object], str] = _cell
) -> list[str]:
    """The lines of a table.

    Args:
        head: the names of its columns.
        rows: the cells below them. Columns that begin with an int are set to the right.
        cell: escapes a cell, the header's too.
    """
    below = [list(row) for row in rows]
    rulers = ["---:" if type(value) is int else "---" for value in below[0]] if below else ["---"] * len(head)
    lines = [map(cell, head), rulers, *(map(cell, row) for row in below)]
    return [f"| {' | '.join(line)} |" for line in lines]
