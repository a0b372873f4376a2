"""Gradient methods: functions of per-domain losses and gradients. Needs torch, and nothing of Hugging Face.

A new method is one module here with a frozen dataclass of its hyperparameters, and one line in the registry.
"""

from isograd.gradients._and_mask import AndMask
from isograd.gradients._base import (
    DomainLosses,
    GlobalMethod,
    HeadTokens,
    InnerLoopMethod,
    LayerContext,
    LocalMethod,
    LossMethod,
    Method,
    State,
)
from isograd.gradients._cagrad import CAGrad
from isograd.gradients._consistency import (
    CONSISTENCY,
    HIDDEN_CONSISTENCY,
    hidden_cosine,
    jensen_shannon,
    kl_to_mean,
    logit_gradient_variance,
)
from isograd.gradients._erm import Erm
from isograd.gradients._fish import Fish
from isograd.gradients._fishr import Fishr
from isograd.gradients._group_dro import GroupDro
from isograd.gradients._iga import Iga
from isograd.gradients._irm import Irm
from isograd.gradients._mgda import Mgda
from isograd.gradients._pcgrad import PCGrad
from isograd.gradients._sand_mask import SandMask
from isograd.gradients._torchjd import TorchJd
from isograd.gradients._vrex import VRex
from isograd.gradients.lowrank import LowRank, chain_rule, gaussian_test_matrix, truncated_svd
from isograd.gradients.manifold import retract, tangent_factors, tangent_projection
from isograd.gradients.registry import METHODS, make_method
from isograd.gradients.schedule import ramped
from isograd.gradients.search import Choice, Distribution, LogUniform, Uniform

__all__ = [
    "CONSISTENCY",
    "HIDDEN_CONSISTENCY",
    "METHODS",
    "AndMask",
    "CAGrad",
    "Choice",
    "Distribution",
    "DomainLosses",
    "Erm",
    "Fish",
    "Fishr",
    "GlobalMethod",
    "GroupDro",
    "HeadTokens",
    "Iga",
    "InnerLoopMethod",
    "Irm",
    "LayerContext",
    "LocalMethod",
    "LogUniform",
    "LossMethod",
    "LowRank",
    "Method",
    "Mgda",
    "PCGrad",
    "SandMask",
    "State",
    "TorchJd",
    "Uniform",
    "VRex",
    "chain_rule",
    "gaussian_test_matrix",
    "hidden_cosine",
    "jensen_shannon",
    "kl_to_mean",
    "logit_gradient_variance",
    "make_method",
    "ramped",
    "retract",
    "tangent_factors",
    "tangent_projection",
    "truncated_svd",
]
