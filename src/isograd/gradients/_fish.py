"""Fish: domains visited one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from isograd.gradients._base import InnerLoopMethod
from isograd.gradients._checks import positive
from isograd.gradients.search import Distribution, LogUniform

__all__ = ["Fish"]


@dataclass(frozen=True)
class Fish(InnerLoopMethod):
    """Fish: Shi et al., Gradient matching for domain generalization, arXiv 2104.09937, algorithm 1.

    From the factors theta, one step of gradient descent on each domain, in an order drawn anew for each step; the
    whole way is the direction::

        theta_0 = theta;  theta_k = theta_{k-1} - step_size * grad L_{o(k)}(theta_{k-1}),  k = 1 .. K
        D = (theta_0 - theta_K) / (K * step_size)

    To first order in the step size D is the mean gradient minus ``step_size / (2 K)`` times the gradient of
    ``sum_{j < k} g_j' g_k``, averaged over orders: it raises the inner products of the domains' gradients. OURS: D is
    handed to the trainer's optimizer as the gradient (the paper interpolates, ``theta + epsilon (theta_K - theta)``,
    which is plain descent on D). Shapes: theta and D [p], the p elements of all A and B. The scale is that of one
    gradient; equal domains give that of ERM as the step size goes to 0. It is the one method that is not one backward
    pass: K passes, each over the rows of one domain, as many rows in all.

    Attributes:
        step_size: learning rate of the inner steps, > 0, in the units of plain gradient descent on A and B. Default
            0.01: ours.

    Raises:
        UserError: ``step_size`` is out of its range.
    """

    search: ClassVar[Mapping[str, Distribution]] = {"step_size": LogUniform(1e-3, 1.0)}

    step_size: float = 0.01  # type: ignore[misc]

    def __post_init__(self) -> None:
        positive("fish", "step_size", self.step_size)
