"""The isomer-consistency term on a batch: which predictions or states are compared, where, and how strongly."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isograd.distill.hidden import final_states, penultimate_states
from isograd.distill.loss import head_logits
from isograd.gradients import CONSISTENCY, HIDDEN_CONSISTENCY, ramped

__all__ = ["PLACES", "ConsistencyTerm", "choose_places", "comparable_places"]

PLACES = ("answer", "steps", "all")


def choose_places(places: list[int], at: str) -> list[int]:
    """Of the places of a row's aligned spans, those compared: the last is the answer, the others are steps' values."""
    return {"answer": places[-1:], "steps": places[:-1], "all": places}[at]


def comparable_places(aligned: Int[Tensor, "rows spans"], members: int) -> int:
    """Places that at least two members of a set have.

    Args:
        aligned: token index of each place, -1 where a row has none; the rows of a set follow one another.
        members: rows of a set, K.
    """
    return int(((aligned >= 0).unflatten(0, (-1, members)).sum(1) >= 2).sum())


class ConsistencyTerm:
    """A term that compares the members of each set at their aligned places; isograd's own, not part of IGA.

    Args:
        form: a key of ``CONSISTENCY`` (of predictions) or of ``HIDDEN_CONSISTENCY`` (of hidden states).
        weight: lambda.
        start: optimizer steps before the term begins to act.
        ramp: optimizer steps over which its weight then rises, linearly, to lambda.
    """

    def __init__(self, form: str, weight: float, *, start: int = 0, ramp: int = 0) -> None:
        self.form = form
        self._weight = weight
        self._start = start
        self._ramp = ramp

    @property
    def _of_states(self) -> bool:
        return self.form in HIDDEN_CONSISTENCY

    def weight(self, step: int) -> float:
        """Lambda after so many optimizer steps."""
        return ramped(self._weight, step, self._start, self._ramp)

    def watching(self, base: nn.Module) -> AbstractContextManager[list[Tensor]]:
        """Collect the hidden states that the term needs, [rows, tokens, width], of the forward pass made inside.

        Args:
            base: the causal LM (not the PEFT wrapper).
        """
        return penultimate_states(base) if self._of_states else final_states(base)

    def __call__(
        self,
        base: nn.Module,
        hidden: Float[Tensor, "rows tokens width"],
        aligned: Int[Tensor, "rows spans"],
        members: int,
    ) -> Float[Tensor, ""]:
        """The term, without its weight, as a mean over the places of the batch.

        Args:
            base: the causal LM.
            hidden: what :meth:`watching` collected.
            aligned: token index of each place, -1 where a row has none; the rows of a set follow one another.
            members: rows of a set, K.
        """
        # [sets * K, spans] -> [places, K]; sets of fewer spans than others are padded with -1.
        columns = aligned.unflatten(0, (-1, members)).transpose(1, 2).flatten(0, 1)
        rows = torch.arange(len(aligned), device=hidden.device).unflatten(0, (-1, members))
        rows = rows.repeat_interleave(aligned.shape[1], 0)
        # The hidden state before a token predicts it.
        states = hidden[rows, columns - 1]
        if self._of_states:
            return HIDDEN_CONSISTENCY[self.form](states, columns >= 0)
        return CONSISTENCY[self.form](head_logits(base, states), columns >= 0)
