"""Numbers and tables as the lab's pages show them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from isograd.lab.records import Record

__all__ = ["cell", "number", "one", "table"]


def number(value: float) -> str:
    """Three digits; 0 for what rounding leaves of nothing, a dash for what is not finite."""
    if not math.isfinite(value):
        return "-"
    return "0" if abs(value) < 1e-12 else f"{value:.3g}"


def cell(record: Record | None) -> str:
    """Mean and interval; a dash where there is nothing."""
    if record is None or not record.n:
        return "-"
    span = f" [{number(record.low)}, {number(record.high)}]" if math.isfinite(record.low) else ""
    return number(record.mean) + span


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of Markdown, an empty one at the end."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def one(found: Sequence[Record]) -> Record | None:
    """The first, if there is any."""
    return found[0] if found else None
