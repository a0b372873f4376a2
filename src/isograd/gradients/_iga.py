"""Invariant Gradient Alignment (IGA): a continuous conflict mask and a truncated SVD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.errors import UserError
from isograd.gradients._base import LayerContext, LocalMethod, State
from isograd.gradients._checks import at_least, boolean, fraction, non_negative, one_of, positive, unused
from isograd.gradients.conflict import Moments, Normalization, conflict_mask, input_mask, input_moments, moments
from isograd.gradients.lowrank import LowRank, chain_rule, truncated_svd
from isograd.gradients.manifold import tangent_factors
from isograd.gradients.schedule import ramped
from isograd.gradients.search import Distribution, LogUniform

__all__ = ["Iga"]


@dataclass(frozen=True)
class Iga(LocalMethod):
    """Invariant Gradient Alignment, arXiv 2606.05025.

    Not the *Inter-environmental* Gradient Alignment that DomainBed also calls IGA (arXiv 2008.01883): that one adds
    the variance of whole gradients to the loss, this one masks the gradient coordinate by coordinate.

    With per-domain gradients g_1 .. g_K of the effective weight W, [m n] like v, V, M and D ([S K m n] with
    ``variance="set"``), factors A [r n] and B [m r], and all of it element by element::

        g = (1/K) sum_k g_k
        v = (1/K) sum_k (g_k - g)^2                  population variance over domains
        V = v / ((1/K) sum_k g_k^2)                  "mean_square", in [0, 1]; 0 where all g_k are 0
        M = exp(-tau * V)                            in (0, 1]
        D = truncated SVD of M * g, of rank r
        dB = s * D @ A',  dA = s * B' @ D            chain rule through W = W0 + s * B @ A

    From the paper: the mask M, the product M * g, and that a truncated SVD brings it back to rank r. OURS, because
    what we have of the paper leaves them open: the normalization of V (the default makes the mask independent of the
    scale of the loss and of the layer, since ``V = 1 - g^2 / mean square``); that gradients are those of W and not of
    the factors (A and B are defined only up to an invertible r x r matrix, W is not); that the SVD is of the masked
    gradient; the chain rule; and every other form below.

    Equal domains (with ``variance="running"``, at the earlier steps too) have M = 1, and so has tau = 0: the direction
    of W before the SVD is then the mean gradient g, after it g truncated. That is domain-balanced ERM where there is no
    SVD (``svd="none"`` or ``space="factor"``) or g has rank r at most; elsewhere the truncation has an effect of its
    own. The scale is that of the mean gradient, except with ``projection="tangent"`` (see there).

    Attributes:
        tau: strength of the mask, >= 0. Default 1.0: ours.
        tau_start: optimizer steps before the mask begins to act. Default 0: ours.
        tau_ramp: optimizer steps over which tau then rises, linearly, to its value. Default 0: ours.
        space: "weight" masks the gradient of W. "factor" masks those of A and B, each element by element, with no
            SVD: they have rank r as they are. Cheaper, but the mask depends on how W is split into factors. Default
            "weight": ours.
        variance: "batch" compares the gradients that the domains have over the batch. "set" compares them within each
            isomer set, ``v = mean_i (1/K) sum_k (g_ik - g_i)^2``, and so does not take it for conflict that sets
            differ; it costs one dense product for each row, and one batch of one process. "running" averages g^2
            and the mean square, apart, over steps: ``V = 1 - E[g^2] / E[mean square]``, less noisy than one
            batch, for two more dense matrices a layer. Default "batch": the paper's.
        decay: with variance "running": of the averages, in [0, 1). Default 0.9: ours.
        normalization: of V: "mean_square" as above; "mean_squared", ``v / g^2``, unbounded; "layer_mean", v over its
            mean in the layer; "none", the raw variance in squared gradient units, whose scale tau has to match (a
            loss scaler, float16, would change it). Default "mean_square": ours.
        basis: "entry" compares entries of W. "singular" compares, along the singular vectors u_i, v_i of g, the
            coefficients ``u_i' g_k v_i``: one mask value for each singular direction, and a mask that turns with W
            when its input or output space is rotated. "input" masks with a matrix: ``D = g exp(-tau T^-1 C)`` with
            ``T = (1/K) sum_k g_k' g_k`` and ``C = T - g' g``, which turns with the input space too and sees directions
            in which domains disagree wherever they lie; normalization "mean_square" only, an eigendecomposition of
            [n n] for each layer. Default "entry": the paper's.
        damping: with basis "input": added to T's diagonal, in parts of its mean. Default 0.001: ours.
        projection: how the direction D of W becomes a step of the factors. "chain_rule" as above. "tangent": factor
            steps whose joint first-order effect on W is the orthogonal projection of D onto what A and B can
            reach, ``s * (B dA + dB A) = P(D)``; independent of how W is split, of scale ``1 / s``, unbounded where B
            is nearly singular. "retraction": plain gradient descent on W, ``s B A <- best rank-r approximation of
            s B A - learning rate * D``, with no momentum and no Adam; needs a learning rate of its own. Default
            "chain_rule": ours.
        svd: "randomized" (arXiv 0909.4061), "exact" (LAPACK, slow), or "none" (keep full rank). Default "randomized":
            ours.
        rank: rank of the truncation; None takes the adapter's rank at each layer. Default None: the paper's.
        oversample: extra random columns of the randomized SVD. Default 8: ours; arXiv 0909.4061 has 5 or 10.
        power_iterations: passes over the matrix and its transpose that sharpen the randomized SVD. Default 1: the least
            that arXiv 0909.4061 suggests (1 or 2).
        second_moment: of Adam: "masked" sees the masked gradient, and so divides a mask that is the same at every
            step away again; "raw" sees the gradient as it was before the mask. Default "masked": ours.
        shuffled: the control: the mask's values in a random order, drawn anew for each layer and step. Default False:
            ours.

    Raises:
        UserError: a parameter is out of its range, two do not go together, or one would do nothing in the form that the
            others choose (with tau 0, which later steps may raise, none is refused).
    """

    search: ClassVar[Mapping[str, Distribution]] = {"tau": LogUniform(0.1, 30.0)}

    tau: float = 1.0
    tau_start: int = 0
    tau_ramp: int = 0
    space: Literal["weight", "factor"] = "weight"  # type: ignore[misc]
    variance: Literal["batch", "set", "running"] = "batch"
    decay: float = 0.9
    normalization: Normalization = "mean_square"
    basis: Literal["entry", "singular", "input"] = "entry"
    damping: float = 1e-3
    projection: Literal["chain_rule", "tangent", "retraction"] = "chain_rule"
    svd: Literal["randomized", "exact", "none"] = "randomized"
    rank: int | None = None
    oversample: int = 8
    power_iterations: int = 1
    second_moment: Literal["masked", "raw"] = "masked"
    shuffled: bool = False

    def __post_init__(self) -> None:
        non_negative("iga", "tau", self.tau)
        at_least("iga", "tau_start", self.tau_start, 0)
        at_least("iga", "tau_ramp", self.tau_ramp, 0)
        one_of("iga", "space", self.space, ("weight", "factor"))
        one_of("iga", "variance", self.variance, ("batch", "set", "running"))
        fraction("iga", "decay", self.decay)
        one_of("iga", "normalization", self.normalization, ("mean_square", "mean_squared", "layer_mean", "none"))
        one_of("iga", "basis", self.basis, ("entry", "singular", "input"))
        positive("iga", "damping", self.damping)
        one_of("iga", "projection", self.projection, ("chain_rule", "tangent", "retraction"))
        one_of("iga", "svd", self.svd, ("randomized", "exact", "none"))
        if self.rank is not None:
            at_least("iga", "rank", self.rank, 1)
        at_least("iga", "oversample", self.oversample, 0)
        at_least("iga", "power_iterations", self.power_iterations, 0)
        one_of("iga", "second_moment", self.second_moment, ("masked", "raw"))
        boolean("iga", "shuffled", self.shuffled)
        if self.space == "factor" and (self.projection != "chain_rule" or self.basis != "entry"):
            raise UserError(
                f"iga: space 'factor' has no direction of W for projection {self.projection!r} or basis "
                f"{self.basis!r}; use space 'weight', or projection 'chain_rule' and basis 'entry'"
            )
        if self.svd == "none" and (self.projection == "retraction" or self.basis == "singular"):
            raise UserError(
                "iga: projection 'retraction' and basis 'singular' need a truncated SVD; "
                "use svd 'randomized' or 'exact'"
            )
        if self.basis == "singular" and self.variance == "running":
            raise UserError(
                "iga: singular directions change from step to step and have no running variance; use variance "
                "'batch' or 'set', or basis 'entry'"
            )
        if self.basis == "input" and (self.normalization != "mean_square" or self.shuffled):
            raise UserError(
                "iga: basis 'input' has the normalization 'mean_square' in it and no values to shuffle; "
                "leave normalization and shuffled out, or use basis 'entry'"
            )
        if self.projection == "retraction" and self.second_moment == "raw":
            raise UserError("iga: projection 'retraction' steps without Adam; use second_moment 'masked'")
        if self.space == "factor":
            unused("iga", self, ("svd", "rank", "oversample", "power_iterations"), "space 'factor'")
        if self.variance != "running":
            unused("iga", self, ("decay",), f"variance {self.variance!r}")
        if self.basis != "input":
            unused("iga", self, ("damping",), f"basis {self.basis!r}")
        if self.svd != "randomized":
            unused("iga", self, ("oversample", "power_iterations"), f"svd {self.svd!r}")
        if self.svd == "none":
            unused("iga", self, ("rank",), "svd 'none'")

    def at(self, step: int, total: int) -> Self:
        del total
        return replace(self, tau=ramped(self.tau, step, self.tau_start, self.tau_ramp))

    @property
    def whole_layer(self) -> bool:
        return (
            self.variance == "running" or self.normalization == "layer_mean" or self.basis != "entry" or self.shuffled
        )

    @property
    def paired(self) -> bool:
        return self.variance == "set"

    @property
    def retracts(self) -> bool:
        return self.projection == "retraction"

    @property
    def keeps_raw_second_moment(self) -> bool:
        return self.second_moment == "raw"

    def merge(self, grads: Float[Tensor, "*sets K rows n"]) -> Float[Tensor, "rows n"]:
        if grads.dim() == 3 and self.normalization in ("mean_square", "none"):
            return self._merge_in_few_passes(grads)
        parts = moments(grads)
        return conflict_mask(parts, self.tau, self.normalization).mul_(parts.mean)

    def merge_layer(self, grads: Float[Tensor, "*sets K m n"], context: LayerContext) -> Float[Tensor, "m n"] | LowRank:
        if not self.whole_layer:
            return self.merge(grads)
        if self.basis == "singular":
            return self._merge_singular(grads, context)
        parts = self._moments(grads, context)
        if self.basis == "input":
            return parts.mean @ input_mask(parts, self.tau, self.damping)
        return self._mask(parts, context).mul_(parts.mean)

    def entry_mask(self, grads: Float[Tensor, "K m n"], context: LayerContext) -> Float[Tensor, "m n"] | None:
        if self.basis != "entry" or self.space == "factor" or self.paired:
            return None
        return self._mask(self._moments(grads, context), context)

    def project(self, direction: Float[Tensor, "m n"] | LowRank, context: LayerContext) -> Tensor | LowRank:
        if self.svd == "none" or isinstance(direction, LowRank):
            return direction
        return self._svd(direction, context)

    def factor_gradients(
        self,
        direction: Float[Tensor, "m n"] | LowRank,
        A: Float[Tensor, "r n"],
        B: Float[Tensor, "m r"],
        scaling: float,
    ) -> tuple[Float[Tensor, "r n"], Float[Tensor, "m r"]]:
        if self.projection != "tangent":
            return chain_rule(direction, A, B, scaling)
        dense = direction.dense() if isinstance(direction, LowRank) else direction
        dA, dB = tangent_factors(dense, A.to(dense.dtype), B.to(dense.dtype))
        return dA / scaling, dB / scaling

    def test_columns(self, rank: int) -> int:
        return (self.rank or rank) + self.oversample if self.svd == "randomized" else 0

    def _merge_in_few_passes(self, grads: Float[Tensor, "K rows n"]) -> Float[Tensor, "rows n"]:
        # Few passes and no reductions over the leading dimension: on a CPU this is bound by memory, not arithmetic.
        K = grads.shape[0]
        total = grads[0] + grads[1] if K > 1 else grads[0].clone()
        for k in range(2, K):
            total += grads[k]
        if self.tau == 0:
            return total.div_(K)
        if self.normalization == "none":
            mean = total.div_(K)
            exponent = torch.zeros_like(mean)
            for k in range(K):
                difference = grads[k] - mean
                exponent.addcmul_(difference, difference, value=-self.tau / K)
            return exponent.exp_().mul_(mean)
        # -tau * V = tau * ratio - tau with ratio = total^2 / (K * sum of squares). The smallest normal number makes
        # 0/0 one. Rounding may lift the ratio a hair above one, and the mask with it, by less than the mean's own.
        tiny = grads.new_tensor(torch.finfo(grads.dtype).tiny)
        squares = torch.addcmul(tiny, grads[0], grads[0])
        for k in range(1, K):
            squares.addcmul_(grads[k], grads[k])
        ratio = torch.addcmul(tiny, total, total, value=1 / K).div_(squares)
        exponent = torch.add(grads.new_tensor(-self.tau), ratio, alpha=self.tau, out=ratio)
        return exponent.exp_().mul_(total).div_(K)

    def _merge_singular(self, grads: Float[Tensor, "*sets K m n"], context: LayerContext) -> LowRank:
        mean = self._svd(grads.mean(tuple(range(grads.dim() - 2))), context)
        length = torch.linalg.vector_norm(mean.right, dim=1, keepdim=True)
        right = mean.right / length.clamp(min=torch.finfo(length.dtype).tiny)
        coefficients = ((mean.left.mT @ grads) * right).sum(-1)  # [*sets K r]
        mask = self._mask(moments(coefficients, dims=1), context)
        return LowRank(mean.left, mask[:, None] * mean.right)

    def _moments(self, grads: Tensor, context: LayerContext) -> Moments:
        parts = input_moments(grads) if self.basis == "input" else moments(grads)
        return _running(parts, context.state, self.decay) if self.variance == "running" else parts

    def _mask(self, parts: Moments, context: LayerContext) -> Tensor:
        mask = conflict_mask(parts, self.tau, self.normalization)
        if not self.shuffled:
            return mask
        order = torch.randperm(mask.numel(), generator=context.generator).to(mask.device)
        return mask.flatten()[order].view_as(mask)

    def _svd(self, direction: Tensor, context: LayerContext) -> LowRank:
        assert self.svd != "none"
        return truncated_svd(
            direction,
            self.rank or context.rank,
            method=self.svd,
            test_matrix=context.test_matrix,
            power_iterations=self.power_iterations,
        )


def _running(now: Moments, state: State, decay: float) -> Moments:
    """The mean of now with the running averages of the two moments; both begin with what the first step shows."""
    for name, value in (("squared_mean", now.squared_mean), ("mean_square", now.mean_square)):
        state[name] = torch.lerp(value, state[name], decay) if name in state else value.clone()
    return Moments(now.mean, state["squared_mean"], state["mean_square"])
