"""What is minimized in one optimizer step, over all its micro-batches and processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isograd.gradients import DomainLosses, HeadTokens, LossMethod, State

__all__ = ["Shares", "StepObjective", "drawing_again"]


def drawing_again(model: nn.Module) -> AbstractContextManager[None]:
    """What dropout draws inside, on the CPU and on the model's devices, it draws again after."""
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type not in ("cpu", "meta")}
    kind = next(iter(devices)).type if devices else "cpu"
    return torch.random.fork_rng(devices, device_type=kind)


@dataclass(frozen=True)
class Shares:
    """What one micro-batch contributes to the means over all tokens of the step, by domain.

    Attributes:
        losses: of the negative log-likelihood, in nats per token.
        scale_gradients: of ``-log p(y) - H(p)``.
    """

    losses: Float[Tensor, " K"]
    scale_gradients: Float[Tensor, " K"]


class StepObjective:
    """The loss of a loss-level method where no micro-batch and no process sees the whole step.

    A method's loss F is a function of the step's means L_k (and of the scale gradients S_k), so its gradient is
    ``sum_k (dF/dL_k) dL_k + (dF/dS_k) dS_k``: with the means known, the coefficients are, and each micro-batch
    backpropagates its linear share. Exact for accumulation and several processes. The means of a step of several
    micro-batches take one more forward pass, unless the method does not need them; under :func:`drawing_again`, so
    that both passes drop the same.
    """

    def __init__(self, sum_over_processes: Callable[[Tensor], Tensor], processes: int) -> None:
        self.state: State = {}
        self._sum = sum_over_processes
        self._processes = processes
        self._value = torch.zeros(())
        self._coefficients: tuple[Tensor, Tensor] | None = None
        self._batches = 1

    def begin(self, batches: int) -> None:
        """A step of so many micro-batches begins."""
        self._batches, self._coefficients = batches, None

    def know(self, method: LossMethod, tokens: Float[Tensor, " K"], shares: Sequence[Shares]) -> None:
        """Take the step's coefficients from the shares of all its micro-batches on this process.

        Args:
            method: a loss method that does not need the head.
            tokens: supervised tokens of each domain in the whole step.
            shares: of each micro-batch; their graphs are not used.
        """
        losses = self._sum(torch.stack([one.losses.detach() for one in shares]).sum(0)).requires_grad_()
        scale = self._sum(torch.stack([one.scale_gradients.detach() for one in shares]).sum(0)).requires_grad_()
        with torch.enable_grad():
            seen = DomainLosses(losses, tokens.to(losses), scale if method.needs_scale_gradients else None)
            value = method.combine(seen, self.state)
            by_loss, by_scale = torch.autograd.grad(value, (losses, scale), allow_unused=True)
        none = torch.zeros_like(losses)
        self._coefficients = (none if by_loss is None else by_loss, none if by_scale is None else by_scale)
        self._value = value.detach()

    def loss(self, method: LossMethod, tokens: Float[Tensor, " K"], shares: Shares) -> Float[Tensor, ""]:
        """This micro-batch's share of the loss, whose mean over processes, summed over micro-batches, is F."""
        if method.linear or self._coefficients is None:
            # Of a linear method, or a step of one micro-batch: its own share is all that counts.
            self.know(method, tokens, [shares])
        value = self._value if method.linear else self._value / self._batches
        assert self._coefficients is not None
        by_loss, by_scale = self._coefficients
        linear = (by_loss * shares.losses).sum()
        if method.needs_scale_gradients:
            linear = linear + (by_scale * shares.scale_gradients).sum()
        linear = linear * self._processes
        # The value is what the log should show; the gradient is the linear part's.
        return linear + (value - linear).detach()

    def loss_with_head(
        self, method: LossMethod, tokens: Float[Tensor, " K"], shares: Shares, head: HeadTokens
    ) -> Float[Tensor, ""]:
        """The loss of a method that needs the head; the step is this one micro-batch."""
        seen = DomainLosses(shares.losses, tokens.to(shares.losses), shares.scale_gradients, head)
        return method.combine(seen, self.state)
