"""From a teacher's words to a validated object, or to the reason why there is none. No text makes it raise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import json_repair
import pydantic_core
from pydantic import BaseModel, ValidationError

from isograd.isomers.teacher.messages import Reply

__all__ = ["Unusable", "parse_structured"]

T = TypeVar("T", bound=BaseModel)

_REPAIR_CHARACTERS = 50_000
_REPAIR_DEPTH = 64
"""Beyond these json-repair takes minutes; an honest answer is far below both."""
_FENCES = 8
_DETAIL = 300
_REFUSAL = re.compile(
    r"(i('m| am) (very )?sorry|sorry|i apologi[sz]e|i('m| am) unable|i (can't|cannot|won't)|as an ai)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Unusable:
    """Why a reply gives no object.

    Attributes:
        kind: ``empty``; ``truncated`` (ask again with more tokens); ``not_json``; ``wrong_shape`` (JSON, but not of the
            model); ``refused`` (the teacher will not answer).
        detail: one line; for a wrong shape the paths of the fields.
    """

    kind: Literal["empty", "truncated", "not_json", "wrong_shape", "refused"]
    detail: str


def parse_structured(reply: Reply, model: type[T]) -> T | Unusable:
    """Read the object that a reply holds.

    Tried in this order: the text as strict JSON, its fenced blocks (the last one first, since a teacher that corrects
    itself does so at the end), the text from the first bracket to the last, then json-repair. A reply that ran into its
    token limit counts only where the JSON is whole and ends the text: a repaired fragment would be silently short.

    Args:
        reply: the teacher's reply.
        model: the pydantic model; it validates whatever was found, in JSON mode.

    Returns:
        An instance of ``model``, or why there is none. Raises nothing on any text; what a validator of ``model`` raises
        beside ``ValueError`` and ``AssertionError`` is the model's bug and passes.
    """
    # Lone surrogates, which pydantic's parser does not take, become question marks.
    text = reply.text.encode("utf-8", "replace").decode().strip("\ufeff \t\r\n")
    truncated = reply.finish == "length"
    if not text:
        if truncated:
            return Unusable("truncated", "the token limit was reached before the answer began")
        if reply.finish in ("content_filter", "refusal"):
            return Unusable("refused", f"the server ended the answer: {reply.finish}")
        return Unusable("empty", "the answer is empty")

    fault: Unusable | None = None
    for candidate in _candidates(text, truncated):
        outcome = _validated(candidate, model)
        if not isinstance(outcome, Unusable):
            return outcome
        if fault is None or (fault.kind == "not_json" and outcome.kind == "wrong_shape"):
            fault = outcome
    if fault is not None and fault.kind == "wrong_shape":
        return fault
    if truncated:
        return Unusable("truncated", f"the answer ends at its limit, after {reply.completion_tokens} tokens")
    if reply.finish in ("content_filter", "refusal") or _REFUSAL.match(text):
        return Unusable("refused", _line(text))

    repaired = _repaired(text)
    if repaired is None:
        return fault or Unusable("not_json", _line(text))
    outcome = _validated(repaired, model)
    if isinstance(outcome, Unusable) and outcome.kind == "wrong_shape":
        return Unusable("wrong_shape", f"after repair: {outcome.detail}")
    return outcome


def _candidates(text: str, truncated: bool) -> Iterator[str]:
    """Texts that may be strict JSON, best first."""
    if not truncated or text[0] in "{[":  # a number or a string may be cut and still be JSON
        yield text
    blocks, closed = _fenced(text)
    if truncated:
        if blocks and closed:
            yield blocks[-1]
        return
    yield from reversed(blocks[-_FENCES:])
    bracketed = _bracketed(text)
    if bracketed and bracketed != text:
        yield bracketed


def _fenced(text: str) -> tuple[list[str], bool]:
    """The fenced blocks, and whether the text ends with the last one's closing fence."""
    blocks: list[str] = []
    inside: list[str] | None = None
    closed = False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            if inside is None:
                inside, closed = [], False
            else:
                blocks.append("\n".join(inside))
                inside, closed = None, True
        elif inside is not None:
            inside.append(line)
        elif line.strip():
            closed = False
    return [block for block in blocks if block.strip()], closed


def _bracketed(text: str) -> str:
    """From the first opening bracket to the last closing one."""
    starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
    return text[min(starts) : max(text.rfind("}"), text.rfind("]")) + 1] if starts else ""


def _validated(text: str, model: type[T]) -> T | Unusable:
    """Strict JSON into the model. pydantic's parser bounds depth by itself and raises no RecursionError."""
    try:
        pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError as error:
        return Unusable("not_json", _line(str(error)))
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        named = [f"{_line('.'.join(map(str, fault['loc'])), 80) or 'whole'}: {fault['msg']}" for fault in faults[:3]]
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        return Unusable("wrong_shape", _line("; ".join(named)) + more)
    except RecursionError:
        return Unusable("wrong_shape", "the answer is nested too deeply")


def _repaired(text: str) -> str | None:
    """What json-repair makes of the text, as JSON; ``None`` where it holds no object and no list."""
    blocks, _ = _fenced(text)
    source = next((block for block in reversed(blocks) if "{" in block or "[" in block), text)
    starts = [place for place in (source.find("{"), source.find("[")) if place >= 0]
    if not starts:
        return None
    source = source[min(starts) :]
    if len(source) > _REPAIR_CHARACTERS or _depth(source) > _REPAIR_DEPTH:
        return None
    try:
        value: Any = json_repair.repair_json(source, return_objects=True, skip_json_loads=True)
        return json.dumps(value, allow_nan=False) if isinstance(value, dict | list) and value else None
    except Exception:  # a fallback on broken text: whatever it stumbles over, the text stays "not_json"
        return None


def _depth(text: str) -> int:
    """The deepest nesting of brackets, strings not told apart."""
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _line(text: str, most: int = _DETAIL) -> str:
    """Text as one clipped, printable line."""
    line = " ".join(text[: 4 * most].split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= most and len(text) <= 4 * most else line[: most - 3] + "..."
