"""Where a capture sees a layer's input rows and the gradient of its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from isograd.capture._layers import Layer
from isograd.capture._rows import RowPlan
from isograd.common.errors import UserError

__all__ = ["Tap", "check_rows"]

Record = Callable[[Layer, RowPlan, Tensor, Tensor], None]
"""Called once per layer and backward pass, with the layer's input and the gradient of its output."""


class Tap(torch.autograd.Function):
    """The identity on a layer's output, which sees the layer's input and its output's gradient in the backward pass.

    An autograd node, not a tensor hook: a hook's closure would keep x alive and defeat checkpointing, a saved tensor
    is recomputed with the rest. A and B are inputs so that there is a backward pass where x needs no gradient, and
    so that ``DistributedDataParallel`` sees them take part.
    """

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, x: Tensor, _A: Tensor, _B: Tensor, record: Record, layer: Layer, plan: RowPlan
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.record, ctx.layer, ctx.plan = record, layer, plan
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        ctx.record(ctx.layer, ctx.plan, x, grads[0])
        return grads[0], *[None] * 6


def check_rows(layer: Layer, plan: RowPlan, x: Any, output: Any) -> None:
    """Refuse a layer whose input or output does not hold the batch's rows, with a UserError that names it."""
    if not isinstance(output, Tensor) or x.shape[:-1] != output.shape[:-1]:
        raise UserError(f"layer {layer.name}: does not map rows to rows; leave it out of target_modules")
    if x.dim() < 2 or x.shape[0] != plan.rows:
        raise UserError(
            f"layer {layer.name}: its input of shape {tuple(x.shape)} does not begin with the {plan.rows} rows of the "
            "batch (packed, flattened or routed tokens); turn packing off, or leave the layer out of target_modules"
        )
