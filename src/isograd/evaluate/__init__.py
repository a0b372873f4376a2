"""Measuring students: answers, accuracy, Logical Consistency Score, statistics. Names load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isograd.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from isograd.evaluate.probe import probe_student
    from isograd.evaluate.suite import evaluate_student, load_student

METRICS_FORMAT = 3
"""Of ``metrics.json``; a run whose measurements are in another one is measured again."""

__all__ = ["evaluate_student", "load_student", "probe_student"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "evaluate_student": "isograd.evaluate.suite",
        "load_student": "isograd.evaluate.suite",
        "probe_student": "isograd.evaluate.probe",
    },
)
