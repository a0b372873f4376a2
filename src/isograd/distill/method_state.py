"""What a gradient method remembers, in a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from isograd.gradients import State

__all__ = ["FILE", "load_states", "save_states"]

FILE = "method_state.safetensors"
_SEPARATOR = "|"


def save_states(states: dict[str, State], folder: Path) -> None:
    """Write the states of all layers; nothing where there is nothing to remember.

    Args:
        states: by layer name; the name ``""`` is for what belongs to no layer.
        folder: of the checkpoint.
    """
    flat: dict[str, Tensor] = {
        f"{layer}{_SEPARATOR}{name}": value.contiguous()
        for layer, state in states.items()
        for name, value in state.items()
    }
    if flat:
        save_file(flat, folder / FILE)


def load_states(folder: Path, device: torch.device) -> dict[str, State]:
    """The states that :func:`save_states` wrote; none where it wrote nothing."""
    states: dict[str, State] = {}
    if (folder / FILE).is_file():
        for key, value in load_file(folder / FILE, device=str(device)).items():
            layer, _, name = key.rpartition(_SEPARATOR)
            states.setdefault(layer, {})[name] = value
    return states
