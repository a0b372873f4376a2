"""One color and one dash pattern per method, the same in every figure and table of a report."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BASE", "DASHES", "SLOTS", "Slot", "dash", "slot"]


class Slot(NamedTuple):
    """A color as hex, on light and on dark ground."""

    light: str
    dark: str


# Okabe and Ito's hues, darkened on light ground (and lightened on dark) to a contrast of at least 3 to 1.
SLOTS = (
    Slot("#0072b2", "#5ab4e8"),
    Slot("#cf5a00", "#f4914a"),
    Slot("#00805c", "#2fbf95"),
    Slot("#b04f8b", "#e39ac6"),
    Slot("#9a7000", "#e6b84a"),
    Slot("#4a3aa7", "#a99cf5"),
    Slot("#6b7a1e", "#bccb62"),
    Slot("#8a2540", "#e37f95"),
)
# The untrained student is a reference, not a rival: it stays gray.
BASE = Slot("#76808c", "#8b96a2")

# In points of matplotlib's (offset, (on, off, ...)) notation, which is also what SVG's stroke-dasharray takes.
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2))


def slot(index: int, *, base: bool) -> int:
    """The slot number of the method with this index; the untrained student has the number after the last."""
    return len(SLOTS) if base else index % len(SLOTS)


def dash(index: int) -> tuple[float, ...]:
    """The dash pattern of the method with this index; methods that share a color differ in it."""
    return DASHES[(index + index // len(SLOTS)) % len(DASHES)]
