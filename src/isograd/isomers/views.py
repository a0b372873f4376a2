"""Isomer sets as the rows that trainers take: supervised fine-tuning, and prompts with what a reward needs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from isograd.common.errors import UserError
from isograd.common.files import write_lines
from isograd.isomers.reading import PARQUET, suffix_of
from isograd.isomers.schema import Isomer, IsomerSet

__all__ = ["VIEWS", "save_view", "to_prompts", "to_rows", "true_answer"]


def true_answer(isomer_set: IsomerSet, member: Isomer) -> str:
    """The right answer, in the words of the set's labels, whatever the member states.

    It is the GOAL's value where the graph has one: a text as it is, a truth value as the first (false) or second (true)
    of two labels, a number in digits. Where the graph has none, or one that is none of the labels, nobody can tell and
    the stated answer is returned.
    """
    value, labels = isomer_set.graph.goal.value, isomer_set.labels
    if value is None:
        return member.answer
    answer = labels[value] if isinstance(value, bool) and len(labels) == 2 else str(value)
    return answer if not labels or answer in labels else member.answer


def to_rows(sets: Iterable[IsomerSet]) -> list[dict[str, Any]]:
    """Flatten sets to rows for supervised fine-tuning, members of a set side by side.

    Returns:
        One dict a member: ``prompt``, ``completion``, ``domain``, ``set_id``, ``family``, and ``spans``: a list of
        ``[start, end]`` in the completion, aligned over the members of a set, the answer's last.
    """
    return [
        {
            "prompt": member.prompt,
            "completion": member.completion,
            "domain": member.domain,
            "set_id": isomer_set.id,
            "family": isomer_set.family,
            "spans": [[span.start, span.end] for span in member.spans],
        }
        for isomer_set in sets
        for member in isomer_set.members
    ]


def to_prompts(sets: Iterable[IsomerSet]) -> list[dict[str, Any]]:
    """Flatten sets to prompts for reinforcement learning (TRL's GRPO), members of a set side by side.

    Returns:
        One dict a member: ``prompt``, and the columns that TRL hands to reward functions: ``answer`` (the *true* one,
        see :func:`true_answer`), ``labels``, ``domain``, ``set_id``, ``family`` and ``structure``.
    """
    return [
        {
            "prompt": member.prompt,
            "answer": true_answer(isomer_set, member),
            "labels": list(isomer_set.labels),
            "domain": member.domain,
            "set_id": isomer_set.id,
            "family": isomer_set.family,
            "structure": isomer_set.structure,
        }
        for isomer_set in sets
        for member in isomer_set.members
    ]


VIEWS: Final[Mapping[str, Callable[[Iterable[IsomerSet]], list[dict[str, Any]]]]] = {
    "sft": to_rows,
    "grpo": to_prompts,
}
"""Flattening functions by view name."""


def save_view(sets: Iterable[IsomerSet], path: str | os.PathLike[str], view: str) -> int:
    """Write the rows of a view, atomically and in little memory; returns how many.

    Args:
        sets: any iterable; it is gone through once.
        path: its suffix says the format, ``.jsonl`` or ``.parquet``.
        view: one of :data:`VIEWS`.

    Raises:
        UserError: an unknown view or suffix.
    """
    if view not in VIEWS:
        raise UserError(f"unknown view {view!r}; there are: sets, {', '.join(VIEWS)}")
    rows: Iterator[dict[str, Any]] = (row for isomer_set in sets for row in VIEWS[view]([isomer_set]))
    if suffix_of(path) == PARQUET:
        from isograd.isomers.arrow import VIEW_SCHEMAS, write_parquet

        return write_parquet(rows, path, VIEW_SCHEMAS[view])
    return write_lines((json.dumps(row, ensure_ascii=False) for row in rows), path)
