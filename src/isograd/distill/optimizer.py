"""AdamW whose second moment may see another gradient than its first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["RawSecondMomentAdamW"]


class RawSecondMomentAdamW(torch.optim.Optimizer):
    """AdamW (arXiv 1711.05101) with the second moment of ``parameter.raw_grad``.

    Adam divides by the root mean square of what it is given, so that a mask which is the same at every step has no
    effect. Here the mean is of the masked gradient and the mean square of the gradient before the mask::

        m <- b1 m + (1 - b1) grad          v <- b2 v + (1 - b2) raw_grad^2
        theta <- (1 - lr wd) theta - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    A parameter without ``raw_grad`` uses its gradient for both, which is AdamW. Gradient clipping goes by the norm of
    ``grad`` and scales ``raw_grad`` alike, which needs ``parameter.masked_norm``, the norm of ``grad`` before it: a
    clipped step is the step of gradients that many times smaller, as it is in AdamW.

    Args:
        params: as for ``torch.optim.AdamW``.
        lr: learning rate.
        betas: b1 and b2.
        eps: added to the root.
        weight_decay: wd.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        kept = self._kept_by_clipping()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, group, kept)
        return loss

    def _kept_by_clipping(self) -> float:
        """The factor by which ``grad`` was scaled since it was written."""
        written = [
            parameter
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and hasattr(parameter, "masked_norm")
        ]
        if not written:
            return 1.0
        first = written[0].device
        now = torch.stack([torch.linalg.vector_norm(parameter.grad).to(first) for parameter in written]).norm()
        before = torch.stack([parameter.masked_norm.to(first) for parameter in written]).norm()
        return (now / before).item() if before > 0 else 1.0

    def _step(self, parameter: Tensor, group: dict[str, Any], kept: float) -> None:
        grad = parameter.grad
        assert grad is not None
        raw = getattr(parameter, "raw_grad", None)
        first, second = group["betas"]
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        state["exp_avg"].lerp_(grad, 1 - first)
        squared = grad if raw is None else raw * kept
        state["exp_avg_sq"].mul_(second).addcmul_(squared, squared, value=1 - second)
        corrected_root = (state["exp_avg_sq"] / (1 - second ** state["step"])).sqrt_().add_(group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(state["exp_avg"], corrected_root, value=-group["lr"] / (1 - first ** state["step"]))
