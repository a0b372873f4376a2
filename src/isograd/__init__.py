"""isograd: robust reasoning distillation.

Logical Isomer Sets, gradients and predictions that agree across domains, honest measurement. The public names below
load on first use: ``import isograd`` loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isograd.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from isograd.common.errors import UserError
    from isograd.distill import IsomerSFTConfig, IsomerSFTTrainer
    from isograd.evaluate import evaluate_student
    from isograd.isomers import Isomer, IsomerSet, create_isomers, load_isomers, save_isomers
    from isograd.report import build_report
    from isograd.student import student_path

__all__ = [
    "Isomer",
    "IsomerSFTConfig",
    "IsomerSFTTrainer",
    "IsomerSet",
    "UserError",
    "build_report",
    "create_isomers",
    "evaluate_student",
    "load_isomers",
    "save_isomers",
    "student_path",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Isomer": "isograd.isomers",
        "IsomerSet": "isograd.isomers",
        "create_isomers": "isograd.isomers",
        "load_isomers": "isograd.isomers",
        "save_isomers": "isograd.isomers",
        "IsomerSFTConfig": "isograd.distill",
        "IsomerSFTTrainer": "isograd.distill",
        "UserError": "isograd.common.errors",
        "build_report": "isograd.report",
        "evaluate_student": "isograd.evaluate",
        "student_path": "isograd.student",
    },
)
