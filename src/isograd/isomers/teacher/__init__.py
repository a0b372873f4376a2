"""The LLM pipeline abstract -> transpose -> verify; its client speaks to any OpenAI-compatible chat server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isograd.common.lazy import lazy_attributes
from isograd.isomers.teacher.messages import (
    KeyRefusedError,
    Message,
    NotFoundError,
    QuotaSpentError,
    Reply,
    Request,
    RequestRefusedError,
    RequestTooLongError,
    TeacherError,
    TeacherUnavailable,
)

if TYPE_CHECKING:
    from isograd.isomers.teacher.client import TeacherClient, api_key_from_environment
    from isograd.isomers.teacher.concurrency import AdaptiveLimit
    from isograd.isomers.teacher.costs import BudgetSpent, Estimate, Prices, Spending, estimate
    from isograd.isomers.teacher.structured import Unusable, parse_structured

__all__ = [
    "AdaptiveLimit",
    "BudgetSpent",
    "Estimate",
    "KeyRefusedError",
    "Message",
    "NotFoundError",
    "Prices",
    "QuotaSpentError",
    "Reply",
    "Request",
    "RequestRefusedError",
    "RequestTooLongError",
    "Spending",
    "TeacherClient",
    "TeacherError",
    "TeacherUnavailable",
    "Unusable",
    "api_key_from_environment",
    "estimate",
    "parse_structured",
]

# These need httpx, tenacity or json-repair, which describing calls does not.
__getattr__, _ = lazy_attributes(
    __name__,
    {
        "AdaptiveLimit": "isograd.isomers.teacher.concurrency",
        "BudgetSpent": "isograd.isomers.teacher.costs",
        "Estimate": "isograd.isomers.teacher.costs",
        "Prices": "isograd.isomers.teacher.costs",
        "Spending": "isograd.isomers.teacher.costs",
        "TeacherClient": "isograd.isomers.teacher.client",
        "Unusable": "isograd.isomers.teacher.structured",
        "api_key_from_environment": "isograd.isomers.teacher.client",
        "estimate": "isograd.isomers.teacher.costs",
        "parse_structured": "isograd.isomers.teacher.structured",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
