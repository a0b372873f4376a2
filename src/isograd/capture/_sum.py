"""Sums over the processes of a distributed run, on a communicator of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed

__all__ = ["ProcessMean"]


class ProcessMean:
    """The mean of tensors over all processes; with one process, nothing at all.

    The communicator is not the one on which ``DistributedDataParallel`` reduces: both are used during the backward
    pass, and their calls must not mix.
    """

    def __init__(self) -> None:
        self.processes = 1
        self._group: Any = None
        self.begin()

    def begin(self) -> None:
        """See how many processes there are by now; all of them must call, outside of the backward pass."""
        there = distributed.is_available() and distributed.is_initialized()
        self.processes = distributed.get_world_size() if there else 1
        if self.processes == 1:
            self._group = None
        elif self._group is None:
            self._group = distributed.new_group()

    def __call__(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over processes; all processes must call in the same order."""
        if self.processes == 1:
            return
        several = list(tensors)
        if not several:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in several]) if len(several) > 1 else several[0]
        distributed.all_reduce(flat, group=self._group)
        flat /= self.processes
        if len(several) > 1:
            for tensor, part in zip(several, flat.split([one.numel() for one in several]), strict=True):
                tensor.copy_(part.view_as(tensor))
