"""Losses of one micro-batch, by domain, and the logits at aligned places."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isograd.common.errors import UserError
from isograd.gradients import HeadTokens

__all__ = ["OutputRecorder", "head_logits", "head_tokens", "sum_by_domain"]


_SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier")


class OutputRecorder:
    """Stands in for a model that is only called, and keeps what it returned."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.outputs: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.outputs = self.model(*args, **kwargs)
        return self.outputs


def sum_by_domain(
    values: Float[Tensor, "rows tokens"], domains: Int[Tensor, rows], num_domains: int
) -> Float[Tensor, K]:
    """Sum token values over the rows of each domain."""
    return values.new_zeros(num_domains).index_add(0, domains, values.sum(1))


def head_tokens(
    model: nn.Module,
    hidden: Float[Tensor, "rows tokens width"],
    labels: Int[Tensor, "rows tokens"],
    domains: Int[Tensor, rows],
) -> HeadTokens:
    """The supervised tokens of a batch, for methods that look at the output head's gradient.

    Args:
        model: the base causal LM.
        hidden: final hidden states, normalized.
        labels: -100 where a token is not supervised.
        domains: of each row.

    Raises:
        UserError: logits are not ``hidden @ weight.T``.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    config = model.config.get_text_config()  # type: ignore[operator, union-attr]
    altered = [name for name in (*_SCALES, "logits_scaling", "final_logit_softcapping") if getattr(config, name, None)]
    if altered or getattr(head, "bias", None) is not None:
        raise UserError(
            f"this model's logits are more than a product with the head ({', '.join(altered) or 'it has a bias'}), "
            "which methods that use the head's gradient do not allow for; use another method"
        )
    targets = labels[:, 1:]
    supervised = targets != -100
    rows = domains.to(targets.device)[:, None].expand_as(targets)
    return HeadTokens(hidden[:, :-1][supervised], targets[supervised], rows[supervised], head.weight)


def head_logits(model: nn.Module, hidden: Float[Tensor, "... width"]) -> Float[Tensor, "... vocabulary"]:
    """Logits of a causal LM from final hidden states, as the model's own forward computes them.

    The trainer's fused head returns no full logits; this makes them at a few places only. Scaling and soft-capping
    follow the names that model configurations use for them.

    Args:
        model: the base causal LM (not the PEFT wrapper).
        hidden: final hidden states, normalized.
    """
    config = model.config.get_text_config()  # type: ignore[operator, union-attr]
    head = model.get_output_embeddings()  # type: ignore[operator]
    logits: Tensor = head(hidden.to(head.weight.dtype))
    for name in _SCALES:
        if getattr(config, name, None) is not None:
            logits = logits * getattr(config, name)
            break
    else:
        if getattr(config, "logits_scaling", None) is not None:
            factor = config.logits_scaling
            logits = logits * factor if config.model_type == "hyperclovax" else logits / factor
    cap = getattr(config, "final_logit_softcapping", None)
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits
