"""Hidden states of a forward pass, caught on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from isograd.common.errors import UserError

__all__ = ["final_states", "penultimate_states"]


@contextmanager
def final_states(base: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the output head will see, [rows, tokens, width], of the forward passes made inside.

    Args:
        base: the causal LM (not the PEFT wrapper).
    """
    states: list[Tensor] = []
    backbone: Any = base.base_model
    handle = backbone.register_forward_hook(lambda _module, _args, output: states.append(output[0]))
    try:
        yield states
    finally:
        handle.remove()


@contextmanager
def penultimate_states(base: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the last transformer block is given, [rows, tokens, width], of the forward passes made inside.

    Args:
        base: the causal LM (not the PEFT wrapper).

    Raises:
        UserError: the model has no list of as many blocks as its configuration says.
    """
    states: list[Tensor] = []
    handle = _last_block(base).register_forward_pre_hook(
        lambda _module, args, kwargs: states.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    try:
        yield states
    finally:
        handle.remove()


def _last_block(base: nn.Module) -> nn.Module:
    depth = base.config.get_text_config().num_hidden_layers  # type: ignore[operator, union-attr]
    for module in base.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module[-1]
    raise UserError(f"no list of {depth} layers was found in {type(base).__name__}; use another form of consistency")
