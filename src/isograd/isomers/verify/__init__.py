"""Is a set sound, are its members told differently, and is it free of evaluation items?"""

from isograd.isomers.verify.checks import MAX_OVERLAP, Finding, Reason, check_set
from isograd.isomers.verify.leakage import EvaluationItem, Leak, LeakageIndex, LeakReason
from isograd.isomers.verify.verification import Verdict, Verification, Verifier, evaluation_items, verify_file

__all__ = [
    "MAX_OVERLAP",
    "EvaluationItem",
    "Finding",
    "Leak",
    "LeakReason",
    "LeakageIndex",
    "Reason",
    "Verdict",
    "Verification",
    "Verifier",
    "check_set",
    "evaluation_items",
    "verify_file",
]
