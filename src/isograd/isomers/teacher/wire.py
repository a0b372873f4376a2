"""The wire format of OpenAI-compatible chat servers: addresses, requests in a server's dialect, completions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

import httpx

from isograd.common.errors import UserError
from isograd.common.seeding import derive_seed
from isograd.isomers.teacher.messages import Request

__all__ = ["Completion", "Dialect", "address", "model_names", "nearest", "read_completion", "split_reasoning"]

_FORMATS = ("json_schema", "json_object", "")


@dataclass(frozen=True)
class Dialect:
    """What a server is known to take: tried from the first, remembered once a lesser one has worked.

    Attributes:
        format: type of ``response_format`` where a request has a schema; empty for none.
        limit: the field of ``max_tokens``.
        seed: whether a sampling seed is sent at a temperature above 0, so that repeated samples differ everywhere.
    """

    format: str = _FORMATS[0]
    limit: str = "max_tokens"
    seed: bool = True

    def lesser(self, status: int, words: str, request: Request) -> Dialect | None:
        """What to try after a refusal, or ``None`` where the refusal is about something else."""
        if status not in (400, 422, 501):
            return None
        if self.limit == "max_tokens" and "max_completion_tokens" in words:
            return replace(self, limit="max_completion_tokens")
        about_format = any(word in words for word in ("response_format", "json_schema", "json_object", "grammar"))
        if request.schema is not None and self.format and about_format:
            return replace(self, format=_FORMATS[_FORMATS.index(self.format) + 1])
        if self.seed and request.temperature > 0 and "seed" in words:
            return replace(self, seed=False)
        return None

    def meet(self, other: Dialect) -> Dialect:
        """What both dialects take."""
        return Dialect(
            max(self.format, other.format, key=_FORMATS.index),
            min(self.limit, other.limit),  # max_completion_tokens, where either says so
            self.seed and other.seed,
        )

    def body(self, request: Request, model: str, seed: int) -> dict[str, Any]:
        """The JSON of a call.

        Args:
            request: the call.
            model: the model's name on the server.
            seed: of the sampling seeds.
        """
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "temperature": request.temperature,
            self.limit: request.max_tokens,
            "stream": False,
        }
        if request.top_p is not None:
            body["top_p"] = request.top_p
        if request.temperature > 0 and self.seed:
            body["seed"] = derive_seed("teacher", "sampling", seed, request.key(model)) % 2**31
        if request.schema is not None and self.format:
            body["response_format"] = {"type": self.format}
            if self.format == "json_schema":
                body["response_format"]["json_schema"] = {
                    "name": "".join(c if c.isascii() and c.isalnum() else "_" for c in request.stage)[:64] or "answer",
                    "schema": request.schema,
                    "strict": _is_strict(request.schema),
                }
        return body


def address(base_url: str) -> str:
    """The base URL in the one form that paths are added to.

    Raises:
        UserError: it is no address, or holds what is no part of one; secrets in it are not shown.
    """
    try:
        parts = urlsplit(base_url.strip())
        host = parts.hostname
        _ = parts.port, httpx.URL(base_url.strip())  # raise where a part is not well formed
    except (ValueError, httpx.InvalidURL):
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise UserError(f"base URL {_without_user(base_url)!r}: give one like http://localhost:8000/v1")
    if "@" in parts.netloc:
        raise UserError(
            f"base URL {_without_user(base_url)!r}: it holds a user or password; set ISOGRAD_API_KEY instead"
        )
    if parts.query or parts.fragment:
        raise UserError(f"base URL at {host!r}: leave out what follows ? or #")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _without_user(base_url: str) -> str:
    return base_url.rpartition("@")[2].partition("?")[0]


def nearest(model: str, names: Sequence[str]) -> str:
    """Which of the server's models may be meant, as the end of a sentence."""
    lower = {name.lower(): name for name in names}
    near = get_close_matches(model.lower(), lower, n=1, cutoff=0.4)
    near = near or [name for name in lower if model.lower() in name or name in model.lower()]
    if near:
        return f"did you mean --model {lower[near[0]]!r}?"
    return f"the server has {', '.join(map(repr, names[:5]))}{', ...' if len(names) > 5 else ''}"


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes the schema: every object is closed and requires all its properties."""
    if isinstance(schema, list | tuple):
        return all(map(_is_strict, schema))
    if not hasattr(schema, "items"):
        return True
    if "properties" in schema or schema.get("type") == "object":
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("properties", ())) != set(schema.get("required", ())):
            return False
    return all(_is_strict(part) for part in schema.values())


def model_names(content: bytes) -> list[str]:
    """The models that the body of ``/models`` lists, or none where it is no such list."""
    try:
        data = json.loads(content)["data"]
        return [entry["id"] for entry in data if isinstance(entry["id"], str)]
    except (ValueError, RecursionError, TypeError, KeyError):
        return []


@dataclass(frozen=True)
class Completion:
    """The parts of a chat completion that matter here; token counts are ``None`` where the server reports none."""

    text: str
    reasoning: str | None
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None


def read_completion(body: Any, max_tokens: int) -> Completion:
    """Read the JSON body of ``/chat/completions``.

    Args:
        body: the decoded JSON.
        max_tokens: the request's limit, to recognise a truncation that the server does not report.

    Raises:
        ValueError: the body is no chat completion.
    """
    if not isinstance(body, dict):
        raise ValueError("the body is no JSON object")
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError(f"the body has no choices{_said(body.get('error'))}")
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise ValueError("the first choice has no message")

    text, finish = _text(message.get("content")), choices[0].get("finish_reason")
    field = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
    usage = body["usage"] if isinstance(body.get("usage"), dict) else {}
    completion_tokens = _count(usage.get("completion_tokens"))
    if not isinstance(finish, str) or not finish:
        full = completion_tokens is not None and completion_tokens >= max_tokens
        finish = "length" if full else "unknown"
    if not text and (refusal := _text(message.get("refusal"))):
        text, finish = refusal, "refusal"
    thought, text = split_reasoning(text, orphan=not field)
    reasoning = "\n".join(part for part in (field, thought) if part) or None
    return Completion(text, reasoning, finish, _count(usage.get("prompt_tokens")), completion_tokens)


_THINK = re.compile(r"\s*<(think|thinking)>")


def split_reasoning(text: str, orphan: bool = True) -> tuple[str | None, str]:
    """Part a ``<think>...</think>`` prefix from the answer.

    Chat templates that open the tag in the prompt leave only ``</think>`` in the answer; a tag that is never closed
    means that the model ended while it was thinking.

    Args:
        text: the content of a message.
        orphan: whether a closing tag without an opening one counts too.

    Returns:
        The reasoning, or ``None``, and the answer.
    """
    opening = _THINK.match(text)
    if opening is not None:
        thought, closing, answer = text[opening.end() :].partition(f"</{opening[1]}>")
        return thought.strip() or None, answer.lstrip() if closing else ""
    if orphan and not text.lstrip().startswith(("{", "[", "```")):
        thought, closing, answer = text.partition("</think>")
        if closing:
            return thought.strip() or None, answer.lstrip()
    return None, text


def _text(content: Any) -> str:
    """Content as text: a string, a list of parts, or nothing. Lone surrogates, which no file can hold, are replaced."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str):
        return ""
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _said(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message")
    return f" but an error: {error}" if isinstance(error, str) else ""
