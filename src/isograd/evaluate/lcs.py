"""The Logical Consistency Score: how far apart a student holds problems that are logically the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.errors import UserError
from isograd.evaluate.lcs_data import ReadMember, ReadSet
from isograd.evaluate.lcs_sums import COLLAPSED, CkaSums, Consistency, CosineSums
from isograd.isomers import IsomerSet

__all__ = ["POOLINGS", "all_layers", "consistency_record", "four_layers", "logical_consistency"]

POOLINGS: Final = ("mean", "last", "spans")

Scores = dict[int, dict[str, dict[str, Consistency]]]
"""By layer, pooling (:data:`POOLINGS`) and form (``cosine``, ``cka``)."""


def four_layers(depth: int) -> list[int]:
    """Layers at which to see how much the LCS depends on the layer.

    After a quarter and half of ``depth`` blocks, after the last but one, and after the last; shallow models have
    fewer. The paper looks at four layers and does not say which.
    """
    return sorted({max(1, round(depth / 4)), max(1, round(depth / 2)), max(1, depth - 1), depth})


def all_layers(depth: int) -> list[int]:
    """The embeddings (0), and after each of ``depth`` blocks."""
    return list(range(depth + 1))


def consistency_record(forms: Mapping[str, Consistency]) -> dict[str, Any]:
    """Distances of one layer and pooling as JSON holds them; ``None`` for what cannot be known.

    ``within`` and ``between`` are the cosine form; ``collapsed`` tells whether its distance between different problems
    is below :data:`~isograd.evaluate.lcs_sums.COLLAPSED`, where no distance within sets means anything.
    """
    cosine, cka = (_distances(forms[name]) for name in ("cosine", "cka"))
    return {**cosine, "collapsed": forms["cosine"].between < COLLAPSED, "cka": cka}


def _distances(score: Consistency) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {
        name: None if math.isnan(value) else value
        for name, value in (("within", score.within), ("between", score.between))
    }


@torch.no_grad()
def logical_consistency(
    model: Any,
    tokenizer: Any,
    sets: Iterable[IsomerSet | ReadSet],
    *,
    layers: Sequence[int] = (-2,),
    poolings: Sequence[str] = ("mean", "last"),
    batch_size: int = 128,
) -> Scores:
    """LCS of a student on isomer sets, at the moment before it decides.

    Each member's prompt and reference reasoning are read up to the answer (the answer itself left out), and the
    states of each layer pooled over the tokens, begin mark and padding left out. Sets are gone through once and not
    kept: memory depends on ``batch_size``, layers, poolings and width, not on their number.

    Args:
        model: a causal LM.
        tokenizer: its tokenizer.
        sets: sets of the same domains.
        layers: indices into ``hidden_states`` (0 are the embeddings); -2 is the penultimate layer. The last is what
            the model hands on, after its final norm where it has one.
        poolings: ``mean`` over the tokens, ``last`` token, or ``spans``: the mean over the aligned spans before the
            answer, each of them the mean over the tokens that it touches.
        batch_size: texts in one forward pass.

    Returns:
        By layer, pooling and form: ``cosine`` (:class:`CosineSums`) and ``cka`` (:class:`CkaSums`).

    Raises:
        UserError: no sets, sets of different domains or with a domain twice, an unknown pooling, or spans where there
            are none, or where the tokenizer cannot tell where its tokens stand.
    """
    for pooling in poolings:
        if pooling not in POOLINGS:
            raise UserError(f"unknown pooling {pooling!r}; there are: {', '.join(POOLINGS)}")
    if "spans" in poolings and not tokenizer.is_fast:
        raise UserError("pooling 'spans' needs a fast tokenizer (one with character offsets); leave it out")
    # Under an adapter lies the model that holds its layers. Its decoder has no vocabulary to multiply by.
    decoder = getattr(model, "get_base_model", lambda: model)().get_decoder()
    sums = {layer: {pooling: (CosineSums(), CkaSums()) for pooling in poolings} for layer in layers}
    waiting: dict[tuple[int, str], Tensor] = {}
    count = _Counted(sets, spans="spans" in poolings)
    was_training, side, pad = model.training, tokenizer.padding_side, tokenizer.pad_token
    model.eval()
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    try:
        stream = count.members()
        while members := list(islice(stream, batch_size)):
            batch, weights = _tokens(tokenizer, members, poolings)
            batch, weights = batch.to(model.device), weights.to(model.device)
            every = decoder(**batch, output_hidden_states=True, use_cache=False).hidden_states
            for layer, by_pooling in sums.items():
                pooled = torch.einsum("bpt,btd->pbd", weights, every[layer].float()).cpu()
                for (pooling, forms), states in zip(by_pooling.items(), pooled, strict=True):
                    # A set may begin in one batch and end in another.
                    key = (layer, pooling)
                    rows = torch.cat([waiting[key], states]) if key in waiting else states
                    whole = len(rows) // len(count.domains) * len(count.domains)
                    waiting[key] = rows[whole:].clone()
                    for form in forms:
                        form.add(rows[:whole].unflatten(0, (-1, len(count.domains))))
    finally:
        tokenizer.padding_side = side
        tokenizer.pad_token = pad
        model.train(was_training)
    if not count.domains:
        raise UserError("the consistency score needs sets of the same domains, not no sets")
    return {
        layer: {
            pooling: {"cosine": cosine.result(), "cka": cka.result()} for pooling, (cosine, cka) in by_pooling.items()
        }
        for layer, by_pooling in sums.items()
    }


class _Counted:
    """Members of sets one after another, checked as they pass by."""

    def __init__(self, sets: Iterable[IsomerSet | ReadSet], *, spans: bool) -> None:
        self._sets, self._spans = sets, spans
        self.domains: tuple[str, ...] = ()

    def members(self) -> Iterator[ReadMember]:
        for item in self._sets:
            read = item if isinstance(item, ReadSet) else ReadSet.of(item)
            self.domains = self.domains or read.domains
            if read.domains != self.domains or len(set(read.domains)) < len(read.domains):
                found = "/".join(read.domains)
                raise UserError(
                    f"set {read.id!r}: the consistency score needs sets of the same domains, each once, not sets of "
                    f"{'/'.join(self.domains)} and of {found}; rows of one set must stand together"
                )
            if self._spans and not read.has_spans:
                raise UserError(
                    f"set {read.id!r}: has no aligned spans before the answer; leave out the pooling 'spans'"
                )
            yield from read.members


def _tokens(
    tokenizer: Any, members: Sequence[ReadMember], poolings: Sequence[str]
) -> tuple[Any, Float[Tensor, "b p t"]]:
    """A batch, and the weight of each of its tokens in each pooling; they sum to 1."""
    texts = [member.text for member in members]
    batch = tokenizer(texts, return_tensors="pt", padding=True, return_offsets_mapping="spans" in poolings)
    offsets: Any = batch.pop("offset_mapping", None)
    mask = batch["attention_mask"]
    weights = torch.zeros(len(members), len(poolings), mask.shape[1])
    for number, pooling in enumerate(poolings):
        if pooling == "last":
            weights[torch.arange(len(members)), number, mask.sum(1) - 1] = 1
        elif pooling == "mean":
            read = mask.bool()
            if tokenizer.bos_token_id is not None:
                read = read & (batch["input_ids"] != tokenizer.bos_token_id)
            weights[:, number] = read / read.sum(1, keepdim=True)
        else:
            for row, member in enumerate(members):
                weights[row, number] = _span_weights(offsets[row], member)
    return batch, weights


def _span_weights(offsets: Float[Tensor, "t 2"], member: ReadMember) -> Float[Tensor, " t"]:
    first, last = offsets.unbind(1)
    total = torch.zeros(len(offsets))
    for start, end in member.spans:
        # Padding and marks have the offsets (0, 0).
        touched = (last > start) & (first < end) & (last > first)
        if not touched.any():
            raise UserError(f"no token stands at {member.text[start:end]!r}; leave out the pooling 'spans'")
        total += touched / touched.sum() / len(member.spans)
    return total
