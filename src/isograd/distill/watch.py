"""What the domains' gradients have to do with each other, for the log of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isograd.capture import DomainCapture
from isograd.gradients import LayerContext, LocalMethod, Method, State

__all__ = ["GradientWatch"]

PEFT_PREFIX: Final = "base_model.model."
"""What PEFT puts before the names of a model's modules."""


class GradientWatch:
    """Logs pairwise cosines, the rate of conflict and the mean of the mask, at the steps that are logged.

    It has a capture of its own beside the method's and changes no gradient. Where a step is one micro-batch it costs
    K inner products for each entry of W, one layer at a time in memory; with more micro-batches the K dense gradients
    of every layer are held between them.

    Args:
        model: a PEFT model.
        method: the one trained with; masks by entry of W are told of.
        domains: names, in the order of their numbers.
        seed: of the shuffled mask, if the method has one.

    Raises:
        UserError: as :class:`~isograd.capture.DomainCapture`.
    """

    def __init__(self, model: nn.Module, method: Method, domains: Sequence[str], seed: int) -> None:
        self._domains = list(domains)
        watching = _Watching(method if isinstance(method, LocalMethod) else None)
        self.capture = DomainCapture(model, watching, num_domains=len(self._domains), seed=seed, only_reads=True)

    def begin(self, step: int, total: int, states: Mapping[str, State]) -> None:
        """Say which optimizer step comes next, and what the method remembers before it.

        Args:
            step: optimizer steps taken so far.
            total: optimizer steps of the whole run.
            states: of the method, by layer; left as they are.
        """
        self.capture.set_step(step, total)
        self.capture.states = {name: dict(state) for name, state in states.items()}

    def read(self) -> dict[str, float]:
        """The values of the last finished step.

        Returns:
            ``cosine/A/B`` for each pair of domains, over all adapted weights; ``conflict``: the share of entries of W
            whose gradient is positive in one domain and negative in another; ``mask/mean``, and ``mask/LAYER`` for
            each layer, in the model's order and by its names, where the method masks entries: the mean, over entries
            that have a gradient, of the mask as it is at this step, before any rescaling.
        """
        known = self.capture.states
        # The backward pass leaves them last layer first.
        states = {
            layer.name.removeprefix(PEFT_PREFIX): known[layer.name]
            for layer in self.capture.layers
            if "gram" in known.get(layer.name, {})
        }
        if not states:
            return {}
        gram = torch.stack([state["gram"].cpu() for state in states.values()]).sum(0)
        norms = gram.diagonal().sqrt()
        cosines = (gram / (norms[:, None] * norms)).nan_to_num().tolist()
        values = {
            f"cosine/{first}/{self._domains[other]}": cosines[place][other]
            for place, first in enumerate(self._domains)
            for other in range(place + 1, len(self._domains))
        }
        values["conflict"] = _ratio(states.values(), "conflicts", "entries")
        if all("mask" in state for state in states.values()):
            values["mask/mean"] = _ratio(states.values(), "mask", "masked")
            values |= {f"mask/{name}": _ratio([state], "mask", "masked") for name, state in states.items()}
        return values


def _ratio(states: Iterable[State], part: str, whole: str) -> float:
    sums = torch.tensor([[state[part].item(), state[whole].item()] for state in states], dtype=torch.float64).sum(0)
    return (sums[0] / sums[1]).item() if sums[1] else 0.0


@dataclass(frozen=True)
class _Watching(LocalMethod):
    """Not a method to train with: leaves sums in each layer's state."""

    method: LocalMethod | None = None

    @property
    def whole_layer(self) -> bool:
        return True

    def merge(self, grads: Float[Tensor, "*sets K rows n"]) -> Float[Tensor, "rows n"]:
        return grads.mean(0)

    def at(self, step: int, total: int) -> Self:
        return self if self.method is None else replace(self, method=self.method.at(step, total))

    def merge_layer(self, grads: Float[Tensor, "*sets K m n"], context: LayerContext) -> Float[Tensor, "m n"]:
        flat, state = grads.flatten(1), context.state
        remembered = dict(state)
        state.clear()
        state["gram"] = flat @ flat.mT
        # A gradient of zero agrees with every sign.
        state["conflicts"] = ((grads > 0).any(0) & (grads < 0).any(0)).sum()
        state["entries"] = torch.tensor(grads[0].numel(), device=grads.device)
        mean: Tensor = grads.mean(0)
        if self.method is not None:
            mask = self.method.entry_mask(grads, replace(context, state=remembered))
            if mask is not None:
                known = mean != 0
                state["mask"], state["masked"] = torch.where(known, mask, 0).sum(), known.sum()
        return mean
