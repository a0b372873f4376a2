"""Gradient methods: pure functions of per-domain losses and gradients. Needs torch, and nothing of Hugging Face.

A new method is one module here with a frozen dataclass of its hyperparameters, and one line in the registry.
"""

from isograd.gradients._base import LocalMethod, LossMethod, Method
from isograd.gradients._consistency import CONSISTENCY, jensen_shannon, logit_gradient_variance
from isograd.gradients._erm import Erm
from isograd.gradients._iga import Iga
from isograd.gradients.lowrank import LowRank, chain_rule, gaussian_test_matrix, truncated_svd
from isograd.gradients.manifold import retract, tangent_factors, tangent_projection
from isograd.gradients.registry import METHODS, make_method

__all__ = [
    "CONSISTENCY",
    "METHODS",
    "Erm",
    "Iga",
    "LocalMethod",
    "LossMethod",
    "LowRank",
    "Method",
    "chain_rule",
    "gaussian_test_matrix",
    "jensen_shannon",
    "logit_gradient_variance",
    "make_method",
    "retract",
    "tangent_factors",
    "tangent_projection",
    "truncated_svd",
]
