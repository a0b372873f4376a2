"""What is said to a teacher and what comes back: messages, requests, replies, and the ways a call can fail."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from isograd.common.errors import UserError

__all__ = [
    "KeyRefusedError",
    "Message",
    "NotFoundError",
    "QuotaSpentError",
    "Reply",
    "Request",
    "RequestRefusedError",
    "RequestTooLongError",
    "TeacherError",
    "TeacherUnavailable",
    "canonical_json",
]


class TeacherError(UserError):
    """A call that failed: one line that says what is wrong, where, and how to mend it.

    Attributes:
        fatal: whether every other call of the run would fail in the same way.
    """

    fatal: bool = True


class RequestRefusedError(TeacherError):
    """The server does not take this request (400, 422 and other client errors)."""

    fatal = False


class RequestTooLongError(TeacherError):
    """Prompt and ``max_tokens`` do not fit the model's context (400) or the server's body limit (413)."""

    fatal = False


class KeyRefusedError(TeacherError):
    """The key is missing or not allowed to use the model (401, 403)."""


class NotFoundError(TeacherError):
    """No such model, or no such path below the base URL (404 and redirects)."""


class QuotaSpentError(TeacherError):
    """The account has no money left (402, or 429 with ``insufficient_quota``): waiting does not help."""


class TeacherUnavailable(TeacherError):  # noqa: N818
    """No usable answer within the allowed tries. The call counts as unfinished and may be made again later."""

    fatal = False


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Request:
    """One call to the teacher.

    Attributes:
        stage: the stage of the pipeline that asks.
        version: the version of the stage's prompt; raised whenever the prompt changes.
        messages: the chat.
        schema: JSON schema of the answer, or ``None`` for free text.
        temperature: 0 for the most probable answer.
        max_tokens: limit of the answer in tokens, reasoning included.
        sample: tells repeated draws of one prompt apart.
        top_p: only the most probable tokens of this total probability are drawn; the server's own where ``None``.
    """

    stage: str
    version: int
    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None
    temperature: float = 0.0
    max_tokens: int = 2048
    sample: int = 0
    top_p: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields, as values that ``json.dumps`` takes, without a ``top_p`` that is not asked for."""
        plain: dict[str, Any] = json.loads(canonical_json(vars(self) | {"messages": list(map(asdict, self.messages))}))
        if self.top_p is None:
            del plain["top_p"]
        return plain

    def key(self, model: str) -> str:
        """Name of this call to ``model``: equal calls have equal keys, on every platform.

        Args:
            model: the model's name on the server.

        Returns:
            32 hexadecimal digits, BLAKE2b of the canonical JSON of everything that decides the answer.
        """
        whole = self.to_json() | {"model": model, "temperature": float(self.temperature)}
        return hashlib.blake2b(canonical_json(whole).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Reply:
    """What the teacher answered.

    Attributes:
        text: the answer without its reasoning; empty where the server sent none.
        reasoning: the model's thinking where it showed it, else ``None``.
        finish: why it ended: ``"stop"``, ``"length"`` (truncated), ``"content_filter"``, ``"refusal"``, another word of
            the server's, or ``"unknown"``.
        prompt_tokens: as the server reports them, else estimated.
        completion_tokens: as the server reports them (reasoning included), else estimated.
        seconds: duration of the try that succeeded.
        attempts: HTTP requests that this reply took.
    """

    text: str
    reasoning: str | None
    finish: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    attempts: int

    def to_json(self) -> dict[str, Any]:
        """The fields, as values that ``json.dumps`` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reply:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: the fields are not those of a reply.
        """
        try:
            return cls(**value)
        except TypeError as error:
            raise ValueError(f"not a stored reply: {error}") from None


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no blanks, ASCII only: equal values give equal text.

    Raises:
        ValueError: the value holds NaN or infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict)
