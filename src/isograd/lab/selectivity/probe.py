"""How much of two known gradients the mask of a third passes, layer by layer, in one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.gradients import AndMask, Iga, LayerContext, LocalMethod, LowRank, SandMask
from isograd.gradients.conflict import input_mask, input_moments
from isograd.gradients.lowrank import truncated_svd

__all__ = ["FORMS", "KINDS", "SelectivityProbe", "mask_of"]

Passed = Callable[[Float[Tensor, "m n"]], Float[Tensor, ""]]

FORMS: Final[Mapping[str, LocalMethod]] = {
    "IGA, tau 1": Iga(tau=1.0),
    "IGA, tau 3": Iga(tau=3.0),
    "IGA, tau 10": Iga(tau=10.0),
    "IGA, mean squared, tau 1": Iga(tau=1.0, normalization="mean_squared"),
    "IGA, layer mean, tau 1": Iga(tau=1.0, normalization="layer_mean"),
    "SVD alone": Iga(tau=0.0, basis="singular", svd="exact"),
    "IGA, singular, tau 3": Iga(tau=3.0, basis="singular", svd="exact"),
    "IGA, input, tau 3": Iga(tau=3.0, basis="input"),
    "AND-mask": AndMask(rescale=False),
    "SAND-mask": SandMask(),
    "shuffled, tau 3": Iga(tau=3.0, shuffled=True),
}
"""The mask forms by name."""

KINDS: Final = ("mixed", "logic", "cue")
"""Of which batches come the 3 K groups of rows: those of training, logic alone, the shortcut alone."""


def mask_of(method: LocalMethod, grads: Float[Tensor, "K m n"], context: LayerContext) -> Passed:
    """The mask that ``method`` computes from ``grads``, as the squared norm of what it leaves of another gradient.

    Masks by entry multiply it entry by entry, whatever constant the method rescales with; the matrix mask of input
    directions is multiplied from the right; along singular directions of the mean of ``grads`` its coefficients are
    masked, and what lies outside of these directions is lost.
    """
    if isinstance(method, Iga) and method.basis == "input":
        matrix = input_mask(input_moments(grads), method.tau, method.damping)
        return lambda target: (target @ matrix).square().sum()
    mean: Tensor = grads.mean(0)
    direction = method.merge_layer(grads, context)
    if isinstance(direction, LowRank):
        # Orthonormal directions with the mask in the coefficients: what became of each singular value.
        plain = truncated_svd(mean, direction.left.shape[1], method="exact")
        left, right = plain.left, torch.nn.functional.normalize(plain.right, dim=1)
        values = ((left.mT @ mean) * right).sum(-1)
        kept = ((left.mT @ direction.dense()) * right).sum(-1) / values.clamp(min=torch.finfo(values.dtype).tiny)
        return lambda target: (kept * ((left.mT @ target) * right).sum(-1)).square().sum()
    mask = torch.where(mean == 0, 0, direction / mean)
    return lambda target: (mask * target).square().sum()


@dataclass(frozen=True)
class SelectivityProbe(LocalMethod):
    """Not a method to train with: writes what masks pass into each layer's state, and returns the mean gradient.

    Of 3 K groups of rows the first K are the domains of a training batch, the next K those of a batch that shows the
    logic alone, the last K of one that shows the shortcut alone. With g the mean gradient of either pure batch and M
    the mask that a form computes from per-domain gradients, a layer's state holds |M g|^2 for each form, with M from
    the training batch (``mixed``) and from the pure batch itself (``own``), and |g|^2.

    Attributes:
        domains: K.
    """

    domains: int = 2

    @property
    def whole_layer(self) -> bool:
        return True

    def merge(self, grads: Float[Tensor, "*sets K rows n"]) -> Float[Tensor, "rows n"]:
        return grads.mean(0)

    def merge_layer(self, grads: Float[Tensor, "*sets K m n"], context: LayerContext) -> Float[Tensor, "m n"]:
        mixed, *pure = grads.float().split(self.domains)
        masks = {form: mask_of(method, mixed, context) for form, method in FORMS.items()}
        for kind, parts in zip(KINDS[1:], pure, strict=True):
            target = parts.mean(0)
            context.state[f"{kind}/norm"] = target.square().sum()
            for form, method in FORMS.items():
                context.state[f"{kind}/mixed/{form}"] = masks[form](target)
                context.state[f"{kind}/own/{form}"] = mask_of(method, parts, context)(target)
            context.state[f"{kind}/agreement"] = _agreement(parts)
        return grads.mean(0)


def _agreement(parts: Float[Tensor, "K m n"]) -> Float[Tensor, "K K"]:
    """Inner products of the domains' gradients, to be added over layers."""
    flat = parts.flatten(1)
    gram: Tensor = flat @ flat.mT
    return gram
