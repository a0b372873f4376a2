"""What a check can find."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Reason"]


class Reason(StrEnum):
    """Why a set is rejected (or, for ``*_unchecked``, what could not be checked and does not reject)."""

    GRAPH = "graph_invalid"
    HASH = "structure_hash"
    VALUE = "value_wrong"
    PROVENANCE = "provenance"
    DOMAIN = "domain_unknown"
    TEXT = "text_unreadable"
    STRUCTURE = "structure_differs"
    STRUCTURE_UNCHECKED = "structure_unchecked"
    GIVEN = "given_missing"
    STEP_NUMBER = "steps_number"
    STEP_ORDER = "steps_order"
    STEP_TEXT = "step_text"
    STEP_VALUE = "step_value"
    SPAN = "span"
    LABEL = "answer_label"
    ANSWER = "answer_wrong"
    ANSWERS = "answers_differ"
    ANSWER_UNCHECKED = "answer_unchecked"
    NOISE = "noise_claim"
    OVERLAP = "overlap"
    DUPLICATE = "duplicate"

    @property
    def rejects(self) -> bool:
        """Whether a set with this finding fails."""
        return self not in (Reason.STRUCTURE_UNCHECKED, Reason.ANSWER_UNCHECKED)


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        reason: machine-readable; a :class:`Reason` or a :class:`~isograd.isomers.verify.leakage.LeakReason`.
        where: the field, or the member's domain, it was found in.
        detail: what was found, in words.
    """

    reason: StrEnum
    where: str
    detail: str
