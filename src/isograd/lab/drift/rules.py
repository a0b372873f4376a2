"""The rules that the lab compares: published methods, and each mechanism switched on alone."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from isograd.reinforce.weights import METHODS, TokenWeights

__all__ = ["LADDER", "MECHANISMS", "REPAIRS"]

_FREE: Final = TokenWeights(clip="none", normalization="constant")

MECHANISMS: Final = MappingProxyType(
    {
        "token ratio alone": _FREE,
        "symmetric clipping alone": TokenWeights(clip="symmetric", normalization="constant"),
        "asymmetric clipping alone": TokenWeights(clip="asymmetric", normalization="constant"),
        "sequence coupling alone": TokenWeights(level="sequence", clip="none", normalization="constant"),
        "length normalization alone": TokenWeights(clip="none", normalization="completion"),
    }
)
"""One mechanism each, beside the importance ratio by token and a constant normalizer."""

LADDER: Final = MappingProxyType(
    {
        "GRPO": METHODS["grpo"],
        "Dr. GRPO": METHODS["dr_grpo"],
        "DAPO": METHODS["dapo"],
        "GSPO": METHODS["gspo"],
        "GRPO-fix": METHODS["grpo_fix"],
        "DFPO-min": METHODS["dfpo_min"],
        "DFPO-orthogonal": METHODS["dfpo_orthogonal"],
        # The published bounds suit ratios of long texts; in the lab they drop nearly all that is off-policy.
        "GSPO, bounds 0.2": TokenWeights(level="sequence"),
        # The controls: DFPO's ratios without its repair, and what cancels on shared tokens without any repair.
        "GSPO, no clipping": TokenWeights(level="sequence", clip="none"),
        "token ratio alone": _FREE,
    }
)
"""What is trained and compared. All divide advantages by the group's deviation."""

REPAIRS: Final = MappingProxyType(
    {
        "GRPO": TokenWeights(),
        "GRPO + orthogonal": TokenWeights(group="orthogonal"),
        "GRPO + min": TokenWeights(group="min_replace"),
        "GSPO, no clipping": TokenWeights(level="sequence", clip="none"),
        "GSPO, no clipping + orthogonal": TokenWeights(level="sequence", clip="none", group="orthogonal"),
        "GSPO, no clipping + min": TokenWeights(level="sequence", clip="none", group="min_replace"),
    }
)
"""A rule, and the same rule with cancellation restored and nothing else changed."""
