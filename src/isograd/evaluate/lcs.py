"""The Logical Consistency Score: how far apart a student holds problems that are logically the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from isograd.common.errors import UserError
from isograd.isomers import IsomerSet

__all__ = ["Consistency", "four_layers", "logical_consistency", "pairwise_distances"]


@dataclass(frozen=True)
class Consistency:
    """Mean cosine distances of pooled states.

    Attributes:
        within: between the members of one set: the LCS, lower is more consistent.
        between: between members of different sets in different domains: pairs that differ in the words as much as
            those within a set do, and in the logic besides. A collapsed representation has both near zero, and one
            that holds words alone has both equal, so the LCS says nothing without it.

    One member a set leaves both, and a single set leaves ``between``, NaN.
    """

    within: float
    between: float


def pairwise_distances(states: Float[Tensor, "n K d"]) -> Consistency:
    """LCS of pooled states, one row a member.

    The paper (arXiv 2606.05025) gives no formula; this one is isograd's:

        LCS = mean over sets of (1 / (K (K - 1))) * sum over members i != j of (1 - cos(h_i, h_j))

    Args:
        states: pooled hidden states of n sets of K members, the domains in the same order in each.
    """
    sets, members, _ = states.shape
    unit = F.normalize(states.double(), dim=-1)
    # Sums of cosines over pairs of different domains, from the lengths of sums of unit vectors.
    own = unit.sum(1).square().sum() - unit.square().sum()
    every = unit.sum((0, 1)).square().sum() - unit.sum(0).square().sum()
    pairs_within = sets * members * (members - 1)
    pairs_between = pairs_within * (sets - 1)
    return Consistency(
        within=(1 - own / pairs_within).item() if pairs_within else float("nan"),
        between=(1 - (every - own) / pairs_between).item() if pairs_between else float("nan"),
    )


def four_layers(depth: int) -> list[int]:
    """Layers at which to see how much the LCS depends on the layer.

    After a quarter and half of ``depth`` blocks, after the last but one, and after the last; shallow models have
    fewer. The paper looks at four layers and does not say which.
    """
    return sorted({max(1, round(depth / 4)), max(1, round(depth / 2)), max(1, depth - 1), depth})


@torch.no_grad()
def logical_consistency(
    model: Any, tokenizer: Any, sets: Sequence[IsomerSet], *, layers: Sequence[int] = (-2,), batch_size: int = 128
) -> dict[int, dict[str, Consistency]]:
    """LCS of a student on isomer sets, at the moment before it decides.

    Each member's prompt and reference reasoning are read up to the answer (the answer itself left out), and the
    states of each layer pooled over the tokens, begin mark and padding left out.

    Args:
        model: a causal LM.
        tokenizer: its tokenizer.
        sets: sets of the same domains.
        layers: indices into ``hidden_states`` (0 are the embeddings); -2 is the penultimate layer.
        batch_size: texts in one forward pass.

    Returns:
        By layer, and by pooling: ``mean`` over the tokens, and ``last`` token.

    Raises:
        UserError: no sets, or sets of different domains.
    """
    told = sorted({tuple(sorted(isomer_set.domains)) for isomer_set in sets})
    if len(told) != 1:
        found = f"sets of {' and of '.join('/'.join(domains) for domains in told)}" if told else "no sets"
        raise UserError(f"the consistency score needs sets of the same domains, not {found}")
    was_training, side = model.training, tokenizer.padding_side
    model.eval()
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    texts = [
        (member.prompt + member.completion)[: len(member.prompt) + member.spans[-1].start].rstrip(" ")
        for isomer_set in sets
        for member in sorted(isomer_set.members, key=lambda item: item.domain)
    ]
    pooled: dict[int, dict[str, list[Tensor]]] = {layer: {"mean": [], "last": []} for layer in layers}
    try:
        for start in range(0, len(texts), batch_size):
            batch = tokenizer(texts[start : start + batch_size], return_tensors="pt", padding=True).to(model.device)
            every = model(**batch, output_hidden_states=True, use_cache=False).hidden_states
            mask = batch["attention_mask"].clone()
            lengths = mask.sum(1)
            if tokenizer.bos_token_id is not None:
                mask &= batch["input_ids"] != tokenizer.bos_token_id
            for layer, parts in pooled.items():
                states = every[layer].float()
                parts["mean"].append((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
                parts["last"].append(states[torch.arange(len(states)), lengths - 1])
    finally:
        tokenizer.padding_side = side
        model.train(was_training)
    members = len(told[0])
    return {
        layer: {name: pairwise_distances(torch.cat(rows).unflatten(0, (-1, members))) for name, rows in parts.items()}
        for layer, parts in pooled.items()
    }
