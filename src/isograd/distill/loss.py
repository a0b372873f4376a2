"""Losses of one micro-batch, by domain, and the logits at aligned places."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["OutputRecorder", "head_logits", "last_hidden_state", "sum_by_domain"]


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


@contextmanager
def last_hidden_state(backbone: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the backbone's final hidden states, [rows, tokens, width], of the forward passes made inside."""
    states: list[Tensor] = []
    handle = backbone.register_forward_hook(lambda _module, _args, output: states.append(output[0]))
    try:
        yield states
    finally:
        handle.remove()


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
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
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
