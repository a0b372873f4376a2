"""Range checks of method parameters: one line each, one wording for all methods."""

from __future__ import annotations

import math

from isograd.common.errors import UserError

__all__ = ["at_least", "boolean", "fraction", "fraction_or_one", "non_negative", "one_of", "positive", "unused"]


def one_of(method: str, name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise UserError unless ``value`` is one of the words in ``allowed``."""
    if value not in allowed:
        words = ", ".join(repr(word) for word in allowed)
        raise UserError(f"{method}: {name} is {value!r}; use one of {words}")


def boolean(method: str, name: str, value: object) -> None:
    """Raise UserError unless ``value`` is true or false."""
    if not isinstance(value, bool):
        raise UserError(f"{method}: {name} is {value!r}; use true or false")


def non_negative(method: str, name: str, value: object) -> None:
    """Raise UserError unless ``value`` is a finite number >= 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise UserError(f"{method}: {name} is {value!r}; use a finite number >= 0")


def at_least(method: str, name: str, value: object, smallest: int) -> None:
    """Raise UserError unless ``value`` is an integer >= ``smallest``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
        raise UserError(f"{method}: {name} is {value!r}; use an integer >= {smallest}")


def fraction(method: str, name: str, value: object) -> None:
    """Raise UserError unless ``value`` is a number from 0 up to, but not including, 1."""
    non_negative(method, name, value)
    if not isinstance(value, int | float) or value >= 1:
        raise UserError(f"{method}: {name} is {value!r}; use a number in [0, 1)")


def fraction_or_one(method: str, name: str, value: object) -> None:
    """Raise UserError unless ``value`` is a number in [0, 1]."""
    non_negative(method, name, value)
    if not isinstance(value, int | float) or value > 1:
        raise UserError(f"{method}: {name} is {value!r}; use a number in [0, 1]")


def positive(method: str, name: str, value: object) -> None:
    """Raise UserError unless ``value`` is a finite number > 0."""
    non_negative(method, name, value)
    if value == 0:
        raise UserError(f"{method}: {name} is {value!r}; use a finite number > 0")


def unused(method: str, params: object, names: tuple[str, ...], where: str) -> None:
    """Raise UserError unless those of a dataclass's fields that do nothing ``where`` have their defaults."""
    for name in names:
        value = getattr(params, name)
        if value != getattr(type(params), name):
            raise UserError(f"{method}: {name} is {value!r}, but does nothing with {where}; leave {name} out")
