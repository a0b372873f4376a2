"""What the rewards share: the call that TRL makes, verdicts, and what they are worth."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from isograd.common.errors import UserError

__all__ = ["Batch", "Reward", "Verdict", "column_of", "gold_text", "log_metric", "require_finite", "text_of"]


class Verdict(StrEnum):
    """What a completion's answer is, compared with the gold one."""

    RIGHT = "right"
    WRONG = "wrong"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Batch:
    """Completions that have a gold answer.

    Attributes:
        texts: completions.
        golds: their gold answers, none empty.
        rows: their places among all that TRL handed over.
        columns: all that TRL handed over but the completions, whole.
    """

    texts: Sequence[str]
    golds: Sequence[str]
    rows: Sequence[int]
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Reward(ABC):
    """A reward function for TRL's ``GRPOTrainer``: ``reward_funcs=[reward]``.

    TRL calls it with ``prompts``, ``completions``, ``completion_ids``, every further column of the dataset as a list of
    the same length, and helpers of its own. It returns one finite float a completion, or ``None`` where the row has no
    gold answer (TRL leaves such a row out). No text makes it raise.

    Args:
        column: where the gold answers stand: texts or numbers; what is neither, or empty, is no gold answer.
        right, wrong, unreadable: what the three verdicts are worth; unreadable is a completion without an answer.
        name: what TRL logs it as; give two of a kind different names.

    Raises:
        UserError: a worth that is not finite; when called, no such column.
    """

    column: str = "answer"
    right: float = 1.0
    wrong: float = 0.0
    unreadable: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        require_finite(self.__name__, right=self.right, wrong=self.wrong, unreadable=self.unreadable)

    # TRL takes the name of a reward from here; that of the class stays the class's own.
    @property
    def __name__(self) -> str:
        return self.name or self._default_name()

    @abstractmethod
    def _default_name(self) -> str: ...

    @abstractmethod
    def judge(self, batch: Batch) -> list[Verdict]:
        """One verdict for each completion of the batch."""

    def verdicts(self, completions: Sequence[Any], columns: Mapping[str, Any]) -> list[Verdict | None]:
        """One verdict a completion, ``None`` where it has no gold answer; arguments as TRL hands them over."""
        golds = [gold_text(value) for value in column_of(self.__name__, columns, self.column, len(completions))]
        rows = [row for row, gold in enumerate(golds) if gold is not None]
        texts = [text_of(completions[row]) for row in rows]
        found = self.judge(Batch(texts, [gold for gold in golds if gold is not None], rows, columns))
        verdicts: list[Verdict | None] = [None] * len(golds)
        for row, verdict in zip(rows, found, strict=True):
            verdicts[row] = verdict
        return verdicts

    def worth(self, verdict: Verdict | None) -> float | None:
        """What a verdict is worth."""
        return None if verdict is None else float(getattr(self, verdict.value))

    def __call__(self, *, completions: Sequence[Any], **columns: Any) -> list[float | None]:
        return [self.worth(verdict) for verdict in self.verdicts(completions, columns)]


def require_finite(name: str, **values: float) -> None:
    """Refuse a setting that is no finite number.

    Raises:
        UserError: names the reward and the setting.
    """
    for setting, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{name}: {setting} is {value!r}; give a finite number")


def column_of(name: str, columns: Mapping[str, Any], column: str, length: int) -> Sequence[Any]:
    """A column of the dataset, one value a completion.

    Raises:
        UserError: the dataset has none of this name, or it is not as long as the batch.
    """
    values = columns.get(column)
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != length:
        there = ", ".join(sorted(key for key, value in columns.items() if isinstance(value, list)))
        raise UserError(f"{name}: needs the column {column!r} with {length} values; there are: {there or 'none'}")
    return values


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or of a chat what the assistant said last; empty where there is none."""
    if isinstance(completion, str):
        return completion
    if not isinstance(completion, Sequence):
        return ""
    for message in reversed(completion):
        # What a tool or the user said is no answer of the model's.
        if isinstance(message, Mapping) and message.get("role", "assistant") == "assistant":
            return _content(message.get("content"))
    return ""


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return "".join(part for part in parts if isinstance(part, str))


def gold_text(value: Any) -> str | None:
    """A gold answer as text, or ``None`` where it is neither a text nor a finite number, or empty."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, bool | int | float):
        return None
    try:
        return str(value)
    except ValueError:
        # Python refuses to print integers of more than 4300 digits.
        return None


def log_metric(columns: Mapping[str, Any], name: str, value: float) -> None:
    """Log a number of this batch, where the trainer offers it."""
    log = columns.get("log_metric")
    if callable(log):
        log(name, value)
