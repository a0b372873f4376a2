"""Optimizer steps that walk from domain to domain, for methods that do so (Fish)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["rows_of", "walk_domains"]


def walk_domains(
    parameters: Sequence[nn.Parameter],
    order: Sequence[int],
    backward: Callable[[int], Tensor],
    step_size: float,
) -> Tensor:
    """Leave in ``.grad`` of each parameter the way gone by one descent step per domain, scaled like one gradient.

    That is the mean of the gradients met on the way, which loses nothing to the difference of two nearby points.

    Args:
        parameters: what trains; unchanged in the end.
        order: the domains, each once.
        backward: backpropagates the loss of a domain and returns it.
        step_size: of each step.

    Returns:
        The mean of the losses, each at the point where its domain was met.
    """
    start = [parameter.detach().clone() for parameter in parameters]
    met = [torch.zeros_like(before) for before in start]
    losses = []
    try:
        for domain in order:
            for parameter in parameters:
                parameter.grad = None
            losses.append(backward(domain))
            with torch.no_grad():
                for parameter, total in zip(parameters, met, strict=True):
                    if parameter.grad is not None:
                        total.add_(parameter.grad)
                        parameter.add_(parameter.grad, alpha=-step_size)
    finally:
        # A pass that raises, or Ctrl-C, must not leave the model on the way.
        with torch.no_grad():
            for parameter, before in zip(parameters, start, strict=True):
                parameter.copy_(before)
    for parameter, total in zip(parameters, met, strict=True):
        parameter.grad = total.div_(len(order))
    return torch.stack(losses).mean()


def rows_of(inputs: dict[str, Any], domain: int) -> dict[str, Any]:
    """The part of a batch that tells one domain."""
    rows = (inputs["domain_index"] == domain).nonzero().squeeze(-1)
    return {
        name: value[rows.to(value.device)] if isinstance(value, Tensor) else value for name, value in inputs.items()
    }
