"""The kinds of gradient method, as the trainer and the capture see them.

A method is a small frozen dataclass of hyperparameters with pure functions of tensors on it. It holds no state, knows
no model, and hides no optimizer. K is the number of domains; W [m n] is the effective weight ``W0 + s * B @ A`` of one
LoRA layer, with m output and n input features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from isograd.gradients.lowrank import LowRank

__all__ = ["LocalMethod", "LossMethod", "Method"]


@dataclass(frozen=True)
class LossMethod(ABC):
    """A method that acts on the K per-domain losses alone; ordinary backpropagation does the rest."""

    kind: ClassVar[Literal["loss"]] = "loss"

    @abstractmethod
    def combine(self, losses: Float[Tensor, " K"], tokens: Float[Tensor, " K"]) -> Float[Tensor, ""]:
        """The scalar to backpropagate.

        Args:
            losses: mean loss over the supervised tokens of each domain, in nats per token, finite.
            tokens: number of supervised tokens of each domain, the same dtype as ``losses``.

        Returns:
            A scalar, in nats per token, that carries the graph of ``losses``.
        """


@dataclass(frozen=True)
class LocalMethod(ABC):
    """A method that decides element by element, or layer by layer, on the dense per-domain gradients of one W.

    The capture calls :meth:`merge` on blocks of rows, so that the K dense gradients of a layer need never exist at
    once, and then :meth:`project` once on the whole direction.
    """

    kind: ClassVar[Literal["local"]] = "local"

    @abstractmethod
    def merge(self, grads: Float[Tensor, "K rows n"]) -> Float[Tensor, "rows n"]:
        """One update direction from K per-domain gradients, element by element.

        Must give for a block of rows of W what it gives for these rows within the whole of W, whatever the order of
        the domains, and must leave ``grads`` unchanged. The scale is that of one gradient (a mean, not a sum).
        """

    def project(
        self,
        direction: Float[Tensor, "m n"],
        rank: int,
        test_matrix: Float[Tensor, "n columns"] | None = None,
    ) -> Float[Tensor, "m n"] | LowRank:
        """What of the merged direction is kept; by default all of it.

        Args:
            direction: the merged gradient of W.
            rank: the adapter's rank r at this layer.
            test_matrix: standard normal entries, with :meth:`test_columns` columns; None where that is 0.

        Returns:
            The direction, dense or as two thin factors, from which the chain rule gives the gradients of A and B.
        """
        del rank, test_matrix
        return direction

    def test_columns(self, rank: int) -> int:
        """How many random columns :meth:`project` wants for an adapter of this rank; 0 when it draws nothing."""
        del rank
        return 0


Method = LossMethod | LocalMethod
