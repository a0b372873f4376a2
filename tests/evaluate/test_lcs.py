"""The Logical Consistency Score: its value, and what it is taken over."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from isograd.common.errors import UserError
from isograd.evaluate.lcs import four_layers, logical_consistency
from isograd.evaluate.lcs_sums import Consistency, pairwise_distances
from isograd.isomers import IsomerSet, create_isomers


def naive(states: Tensor) -> Consistency:
    """The formula as it stands, pair by pair."""
    rows = [(number, place, row) for number, members in enumerate(states.double()) for place, row in enumerate(members)]
    distances: dict[bool, list[float]] = {True: [], False: []}
    for number, place, row in rows:
        for other_number, other_place, other in rows:
            if place != other_place:
                distance = 1 - (row @ other / (row.norm() * other.norm())).item()
                distances[number == other_number].append(distance)
    return Consistency(*(sum(distances[own]) / len(distances[own]) for own in (True, False)))


def random_states(n: int, members: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, members, width, generator=generator, dtype=torch.float64)


SIZES = {"n": st.integers(2, 5), "members": st.integers(2, 4), "width": st.integers(1, 6), "seed": st.integers(0, 999)}


@given(**SIZES)
def test_agrees_with_a_double_loop(n: int, members: int, width: int, seed: int) -> None:
    states = random_states(n, members, width, seed)
    fast, slow = pairwise_distances(states), naive(states)
    assert fast.within == pytest.approx(slow.within, abs=1e-12)
    assert fast.between == pytest.approx(slow.between, abs=1e-12)


@given(**SIZES)
def test_order_of_sets_and_domains_and_length_of_vectors_do_not_matter(
    n: int, members: int, width: int, seed: int
) -> None:
    states = random_states(n, members, width, seed)
    generator = torch.Generator().manual_seed(seed)
    other = states[torch.randperm(n, generator=generator)]
    other = other[:, torch.randperm(members, generator=generator)]
    other = other * torch.rand(n, members, 1, generator=generator, dtype=torch.float64).add(0.1)
    before, after = pairwise_distances(states), pairwise_distances(other)
    assert after.within == pytest.approx(before.within, abs=1e-12)
    assert after.between == pytest.approx(before.between, abs=1e-12)


def test_identical_members_are_at_distance_zero() -> None:
    # Set k lies along axis k: nothing within, right angles between.
    states = torch.eye(3)[:, None, :].expand(3, 4, 3)
    score = pairwise_distances(states)
    assert score.within == pytest.approx(0.0, abs=1e-15)
    assert score.between == pytest.approx(1.0, abs=1e-15)


def test_orthogonal_members_are_at_distance_one_and_opposite_ones_at_two() -> None:
    orthogonal = torch.eye(3)[None].expand(2, 3, 3)
    # Members of one domain are identical in all sets; they do not count.
    assert pairwise_distances(orthogonal) == Consistency(pytest.approx(1.0), pytest.approx(1.0))
    opposite = torch.tensor([[[1.0], [-1.0]], [[1.0], [-1.0]]])
    assert pairwise_distances(opposite) == Consistency(pytest.approx(2.0), pytest.approx(2.0))


def test_a_known_angle() -> None:
    states = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[0.0, 2.0], [0.0, 5.0]]])
    root = math.sqrt(0.5)
    score = pairwise_distances(states)
    assert score.within == pytest.approx(((1 - root) + 0) / 2)
    # The first of one set with the second of the other: a right angle, and 45 degrees.
    assert score.between == pytest.approx((1 + (1 - root)) / 2)


def test_collapsed_states_are_near_in_both() -> None:
    assert pairwise_distances(torch.ones(3, 2, 5)) == Consistency(
        pytest.approx(0.0, abs=1e-15), pytest.approx(0.0, abs=1e-15)
    )


def test_half_precision_does_not_blur_the_score() -> None:
    states = random_states(4, 3, 16, 0).bfloat16()
    assert pairwise_distances(states).within == pytest.approx(naive(states).within, abs=1e-12)


def test_one_set_has_nothing_between_and_one_member_nothing_at_all() -> None:
    single = pairwise_distances(random_states(1, 3, 4, 0))
    assert math.isnan(single.between)
    assert 0 < single.within < 2
    alone = pairwise_distances(random_states(3, 1, 4, 0))
    assert math.isnan(alone.within)
    assert math.isnan(alone.between)


def reference(model: Any, tokenizer: Any, sets: list[IsomerSet], layer: int) -> dict[str, Tensor]:
    """Pooled states of one text at a time: no padding there."""
    pooled: dict[str, list[Tensor]] = {"mean": [], "last": []}
    model.eval()
    for item in sets:
        for member in item.members:
            text = member.prompt + "".join(f"{step.text}\n" for step in member.steps) + "Answer:"
            batch = tokenizer(text, return_tensors="pt")
            assert batch["input_ids"][0, 0] == tokenizer.bos_token_id
            with torch.no_grad():
                states = model(**batch, output_hidden_states=True).hidden_states[layer][0]
            pooled["mean"].append(states[1:].mean(0))
            pooled["last"].append(states[-1])
    members = len(sets[0].members)
    return {name: torch.stack(rows).unflatten(0, (-1, members)) for name, rows in pooled.items()}


@pytest.mark.parametrize("batch_size", [1, 5, 128])
@pytest.mark.parametrize("layer", [-2, 1])
def test_pooling_leaves_out_begin_mark_padding_and_answer(
    model: Any, tokenizer: Any, batch_size: int, layer: int
) -> None:
    # Of very different lengths, so that most rows are padded.
    sets = [
        *create_isomers(seed=1, size=3, depth=1, domains=["law", "cooking"]),
        *create_isomers(seed=2, size=3, depth=4, domains=["law", "cooking"]),
    ]
    every = logical_consistency(model, tokenizer, sets, layers=[layer, 0], batch_size=batch_size)
    assert list(every) == [layer, 0]
    scores = {name: forms["cosine"] for name, forms in every[layer].items()}
    wanted = reference(model, tokenizer, sets, layer)
    for name in ("mean", "last"):
        exact = pairwise_distances(wanted[name])
        assert scores[name].within == pytest.approx(exact.within, abs=1e-5)
        assert scores[name].between == pytest.approx(exact.between, abs=1e-5)
        assert exact.within > 0.01


def test_what_pooling_leaves_out_would_show(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> None:
    """The tolerance of the test above is far below the effect of the begin mark."""
    wanted = reference(model, tokenizer, sets, -2)["mean"]
    states = []
    for item in sets:
        for member in item.members:
            text = member.prompt + "".join(f"{step.text}\n" for step in member.steps) + "Answer:"
            with torch.no_grad():
                hidden = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[-2][0]
            states.append(hidden.mean(0))
    with_mark = torch.stack(states).unflatten(0, (-1, 2))
    assert abs(pairwise_distances(with_mark).within - pairwise_distances(wanted).within) > 1e-4


def test_tokenizer_and_model_are_left_as_they_were(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> None:
    for side in ("left", "right"):
        tokenizer.padding_side = side
        logical_consistency(model, tokenizer, sets)
        assert tokenizer.padding_side == side
        assert model.training
    model.eval()
    logical_consistency(model, tokenizer, sets)
    assert not model.training
    model.config.use_cache = True
    tokenizer.padding_side = "left"
    with pytest.raises(IndexError):
        logical_consistency(model.train(), tokenizer, sets, layers=[99])
    assert tokenizer.padding_side == "left"
    assert model.training


def test_a_tokenizer_without_padding_token_works(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> None:
    with_token = logical_consistency(model, tokenizer, sets)
    tokenizer.pad_token = None
    without = logical_consistency(model, tokenizer, sets)
    assert without[-2]["mean"]["cosine"].within == pytest.approx(with_token[-2]["mean"]["cosine"].within, abs=1e-6)


def test_sets_of_different_sizes_are_refused(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> None:
    # Four texts in all, which would also make two sets of two.
    mixed = [
        create_isomers(size=1, domains=["law", "cooking", "science"])[0],
        create_isomers(size=1, domains=["law"])[0],
    ]
    with pytest.raises(UserError, match="not sets of cooking/law/science and of law;"):
        logical_consistency(model, tokenizer, mixed)
    with pytest.raises(UserError, match="sets of the same domains, not no sets"):
        logical_consistency(model, tokenizer, [])


@pytest.mark.parametrize(
    ("depth", "layers"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 3, 4]), (32, [8, 16, 31, 32])]
)
def test_four_layers(depth: int, layers: list[int]) -> None:
    assert four_layers(depth) == layers
