"""From the tokens of each layer to the update of its A and B: the methods' side of the backward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.capture._dense import accumulate, by_set, merge_dense, merge_tokens, upcast
from isograd.capture._layers import Layer
from isograd.capture._rows import RowPlan, Segment
from isograd.capture._sum import ProcessMean
from isograd.common.errors import UserError
from isograd.common.seeding import derive_seed, named_random
from isograd.gradients import GlobalMethod, LayerContext, LocalMethod, LowRank, State, gaussian_test_matrix

__all__ = ["FactorMerging", "GlobalMerging", "Merging", "Update", "WeightMerging", "merging_for"]

Update = tuple[Tensor, Tensor] | LowRank
"""Gradients of A [r n] and B [m r]; or the direction of W for methods that retract."""


class Merging(ABC):
    """What becomes of the layers' tokens; one object serves one capture.

    Attributes:
        step: optimizer steps done, which names random draws.
        states: what the method remembers, by layer.
        updates: of the last finished window, by layer name.
        dense: per-domain gradients of W of the last window, by layer name, where they are kept.
    """

    def __init__(self, seed: int, mean: ProcessMean) -> None:
        self.seed = seed
        self.mean = mean
        self.step = 0
        self.states: dict[str, State] = {}
        self.updates: dict[str, Update] = {}
        self.dense: dict[str, Float[Tensor, "K m n"]] = {}

    @abstractmethod
    def add(
        self, layer: Layer, X: Tensor, D: Tensor, segments: list[Segment], plan: RowPlan, *, complete: bool
    ) -> None:
        """The tokens of a layer; ``complete`` if they are all tokens of the window."""

    @abstractmethod
    def finish(self) -> None:
        """End the window: after this, :attr:`updates` is filled."""

    def clear(self) -> None:
        """Drop an unfinished window."""
        self.updates.clear()
        self.dense = {}

    def context(self, layer: Layer, part: str = "", **options: Any) -> LayerContext:
        """What a method may know when it merges the gradients of a layer, or of one of its factors."""
        name = layer.name + part
        generator = torch.Generator().manual_seed(derive_seed("gradients", "layer", self.seed, self.step, name))
        state = self.states.setdefault(name, {})
        return LayerContext(rank=layer.A.shape[0], state=state, generator=generator, **options)


class WeightMerging(Merging):
    """A local method on the dense gradients of W."""

    def __init__(self, method: LocalMethod, seed: int, mean: ProcessMean, *, keep_dense: bool) -> None:
        super().__init__(seed, mean)
        self.method = method
        self._keep_dense = keep_dense
        self._totals: dict[str, tuple[Layer, RowPlan, Tensor]] = {}
        self._test_matrices: dict[tuple[Any, ...], Tensor] = {}

    def add(
        self, layer: Layer, X: Tensor, D: Tensor, segments: list[Segment], plan: RowPlan, *, complete: bool
    ) -> None:
        tiled = not (self.method.whole_layer or self._keep_dense or self.mean.processes > 1)
        if complete and tiled:
            merged = merge_tokens(self.method, X, D, segments, plan)
            self._update(layer, merged, self._context(layer, merged))
            return
        _refuse_pieces(plan, complete, self.mean.processes)
        known = self._totals.get(layer.name)
        total = accumulate(None if known is None else known[2], X, D, segments, plan)
        self._totals[layer.name] = (layer, plan, total)
        if complete:
            self._merge_total(layer.name)

    def finish(self) -> None:
        for name in list(self._totals):
            self._merge_total(name)

    def clear(self) -> None:
        super().clear()
        self._totals.clear()

    def _merge_total(self, name: str) -> None:
        layer, plan, total = self._totals.pop(name)
        self.mean([total])
        if self._keep_dense:
            self.dense[name] = by_set(total, plan).mean(0) if plan.paired else total
        context = self._context(layer, total)
        with torch.autocast(total.device.type, enabled=False):
            if self.method.whole_layer:
                merged = self.method.merge_layer(by_set(total, plan), context)
            elif plan.paired:
                merged = self.method.merge(by_set(total, plan))
            else:
                merged = merge_dense(self.method, total)
            self._update(layer, merged, context)

    def _update(self, layer: Layer, merged: Tensor | LowRank, context: LayerContext) -> None:
        kept = self.method.project(merged, context)
        if self.method.retracts:
            assert isinstance(kept, LowRank)
            self.updates[layer.name] = kept
        else:
            self.updates[layer.name] = self.method.factor_gradients(kept, layer.A, layer.B, layer.scaling)

    def _context(self, layer: Layer, like: Tensor) -> LayerContext:
        columns = self.method.test_columns(layer.A.shape[0])
        if columns == 0:
            return self.context(layer)
        key = (like.shape[-1], columns, like.dtype, like.device)
        if key not in self._test_matrices:
            self._test_matrices[key] = gaussian_test_matrix(
                key[0], columns, seed=self.seed, dtype=like.dtype, device=like.device
            )
        return self.context(layer, test_matrix=self._test_matrices[key])


class _Factors(Merging):
    """Per-domain gradients of A [K r n] and B, transposed [K r m], summed over the window.

    ``dA_k = s B' G_k = scale (s D_k B)' X_k`` and ``dB_k' = s A G_k' = scale (s X_k A')' D_k``: G_k itself is never
    formed. Every product is written with r rows: a CPU takes two to ten times as long for one with 8 columns.
    """

    def __init__(self, seed: int, mean: ProcessMean) -> None:
        super().__init__(seed, mean)
        self.totals: dict[str, tuple[Layer, RowPlan, Tensor, Tensor]] = {}

    def add(
        self, layer: Layer, X: Tensor, D: Tensor, segments: list[Segment], plan: RowPlan, *, complete: bool
    ) -> None:
        _refuse_pieces(plan, complete, self.mean.processes)
        X, D = upcast(X, D)
        known = self.totals.get(layer.name)
        before = (None, None) if known is None else known[2:]
        A, B = (layer.scaling * layer.A).to(X.dtype), (layer.scaling * layer.B).to(X.dtype)
        of_A = accumulate(before[0], X, (B.mT @ D.mT).mT, segments, plan)
        of_B = accumulate(before[1], D, (A @ X.mT).mT, segments, plan)
        self.totals[layer.name] = (layer, plan, of_A, of_B)

    def clear(self) -> None:
        super().clear()
        self.totals.clear()

    def reduce(self) -> None:
        """Bring the totals of all processes together."""
        self.mean(tensor for entry in self.totals.values() for tensor in entry[2:])


class FactorMerging(_Factors):
    """A local method on the gradients of A and of B, each for itself."""

    def __init__(self, method: LocalMethod, seed: int, mean: ProcessMean) -> None:
        super().__init__(seed, mean)
        self.method = method

    def finish(self) -> None:
        self.reduce()
        for name, (layer, plan, of_A, of_B) in self.totals.items():
            dA = self.method.merge_layer(by_set(of_A, plan), self.context(layer, ".A"))
            dB = self.method.merge_layer(by_set(of_B.mT.contiguous(), plan), self.context(layer, ".B"))
            assert isinstance(dA, Tensor)
            assert isinstance(dB, Tensor)
            self.updates[name] = (dA, dB)
        self.totals.clear()


class GlobalMerging(_Factors):
    """A global method: one weight for each domain, from the inner products of whole gradients."""

    def __init__(self, method: GlobalMethod, seed: int, mean: ProcessMean) -> None:
        super().__init__(seed, mean)
        self.method = method

    def finish(self) -> None:
        self.reduce()
        gramian: Tensor | None = None
        for _, _, *both in self.totals.values():
            for grads in both:
                flat = grads.flatten(1)
                # Each layer's products in its own precision, their sum over layers in double.
                products = (flat @ flat.mT).double().cpu()
                gramian = products if gramian is None else gramian + products
        if gramian is None:
            return
        rng = named_random("gradients", type(self.method).__name__, self.seed, self.step)
        weights = self.method.weights(gramian, rng)
        for name, (_, _, of_A, of_B) in self.totals.items():
            dA, dB = (torch.tensordot(weights.to(grads), grads, dims=1) for grads in (of_A, of_B))
            self.updates[name] = (dA, dB.mT.contiguous())
        self.totals.clear()


def merging_for(
    method: LocalMethod | GlobalMethod, seed: int, mean: ProcessMean, *, keep_dense: bool
) -> WeightMerging | FactorMerging | GlobalMerging:
    """What serves a method.

    Raises:
        UserError: dense gradients are to be kept of a method that never forms them.
    """
    if isinstance(method, LocalMethod) and method.space == "weight":
        return WeightMerging(method, seed, mean, keep_dense=keep_dense)
    if keep_dense:
        raise UserError("keep_dense: this method works on the gradients of A and B and forms no dense gradient")
    if isinstance(method, LocalMethod):
        return FactorMerging(method, seed, mean)
    return GlobalMerging(method, seed, mean)


def _refuse_pieces(plan: RowPlan, complete: bool, processes: int) -> None:
    if plan.paired and not (complete and processes == 1):
        raise UserError(
            "variance within sets is taken from one batch of one process: set gradient_accumulation_steps to 1 and "
            "train in one process, or use another form of variance"
        )
