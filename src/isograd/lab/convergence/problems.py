"""Smooth problems with K domains and one weight matrix, in closed form, for many seeds at once.

Every domain has N rows of data, fixed by the seed. The loss of a domain is the mean over its rows, the loss L the mean
over domains; a mini-batch is b rows of each domain, drawn with replacement. S seeds, A arms (runs of a seed).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from isograd.common.seeding import derive_seed

__all__ = ["DOMAINS", "ROWS", "SHAPE", "Minima", "Problem", "least_squares", "tanh_net"]

Minima = Literal["shared", "different"]

DOMAINS: Final = 4
ROWS: Final = 24
SHAPE: Final = (8, 6)

# The largest value of |tanh''|.
_CURVED: Final = 4 / 3**1.5


@dataclass(frozen=True)
class Problem:
    """Data and model of S seeds.

    Attributes:
        name: for the page, and of its random draws.
        X: inputs, [K S N n].
        Y: targets; [K S N m] of a linear model, [K S N 1] of a net.
        head: of a net ``u' tanh(W x)``, [S m], fixed; None for a linear model ``W x``.
        start: where W begins, [S m n].
        smoothness: a Lipschitz constant of the gradient of L, [S]: exact for a linear model, a bound for a net.
        convexity: the smallest curvature of L, [S]; None for a net.
    """

    name: str
    X: Float[Tensor, "K S N n"]
    Y: Float[Tensor, "K S N o"]
    head: Float[Tensor, "S m"] | None
    start: Float[Tensor, "S m n"]
    smoothness: Float[Tensor, " S"]
    convexity: Float[Tensor, " S"] | None

    @cached_property
    def _normal_equations(self) -> tuple[Float[Tensor, "K S n n"], Float[Tensor, "K S m n"]]:
        """Of a linear model, whose gradient over all rows is ``W C - R``."""
        return self.X.mT @ self.X / ROWS, self.Y.mT @ self.X / ROWS

    def gradients(
        self, W: Float[Tensor, "S A m n"], rows: Int[Tensor, "K S b"] | None = None
    ) -> Float[Tensor, "K S A m n"]:
        """The gradient in W of each domain's loss, over all rows or those of a mini-batch."""
        shape = W.shape[1:3]
        if self.head is None and rows is None:
            C, R = self._normal_equations
            whole: Tensor = (W.flatten(1, 2) @ C).unflatten(2, shape)
            return whole - R[:, :, None]
        X, Y = self.X, self.Y
        if rows is not None:
            X = torch.take_along_dim(X, rows[..., None], 2)
            Y = torch.take_along_dim(Y, rows[..., None], 2)
        outputs = _product(X, W)
        if self.head is None:
            slopes = outputs - Y[..., None, :]
        else:
            hidden = outputs.tanh()
            u = self.head[:, None, None, :]
            error = (hidden * u).sum(-1, keepdim=True) - Y[..., None, :]
            slopes = error * u * (1 - hidden.square())
        found: Tensor = (slopes.flatten(-2).mT @ X / X.shape[2]).unflatten(2, shape)
        return found

    def losses(self, W: Float[Tensor, "S A m n"]) -> Float[Tensor, "S A"]:
        """L at each W."""
        outputs = _product(self.X, W)
        if self.head is not None:
            outputs = (outputs.tanh() * self.head[:, None, None, :]).sum(-1, keepdim=True)
        errors = outputs - self.Y[..., None, :]
        found: Tensor = 0.5 * errors.square().sum(-1).mean((0, 2))
        return found


def _product(X: Float[Tensor, "K S N n"], W: Float[Tensor, "S A m n"]) -> Float[Tensor, "K S N A m"]:
    """``W x``, with the arms folded into the rows of W: few large products instead of many small ones."""
    found: Tensor = (X @ W.flatten(1, 2).mT).unflatten(-1, W.shape[1:3])
    return found


def _generators(name: str, seeds: list[int]) -> list[np.random.Generator]:
    return [np.random.default_rng(derive_seed("lab", "convergence", name, seed)) for seed in seeds]


