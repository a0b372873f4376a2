"""The fused output head at supervised positions only, on CPU too."""

from __future__ import annotations

import functools
import types
from typing import Any

from torch import Tensor, nn

__all__ = ["score_supervised_only"]

_PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


def score_supervised_only(base: nn.Module) -> None:
    """Let a causal LM's fused forward project only positions that have a label, where TRL projects all of them.

    TRL leaves out the others on devices with Triton; on a CPU it scores the prompts as well and throws that away. With
    short completions the head is most of a step of a small model. What is returned is the same: zeros elsewhere.

    Args:
        base: the causal LM (not the PEFT wrapper), with TRL's fused head. Its ``forward`` is replaced.
    """
    forward = base.forward
    backbone: Any = base.base_model

    @functools.wraps(type(base).forward)
    def on_supervised(self: nn.Module, *args: Any, labels: Tensor | None = None, **kwargs: Any) -> Any:  # noqa: ARG001
        if not kwargs.get("fused_lm_head") or labels is None or labels.device.type != "cpu":
            return forward(*args, labels=labels, **kwargs)
        targets = labels[:, 1:]
        supervised = targets != -100

        def keep(_module: nn.Module, _args: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[:, :-1][supervised][None]
            return output

        handle = backbone.register_forward_hook(keep)
        try:
            outputs = forward(*args, shift_labels=targets[supervised][None], **kwargs)
        finally:
            handle.remove()
        for name in _PER_TOKEN:
            values = getattr(outputs, name)
            if values is not None:
                setattr(outputs, name, values.new_zeros(supervised.shape).masked_scatter(supervised, values))
        outputs.label_mask = supervised
        return outputs

    base.forward = types.MethodType(on_supervised, base)  # type: ignore[method-assign]
