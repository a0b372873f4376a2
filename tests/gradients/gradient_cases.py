"""Configured methods of every kind, and gradients to hand them."""

from __future__ import annotations

import importlib.util
import itertools
import random as stdlib_random
from typing import Any

import torch
from torch import Tensor

from isograd.gradients import (
    AndMask,
    CAGrad,
    DomainLosses,
    Erm,
    Fishr,
    GlobalMethod,
    GroupDro,
    HeadTokens,
    Iga,
    Irm,
    LayerContext,
    LocalMethod,
    LossMethod,
    LowRank,
    Mgda,
    PCGrad,
    SandMask,
    State,
    TorchJd,
    VRex,
)

NORMALIZATIONS = ("mean_square", "mean_squared", "layer_mean", "none")

IGA: list[Iga] = [
    *(
        Iga(variance=variance, normalization=normalization)
        for variance, normalization in itertools.product(("batch", "set", "running"), NORMALIZATIONS)
    ),
    *(
        Iga(basis="singular", svd="exact", variance=variance, normalization=normalization)
        for variance, normalization in itertools.product(("batch", "set"), NORMALIZATIONS)
    ),
    *(Iga(space="factor", variance=variance) for variance in ("batch", "set", "running")),
    Iga(tau=0.0),
    Iga(tau=0.0, variance="set"),
    Iga(tau=0.0, variance="running"),
    Iga(tau=5.0),
    Iga(svd="exact"),
    Iga(svd="none"),
    Iga(rank=1),
    Iga(basis="singular", power_iterations=2),
    *(Iga(basis="input", variance=variance) for variance in ("batch", "set", "running")),
    Iga(basis="input", tau=0.0),
    Iga(basis="input", svd="none", projection="tangent"),
    Iga(projection="tangent"),
    Iga(projection="tangent", svd="none"),
    Iga(projection="retraction"),
    Iga(second_moment="raw"),
    Iga(shuffled=True),
    Iga(shuffled=True, variance="set"),
    Iga(shuffled=True, variance="running", normalization="layer_mean"),
    Iga(shuffled=True, basis="singular", svd="exact"),
    Iga(shuffled=True, space="factor"),
]
LOCAL: list[LocalMethod] = [
    *IGA,
    AndMask(),
    AndMask(tau=0.6),
    AndMask(tau=0.0),
    AndMask(rescale=False),
    AndMask(space="factor"),
    SandMask(),
    SandMask(tau=0.0, k=100.0),
    SandMask(relative=False),
    SandMask(space="factor"),
]
GLOBAL: list[GlobalMethod] = [
    PCGrad(),
    Mgda(),
    Mgda(normalize="length"),
    CAGrad(),
    CAGrad(c=0.0),
    CAGrad(c=0.1),
    CAGrad(c=2.0),
]
if importlib.util.find_spec("torchjd") is not None:
    GLOBAL += [TorchJd(), TorchJd("AlignedMTL")]
LOSS: list[LossMethod] = [
    Erm(),
    Erm(balance="token"),
    GroupDro(),
    GroupDro(eta=0.0),
    GroupDro(eta=5.0),
    VRex(),
    VRex(weight=0.0),
    Irm(),
    Irm(weight=0.0),
    Fishr(),
    Fishr(weight=0.0),
]


def name(method: object) -> str:
    """The class and the fields that differ from its defaults."""
    default = type(method)()
    changed = {key: value for key, value in vars(method).items() if value != getattr(default, key)}
    return "-".join([type(method).__name__, *(f"{key}={value}" for key, value in changed.items())])


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal entries, never 0, the same in every precision."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def draw(method: LocalMethod, K: int, m: int, n: int, seed: int = 0) -> Tensor:
    """Gradients as the method wants them: [K m n], or three sets of them."""
    return normal(3, K, m, n, seed=seed) if method.paired else normal(K, m, n, seed=seed)


def erm_gradient(method: LocalMethod, grads: Tensor) -> Tensor:
    """The mean over domains, and sets."""
    return grads.mean((0, 1)) if method.paired else grads.mean(0)


def context(
    rank: int, *, method: LocalMethod | None = None, like: Tensor | None = None, seed: int = 0, **options: Any
) -> LayerContext:
    """A layer as it is at its first step, with the method's test matrix if it wants one."""
    generator = torch.Generator().manual_seed(seed)
    columns = 0 if method is None else method.test_columns(rank)
    if columns and like is not None:
        options["test_matrix"] = normal(like.shape[-1], columns, seed=seed + 7, dtype=like.dtype)
    return LayerContext(rank=rank, generator=generator, **options)


def dense(direction: Tensor | LowRank) -> Tensor:
    """As one matrix."""
    return direction.dense() if isinstance(direction, LowRank) else direction


def merged(method: LocalMethod, grads: Tensor, *, rank: int | None = None, state: State | None = None) -> Tensor:
    """The merged direction of a layer; of full rank, unless told."""
    layer = context(
        rank or min(grads.shape[-2:]), method=method, like=grads, state={} if state is None else state, seed=3
    )
    return dense(method.merge_layer(grads, layer))


def kept(method: LocalMethod, grads: Tensor, rank: int) -> Tensor:
    """What is left after the projection, where there is one."""
    direction = method.merge_layer(grads, context(rank, method=method, like=grads))
    if method.space == "factor":
        return dense(direction)
    return dense(method.project(direction, context(rank, method=method, like=grads)))


def losses_of(values: Tensor, *, tokens: Tensor | None = None, head: HeadTokens | None = None) -> DomainLosses:
    """Losses with all that any method might ask for; the derivative by the scale of logits follows the loss."""
    K = len(values)
    if tokens is None:
        tokens = torch.arange(1, K + 1, dtype=values.dtype)
    if head is None:
        head = head_of(K)
    return DomainLosses(values, tokens, scale_gradients=values - 0.25, head=head)


def head_of(K: int, *, each: int = 4, width: int = 3, vocabulary: int = 5, equal: bool = True) -> HeadTokens:
    """Tokens of K domains at a small output head; the same tokens in every domain, or not."""
    hidden = normal(each, width).repeat(K, 1) if equal else normal(each * K, width)
    targets = torch.arange(each).repeat(K) if equal else torch.arange(each * K)
    return HeadTokens(
        hidden=hidden,
        targets=targets % vocabulary,
        domains=torch.arange(K).repeat_interleave(each),
        weight=normal(vocabulary, width, seed=1),
    )


class Fixed(stdlib_random.Random):
    """Shuffles that put what they are given into the order of a list."""

    def __init__(self, order: list[int]) -> None:
        super().__init__(0)
        self.order = order

    def shuffle(self, x: Any) -> None:
        x.sort(key=self.order.index)
