"""How a command ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    told: str
    errors: str


Isograd = Callable[..., Done]
