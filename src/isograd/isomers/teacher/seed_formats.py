"""Rows of public benchmarks in their native formats, as problem and answer of a seed."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from isograd.common.errors import UserError
from isograd.isomers.benchmarks import FORMATS

__all__ = ["FORMS", "SeedItem", "boxed", "field_map", "listed", "plain_reader"]


class SeedItem(NamedTuple):
    """What a format's reader makes of one row."""

    problem: str
    answer: str
    choices: tuple[str, ...] | None = None
    rationale: str | None = None
    id: str | None = None


def listed(choices: Iterable[str]) -> str:
    """Choices as lines to put below a problem: ``A) ...``, as the benchmark readers write them."""
    return "".join(f"\n{letter}) {text}" for letter, text in zip(string.ascii_uppercase, choices, strict=False))


def boxed(solution: str) -> str:
    """The content of the last ``\\boxed{...}`` of a solution, braces balanced (or of ``\\boxed 5`` without braces).

    Raises:
        ValueError: there is none, or its braces are never closed.
    """
    found = list(re.finditer(r"\\(?:boxed|fbox)(?=[\s{])\s*", solution))
    if not found:
        raise ValueError("the solution has no \\boxed{...}")
    rest = solution[found[-1].end() :]
    if not rest.startswith("{"):
        return re.split(r"[\s$]", rest, maxsplit=1)[0].rstrip(".,")
    depth = 0
    # Escaped braces are set in the formula and open nothing.
    for brace in re.finditer(r"\\.|[{}]", rest, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return rest[1 : brace.start()].strip()
    raise ValueError("the braces of the last \\boxed{...} are never closed")


def _gsm8k(row: Mapping[str, Any]) -> SeedItem:
    if "####" not in row["answer"]:
        raise ValueError("the answer has no '####' before its number")
    gold = FORMATS["gsm8k"](row).answer
    # The calculator's marks, <<12/2=6>>, are no part of what is said.
    told = re.sub(r"<<[^<>]*>>", "", row["answer"].rsplit("####", 1)[0]).strip()
    return SeedItem(row["question"], gold, rationale=told or None)


def _math(row: Mapping[str, Any]) -> SeedItem:
    gold = row["answer"] if isinstance(row.get("answer"), str) else boxed(row["solution"])
    return SeedItem(row["problem"], gold, rationale=row.get("solution"), id=row.get("unique_id"))


def _logiqa2(row: Mapping[str, Any]) -> SeedItem:
    made, options = FORMATS["logiqa2"](row), tuple(row["options"])
    return SeedItem(made.prompt.removesuffix(f"{listed(options)}\n"), made.answer, options, id=row.get("id"))


def _reclor(row: Mapping[str, Any]) -> SeedItem:
    same = {"text": row["context"], "question": row["question"], "options": row["answers"], "answer": row["label"]}
    return _logiqa2({**same, "id": row.get("id_string")})


def _medqa(row: Mapping[str, Any]) -> SeedItem:
    made, options = FORMATS["medqa"](row), tuple(row["options"].values())
    if list(row["options"]) != list(string.ascii_uppercase[: len(options)]):
        raise ValueError("the options are not lettered A, B, C and so on")
    return SeedItem(made.prompt.removesuffix(f"{listed(options)}\n"), made.answer, options)


def _legalbench(row: Mapping[str, Any]) -> SeedItem:
    made = FORMATS["legalbench"](row)
    return SeedItem(made.prompt.removesuffix("\n"), made.answer, id=f"{row['task']}/{row['index']}")


def _arb(row: Mapping[str, Any]) -> SeedItem:
    options = tuple(row.get("Answer Candidates") or ()) or None
    gold = str(row["Final Answer"]).strip()
    return SeedItem(row["Problem Statement"], _letter(gold, options) if options else gold, options, id=row.get("_id"))


_TRUTHS: Final = {"true": "True", "false": "False", "unknown": "Unknown", "uncertain": "Unknown"}
"""FOLIO says Unknown in one split and Uncertain in the other, and means the same."""


def _folio(row: Mapping[str, Any]) -> SeedItem:
    premises = [row["premises"]] if isinstance(row["premises"], str) else row["premises"]
    asked = f"Is the following statement true, false, or unknown? {row['conclusion']}"
    return SeedItem("\n".join([*premises, asked]), _TRUTHS[row["label"].strip().lower()], id=row.get("example_id"))


def _statement(row: Mapping[str, Any]) -> SeedItem:
    options = dict(option.split(") ", 1) for option in row["options"])
    if row["answer"] not in options:
        raise ValueError(f"the answer {row['answer']!r} is none of the options")
    told = "\n".join(row.get("explanation", ())) or None
    gold = _TRUTHS[options[row["answer"]].lower()]
    return SeedItem(f"{row['context']}\n{row['question']}", gold, rationale=told, id=row.get("id"))


def _letter(answer: object, choices: tuple[str, ...]) -> str:
    """The letter of the right choice, from a letter, an index from 0, or the choice's own text."""
    letters = string.ascii_uppercase[: len(choices)]
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(letters):
        return letters[answer]
    if isinstance(answer, str) and len(answer) == 1 and answer in letters:
        return answer
    if isinstance(answer, str) and choices.count(answer) == 1:
        return letters[choices.index(answer)]
    raise ValueError(f"the answer {answer!r} is no letter, index or text of the {len(choices)} choices")


def plain_reader(fields: Mapping[str, str]) -> Callable[[Mapping[str, Any]], SeedItem]:
    """The reader of plain rows, by a map of :func:`field_map`."""

    def read(row: Mapping[str, Any]) -> SeedItem:
        found = {ours: row[theirs] for ours, theirs in fields.items()}
        options = found.get("choices")
        if isinstance(options, Mapping):
            options = options["text"] if isinstance(options.get("text"), list) else list(options.values())
        choices = tuple(options) if options else None
        gold = found["answer"]
        if choices:
            gold = _letter(gold, choices)
        elif isinstance(gold, int | float) and not isinstance(gold, bool):
            gold = str(gold)
        return SeedItem(found["problem"], gold, choices, found.get("rationale"), found.get("id"))

    return read


FORMS: Final[Mapping[str, Callable[[Mapping[str, Any]], SeedItem]]] = {
    "gsm8k": _gsm8k,
    "math": _math,
    "math500": _math,
    "logiqa2": _logiqa2,
    "reclor": _reclor,
    "arb": _arb,
    "folio": _folio,
    "proofwriter": _statement,
    "prontoqa": _statement,
    "medqa": _medqa,
    "legalbench": _legalbench,
}
"""Readers of rows by format name. Plain JSON lines are read by a field map instead."""

_FIELDS: Final = ("problem", "answer", "choices", "rationale", "id")


def field_map(text: str) -> dict[str, str]:
    """The fields of plain rows, from ``problem=question,answer=gold``.

    Raises:
        UserError: a field that seeds do not have, one named twice, or no problem or answer.
    """
    pairs = [pair.partition("=") for pair in text.split(",")]
    fields = {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
    usage = "write it as problem=question,answer=gold"
    for ours, theirs in fields.items():
        if ours not in _FIELDS or not theirs:
            raise UserError(f"field map {text!r}: {ours!r} cannot be read; {usage} (there are: {', '.join(_FIELDS)})")
    if len(fields) < len(pairs) or not {"problem", "answer"} <= fields.keys():
        raise UserError(f"field map {text!r}: problem and answer are needed, each field once; {usage}")
    return fields
