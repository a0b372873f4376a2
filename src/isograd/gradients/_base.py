"""The kinds of gradient method, as the trainer and the capture see them.

A method is a small frozen dataclass of hyperparameters with functions of tensors on it. It knows no model and hides no
optimizer. What it must remember from step to step lives in a :data:`State` that its caller keeps, saves and hands in.
K is the number of domains; W [m n] is the effective weight ``W0 + s * B @ A`` of one LoRA layer, with m output and n
input features.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isograd.gradients.lowrank import LowRank, chain_rule
from isograd.gradients.search import Distribution

__all__ = [
    "DomainLosses",
    "GlobalMethod",
    "HeadTokens",
    "InnerLoopMethod",
    "LayerContext",
    "LocalMethod",
    "LossMethod",
    "Method",
    "State",
]

State = dict[str, Tensor]
"""What a method remembers between optimizer steps; empty at the first. Methods write to nothing else."""


@dataclass(frozen=True)
class _Method:
    search: ClassVar[Mapping[str, Distribution]] = {}
    """Where tuning looks for each hyperparameter worth tuning."""

    def at(self, step: int, total: int) -> Self:
        """The method as it is at an optimizer step, for hyperparameters that follow a schedule.

        Args:
            step: optimizer steps taken so far, from 0.
            total: optimizer steps of the whole run.
        """
        del step, total
        return self


@dataclass(frozen=True)
class HeadTokens:
    """The supervised tokens of a batch as the output head meets them.

    Attributes:
        hidden: final hidden states, with their graph.
        targets: the token that each should predict.
        domains: the domain of each.
        weight: of the output head; logits are ``hidden @ weight.T``.
    """

    hidden: Float[Tensor, "tokens width"]
    targets: Int[Tensor, " tokens"]
    domains: Int[Tensor, " tokens"]
    weight: Float[Tensor, "vocabulary width"]


@dataclass(frozen=True)
class DomainLosses:
    """What loss-level methods see of one optimizer step.

    Attributes:
        losses: mean negative log-likelihood over the supervised tokens of each domain, in nats per token.
        tokens: number of supervised tokens of each domain.
        scale_gradients: derivative of each loss with respect to a factor on the logits, at 1: the mean over tokens of
            ``-log p(y) - H(p)`` with the entropy H in nats; None unless the method asks for it.
        head: None unless the method asks for it.
    """

    losses: Float[Tensor, " K"]
    tokens: Float[Tensor, " K"]
    scale_gradients: Float[Tensor, " K"] | None = None
    head: HeadTokens | None = None


@dataclass(frozen=True)
class LossMethod(_Method, ABC):
    """A method that acts on per-domain losses; ordinary backpropagation does the rest."""

    kind: ClassVar[Literal["loss"]] = "loss"
    linear: ClassVar[bool] = False
    """Whether the factors of the losses do not depend on the losses."""
    needs_scale_gradients: ClassVar[bool] = False
    needs_head: ClassVar[bool] = False
    """Whether :attr:`DomainLosses.head` must be there; then a step is one micro-batch of one process."""

    @abstractmethod
    def combine(self, domains: DomainLosses, state: State) -> Float[Tensor, ""]:
        """The scalar to minimize.

        Returns:
            A scalar, in nats per token, that carries the graph of the losses.
        """


@dataclass(frozen=True)
class LayerContext:
    """What else there is to know where the gradients of one layer are merged.

    Attributes:
        rank: the adapter's rank at this layer.
        state: the layer's own.
        generator: for random draws, on the CPU; named by seed, step and layer.
        test_matrix: standard normal entries with the method's :meth:`LocalMethod.test_columns` columns, or None.
    """

    rank: int
    state: State = field(default_factory=dict)
    generator: torch.Generator = field(default_factory=torch.Generator)
    test_matrix: Float[Tensor, "n columns"] | None = None


@dataclass(frozen=True)
class LocalMethod(_Method, ABC):
    """A method that decides element by element, or layer by layer, on the per-domain gradients of one layer.

    In weight space these are the dense gradients of W; the capture calls :meth:`merge` on blocks of rows, so that the
    K dense gradients of a layer need never exist at once, and then :meth:`project` once on the whole direction. Where
    :attr:`whole_layer` holds it calls :meth:`merge_layer` once instead. In factor space they are the gradients of A
    and of B, each merged for itself, whole, and nothing is projected.
    """

    kind: ClassVar[Literal["local"]] = "local"

    @property
    def space(self) -> Literal["weight", "factor"]:
        """Whose gradients are merged: those of W, or those of A and B."""
        return "weight"

    @property
    def whole_layer(self) -> bool:
        """Whether merging needs all rows of W at once."""
        return False

    @property
    def paired(self) -> bool:
        """Whether gradients come set by set: then those handed to ``merge`` are [S K rows n], for S isomer sets.

        Each is S times the set's share, so that their mean over sets is the gradient of the domain.
        """
        return False

    @property
    def retracts(self) -> bool:
        """Whether the projected direction is a step of W to be retracted, not the source of gradients of A and B."""
        return False

    @property
    def keeps_raw_second_moment(self) -> bool:
        """Whether Adam's second moment is to see the gradient as it was before merging."""
        return False

    @abstractmethod
    def merge(self, grads: Float[Tensor, "*sets K rows n"]) -> Float[Tensor, "rows n"]:
        """One update direction from K per-domain gradients, element by element.

        Must give for a block of rows of W what it gives for these rows within the whole of W, whatever the order of
        the domains, and must leave ``grads`` unchanged. The scale is that of one gradient (a mean, not a sum).
        """

    def merge_layer(self, grads: Float[Tensor, "*sets K m n"], context: LayerContext) -> Float[Tensor, "m n"] | LowRank:
        """One update direction from the K gradients of a whole layer; by default :meth:`merge`."""
        del context
        return self.merge(grads)

    def entry_mask(self, grads: Float[Tensor, "K m n"], context: LayerContext) -> Float[Tensor, "m n"] | None:
        """What the mean gradient of W is multiplied by, entry by entry, before any rescaling; for logs.

        Like :meth:`merge_layer` it draws from, and remembers in, the context that it is given.

        Returns:
            None, the default, for a method that has no such mask.
        """
        del grads, context
        return None

    def project(self, direction: Float[Tensor, "m n"] | LowRank, context: LayerContext) -> Tensor | LowRank:
        """What of the merged direction of W is kept; by default all of it."""
        del context
        return direction

    def factor_gradients(
        self,
        direction: Float[Tensor, "m n"] | LowRank,
        A: Float[Tensor, "r n"],
        B: Float[Tensor, "m r"],
        scaling: float,
    ) -> tuple[Float[Tensor, "r n"], Float[Tensor, "m r"]]:
        """Gradients of A and B from the projected direction of W; by default the chain rule."""
        return chain_rule(direction, A, B, scaling)

    def test_columns(self, rank: int) -> int:
        """How many random columns :meth:`project` wants for an adapter of this rank; 0 when it draws nothing."""
        del rank
        return 0


@dataclass(frozen=True)
class GlobalMethod(_Method, ABC):
    """A method that weighs whole per-domain gradients (of all A and B together) by their inner products."""

    kind: ClassVar[Literal["global"]] = "global"

    @abstractmethod
    def weights(self, gramian: Float[Tensor, "K K"], rng: random.Random) -> Float[Tensor, " K"]:
        """The factor of each domain's gradient in the update ``sum_k w_k g_k``.

        The scale is that of one gradient: equal gradients give weights that sum to 1.

        Args:
            gramian: inner products of the K gradients, float64 on the CPU, unchanged by the call.
            rng: for random draws; named by seed and step.
        """


@dataclass(frozen=True)
class InnerLoopMethod(_Method, ABC):
    """A method that visits the domains one after the other within an optimizer step (Fish)."""

    kind: ClassVar[Literal["inner"]] = "inner"

    @property
    @abstractmethod
    def step_size(self) -> float:
        """Learning rate of the plain gradient descent inside the step."""


Method = LossMethod | LocalMethod | GlobalMethod | InnerLoopMethod