def _normal(draws: list[np.random.Generator], *shape: int) -> Tensor:
    return torch.from_numpy(np.stack([each.normal(size=shape) for each in draws]))


def _inputs(draws: list[np.random.Generator], n: int) -> Float[Tensor, "K S N n"]:
    """Inputs of unequal scale, whose covariance differs between domains."""
    scales = torch.linspace(1.5, 0.4, n, dtype=torch.float64)
    mixing = (torch.eye(n, dtype=torch.float64) + 0.6 * _normal(draws, DOMAINS, n, n) / n**0.5) * scales
    inputs: Tensor = _normal(draws, DOMAINS, ROWS, n) @ mixing
    return inputs.transpose(0, 1).contiguous()


def least_squares(seeds: list[int], minima: Minima, rank: int | None = None) -> Problem:
    """``1/(2N) sum |W x - y|^2``: strongly convex in W, targets from a matrix of each domain or one for all.

    Label noise is orthogonal to the inputs of its domain, so that it moves no minimum: with "shared" minima the
    gradient of every domain vanishes at the same W, while that of a mini-batch does not.

    Args:
        seeds: S of them.
        minima: whether all domains share one minimum.
        rank: of the matrices that make the targets; None for full rank.
    """
    m, n = SHAPE
    draws = _generators("least squares", seeds)
    X = _inputs(draws, n)
    common, own = (_normal(draws, *shape) / n**0.5 for shape in ((1, m, n), (DOMAINS, m, n)))
    targets = common + 0.5 * own if minima == "different" else common.expand_as(own)
    if rank is not None:
        U, values, Vh = torch.linalg.svd(targets, full_matrices=False)
        targets = U[..., :rank] * values[..., None, :rank] @ Vh[..., :rank, :]
    noise = 0.5 * _normal(draws, DOMAINS, ROWS, m).transpose(0, 1)
    noise = noise - X @ torch.linalg.lstsq(X, noise).solution
    curvatures = torch.linalg.eigvalsh((X.mT @ X / ROWS).mean(0))
    return Problem(
        name=f"least squares, {minima}",
        X=X,
        Y=X @ targets.transpose(0, 1).mT + noise,
        head=None,
        start=_normal(draws, m, n) / n**0.5,
        smoothness=curvatures[:, -1],
        convexity=curvatures[:, 0],
    )


def tanh_net(seeds: list[int], minima: Minima) -> Problem:
    """``1/(2N) sum (u' tanh(W x) - y)^2`` with a fixed head u: smooth, not convex; targets from nets of this form."""
    m, n = 6, SHAPE[1]
    draws = _generators("tanh", seeds)
    X = _inputs(draws, n)
    head = _normal(draws, m) / m**0.5
    common, own = (_normal(draws, *shape) / n**0.5 for shape in ((1, m, n), (DOMAINS, m, n)))
    teachers = common + 0.5 * own if minima == "different" else common.expand_as(own)
    hidden = (X @ teachers.transpose(0, 1).mT).tanh()
    Y = (hidden * head[:, None, :]).sum(-1, keepdim=True)
    # The Hessian of (f - y)^2 / 2 is f' f'^T + (f - y) f''; along a direction V, with |tanh'| <= 1, it is at most
    # (|u|^2 + |f - y| max|u| max|tanh''|) |V x|^2, and |f - y| <= sum|u| + |y|.
    error = head.abs().sum(1)[:, None] + Y[..., 0].abs()
    weight = head.square().sum(1)[:, None] + error * head.abs().amax(1)[:, None] * _CURVED
    bound = (X.mT @ (weight[..., None] * X) / ROWS).mean(0)
    return Problem(
        name=f"tanh net, {minima}",
        X=X,
        Y=Y,
        head=head,
        start=_normal(draws, m, n) / n**0.5,
        smoothness=torch.linalg.eigvalsh(bound)[:, -1],
        convexity=None,
    )
