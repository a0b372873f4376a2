"""Range checks of method parameters: one line each, one wording for all methods."""

from __future__ import annotations

import math

from isograd.common.errors import UserError

__all__ = ["at_least", "non_negative", "one_of"]


def one_of(method: str, name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise UserError unless ``value`` is one of the words in ``allowed``."""
    if value not in allowed:
        words = ", ".join(repr(word) for word in allowed)
        raise UserError(f"{method}: {name} is {value!r}; use one of {words}")


def non_negative(method: str, name: str, value: object) -> None:
    """Raise UserError unless ``value`` is a finite number >= 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise UserError(f"{method}: {name} is {value!r}; use a finite number >= 0")


def at_least(method: str, name: str, value: object, smallest: int) -> None:
    """Raise UserError unless ``value`` is an integer >= ``smallest``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise UserError(f"{method}: {name} is {value!r}; use an integer >= {smallest}")
