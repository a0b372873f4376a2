"""What a teacher replies at each stage, and when two answers are the same one.

The models say what a reply must hold to be read at all; whether it makes sense is for
:mod:`~isograd.isomers.teacher.abstraction` and :mod:`~isograd.isomers.teacher.assemble`. A field that
nobody asked for is ignored: teachers add remarks.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from isograd.isomers.schema import NodeType, Value
from isograd.isomers.verify.values import number

__all__ = [
    "REPLIES",
    "AbstractReply",
    "AnswerMap",
    "EdgeReply",
    "NodeReply",
    "SolveReply",
    "StepReply",
    "TransposeReply",
    "VerifyReply",
    "agreement",
    "reply_schema",
]

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Score = Annotated[float, Field(ge=0, le=1)]


def _as_text(value: object) -> object:
    # Teachers write 18 where "18" is asked for; a number as it stands in JSON is its own text.
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int | float) else value


Said = Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]


class _Reply(BaseModel):
    # NaN and infinity are Python's, not JSON's.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class NodeReply(_Reply):
    """A node of the graph that a problem was abstracted to; ``op`` is null for what the problem gives."""

    id: Name
    type: NodeType
    description: Annotated[str, Field(max_length=1000)] = ""
    op: Name | None = None
    args: Annotated[tuple[Name, ...], Field(max_length=40)] = ()
    value: Value | None = None


class EdgeReply(_Reply):
    """``target`` needs ``source`` in a role."""

    source: Name
    target: Name
    role: Name


class AbstractReply(_Reply):
    """A problem as a graph. Forty nodes are many more than a seed has; comparing large graphs can take hours."""

    nodes: Annotated[tuple[NodeReply, ...], Field(min_length=1, max_length=40)]
    edges: Annotated[tuple[EdgeReply, ...], Field(max_length=160)]


class StepReply(_Reply):
    """One line of a chain of thought: its text, the node that it derives, and the value as the text writes it."""

    text: Text
    node: Name
    value: Said


class TransposeReply(_Reply):
    """A graph told in another domain; ``choices`` where the original has some, else empty."""

    problem: Text
    choices: Annotated[tuple[Text, ...], Field(max_length=26)] = ()
    steps: Annotated[tuple[StepReply, ...], Field(max_length=40)]
    answer: Said
    alignment_score: Score


class VerifyReply(_Reply):
    """The teacher's own comparison of a graph and a telling of it."""

    dependencies_preserved: bool
    same_steps: bool
    same_chain: bool
    alignment_score: Score
    issues: Annotated[tuple[Annotated[str, Field(max_length=2000)], ...], Field(max_length=40)] = ()


class SolveReply(_Reply):
    """A solution by someone who sees nothing but the problem."""

    steps: Annotated[tuple[Text, ...], Field(max_length=60)] = ()
    answer: Said


REPLIES: Final[Mapping[str, type[_Reply]]] = {
    "abstract": AbstractReply,
    "transpose": TransposeReply,
    "verify": VerifyReply,
    "solve": SolveReply,
    "repair": TransposeReply,
}
"""The reply of each stage."""

_BOUNDS: Final = frozenset(
    [
        "default",
        "title",
        "description",
        "maxLength",
        "minLength",
        "maxItems",
        "minItems",
        "maximum",
        "minimum",
        "pattern",
    ]
)


@functools.cache
def reply_schema(stage: str) -> dict[str, Any]:
    """The JSON schema of a stage's reply, in the subset that providers' structured outputs agree on.

    Every field is required and no other is allowed; bounds are left out and checked when the reply is read. One
    object for all who ask: do not change it.
    """
    plain: dict[str, Any] = _strict(REPLIES[stage].model_json_schema())
    return plain


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # Fields of a reply can be called as keywords are (a node has a description): names are no keywords.
    made = {
        key: {name: _strict(inner) for name, inner in value.items()}
        if key in ("properties", "$defs")
        else _strict(value)
        for key, value in schema.items()
        if key not in _BOUNDS
    }
    if "properties" in made:
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return made


# A number in a sentence's clothes: $1,250.00 or 12 cows; but not "3 of 4" nor "about 12".
_DRESSED: Final = re.compile(r"[$€£]?\s*([+-]?[0-9][0-9.,]*[0-9]|[+-]?[0-9])(?:\s*%|\s+[^\W\d_]{2}[^\d]*)?")
_LETTERED: Final = re.compile(r"\(?([A-Za-z])(?:\)|[.:)](?:\s.*)?|\)\s.*)?", re.DOTALL)


@dataclass(frozen=True)
class AnswerMap:
    """How answers of one seed are written: by the benchmark, by the graph's goal, by the members of its set.

    Attributes:
        labels: the possible answers, as members state them; empty where any number or text can be one.
        words: other words for a label, small letters.
        choices: the texts of the options, where the labels are their letters.
    """

    labels: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, answer: str, choices: Sequence[str] | None = None) -> AnswerMap:
        """The map that a gold answer, and its choices if there are any, call for.

        Choices are answered by letter. True, False and Unknown are told as yes, no and unknown: what the operator
        ``verdict`` gives. Yes and no are two labels, for a truth value or a word. Everything else is free.
        """
        if choices:
            return cls(tuple(string.ascii_uppercase[: len(choices)]), choices=tuple(choices))
        if answer.lower() in ("true", "false", "unknown", "uncertain"):
            other = {"true": "yes", "false": "no", "uncertain": "unknown", "t": "yes", "f": "no", "u": "unknown"}
            return cls(("yes", "no", "unknown"), other)
        if answer.lower() in ("yes", "no"):
            # In this order: the first of two labels is what a graph says with false.
            return cls(("no", "yes"), {"true": "yes", "false": "no"})
        return cls()

    def written(self, value: Value) -> str:
        """An answer as members state it: a number in plain digits, a label, or a text as it is."""
        if isinstance(value, bool):
            value = "yes" if value else "no"
        if isinstance(value, int | float):
            return _digits(Decimal(repr(value)))
        text = " ".join(value.split())
        bare = text.rstrip(".")
        if self.choices:
            letter = _LETTERED.fullmatch(bare) or _LETTERED.fullmatch(text)
            if letter and letter[1].upper() in self.labels:
                return letter[1].upper()
            same = [choice.strip().rstrip(".").casefold() == bare.casefold() for choice in self.choices]
            return self.labels[same.index(True)] if same.count(True) == 1 else text
        if self.labels:
            word = bare.casefold()
            return word if word in self.labels else self.words.get(word, text)
        dressed = _DRESSED.fullmatch(bare)
        read = number(dressed[1].rstrip(",")) if dressed else None
        return text if read is None else _digits(read)

    def same(self, first: Value, second: Value) -> bool:
        """Whether two answers are one: numbers compared as numbers, choices as letters, texts but for capitals."""
        return self.written(first).casefold().rstrip(".") == self.written(second).casefold().rstrip(".")


def _digits(read: Decimal) -> str:
    text = f"{read:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text.removeprefix("+")


def agreement(answers: Iterable[str], gold: str, choices: Sequence[str] | None = None) -> bool:
    """Whether the majority of independent solutions, more than half of all of them, equal the given answer."""
    answers, map_ = list(answers), AnswerMap.of(gold, choices)
    return 2 * sum(map_.same(answer, gold) for answer in answers) > len(answers)
