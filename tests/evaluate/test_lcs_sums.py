"""Running sums of distances: their values, what leaves them as they are, and that they stay small."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isograd.evaluate.lcs_sums import BLOCK, CkaSums, Consistency, CosineSums, pairwise_distances


def random_states(n: int, members: int, width: int, seed: int) -> Tensor:
    """Sets with something in common, so that CKA is neither 0 nor 1."""
    generator = torch.Generator().manual_seed(seed)
    shared, own = (torch.randn(n, k, width, generator=generator, dtype=torch.float64) for k in (1, members))
    return shared + 0.7 * own + 0.5


def cka(parts: Iterable[Tensor]) -> Consistency:
    sums = CkaSums()
    for part in parts:
        sums.add(part)
    return sums.result()


def hsic_by_definition(k: Tensor, m: Tensor) -> float:
    """The U-statistic: the mean of h over all quadruples of different sets, as sums over different indices."""
    n = len(k)
    first = second = third = 0.0
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            first += (k[i, j] * m[i, j]).item() / (n * (n - 1))
            for q in range(n):
                if q in (i, j):
                    continue
                second += (k[i, j] * m[i, q]).item() / (n * (n - 1) * (n - 2))
                for r in range(n):
                    if r not in (i, j, q):
                        third += (k[i, j] * m[q, r]).item() / (n * (n - 1) * (n - 2) * (n - 3))
    return first + third - 2 * second


@pytest.mark.parametrize(("members", "width"), [(2, 3), (3, 9)])
def test_cka_agrees_with_sums_over_all_quadruples(members: int, width: int) -> None:
    states = random_states(6, members, width, seed=1)
    kernels = [states[:, domain] @ states[:, domain].T for domain in range(members)]
    own = [hsic_by_definition(kernel, kernel) for kernel in kernels]
    wanted: dict[int, list[float]] = {0: [], 1: []}
    for a in range(members):
        for b in range(members):
            for shift in wanted:
                if a != b:
                    other = kernels[b].roll((shift, shift), (0, 1))
                    wanted[shift].append(1 - hsic_by_definition(kernels[a], other) / math.sqrt(own[a] * own[b]))
    score = cka([states])
    assert score.within == pytest.approx(sum(wanted[0]) / len(wanted[0]), abs=1e-10)
    assert score.between == pytest.approx(sum(wanted[1]) / len(wanted[1]), abs=1e-10)
    assert 0.01 < score.within < score.between - 0.1


@settings(max_examples=20)
@given(n=st.integers(4, 2 * BLOCK + 5), cuts=st.lists(st.integers(0, 2 * BLOCK), max_size=4), seed=st.integers(0, 99))
def test_sums_do_not_depend_on_how_the_sets_come(n: int, cuts: list[int], seed: int) -> None:
    states = random_states(n, 2, 4, seed)
    parts = torch.tensor_split(states, sorted(min(cut, n) for cut in cuts))
    whole, piecewise = cka([states]), cka(parts)
    assert (piecewise.within, piecewise.between) == (whole.within, whole.between)
    cosine = CosineSums()
    for part in parts:
        cosine.add(part)
    stored = pairwise_distances(states)
    assert cosine.result().within == pytest.approx(stored.within, abs=1e-12)
    assert cosine.result().between == pytest.approx(stored.between, abs=1e-12)


def test_blocks_are_averaged_by_size() -> None:
    states = random_states(BLOCK + 16, 2, 5, seed=3)

    def numerators(block: Tensor) -> Tensor:
        kernels = [block[:, domain] @ block[:, domain].T for domain in (0, 1)]
        n = len(block)

        def unbiased(k: Tensor, m: Tensor) -> Tensor:
            k, m = (x - torch.diag(x.diagonal()) for x in (k, m))
            ones = torch.ones(n, dtype=k.dtype)
            terms = (k @ m).trace() + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
            return (terms - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))

        return n * torch.stack([unbiased(kernels[a], kernels[b]) for a, b in ((0, 1), (0, 0), (1, 1))])

    both, first, second = numerators(states[:BLOCK]) + numerators(states[BLOCK:])
    assert cka([states]).within == pytest.approx(1 - (both / (first * second).sqrt()).item(), abs=1e-10)


@given(seed=st.integers(0, 99))
def test_cka_is_blind_to_turning_moving_and_scaling_a_domain_and_the_cosine_is_not(seed: int) -> None:
    states = random_states(12, 3, 5, seed)
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(3, 5, 5, generator=generator, dtype=torch.float64))
    other = torch.einsum("nkd,kde->nke", states, turn) * torch.tensor([0.1, 1.0, 30.0])[None, :, None]
    other += torch.randn(1, 3, 5, generator=generator, dtype=torch.float64)
    before, after = cka([states]), cka([other])
    assert after.within == pytest.approx(before.within, abs=1e-9)
    assert after.between == pytest.approx(before.between, abs=1e-9)
    assert abs(pairwise_distances(other).within - pairwise_distances(states).within) > 1e-3


def test_known_values_of_cka() -> None:
    states = random_states(40, 1, 6, seed=0)
    same = torch.cat([states, 3 * states.flip(-1) - 2], 1)
    assert cka([same]).within == pytest.approx(0.0, abs=1e-12)
    # Unrelated domains, wide states: the biased estimate would be near 0 here, and no block has few sets.
    generator = torch.Generator().manual_seed(0)
    unrelated = cka([torch.randn(8 * BLOCK, 2, 200, generator=generator)])
    assert unrelated.within == pytest.approx(1.0, abs=0.05)
    assert unrelated.between == pytest.approx(1.0, abs=0.05)


def test_cka_that_cannot_be_known_is_nan() -> None:
    for states in (random_states(3, 2, 4, 0), random_states(9, 1, 4, 0), torch.ones(9, 2, 4) / 3):
        score = cka([states])
        assert math.isnan(score.within)
        assert math.isnan(score.between)
    # Nothing but the rounding of float32.
    rounding = 1 + 1e-7 * torch.rand(9, 2, 4, generator=torch.Generator().manual_seed(0))
    assert math.isnan(cka([rounding]).within)
    assert not math.isnan(cka([1 + 1e-3 * random_states(9, 2, 4, 0)]).within)


def test_a_last_block_that_is_too_small_is_left_out() -> None:
    states = random_states(BLOCK + 3, 2, 4, seed=5)
    assert cka([states]) == cka([states[:BLOCK]])
    assert cka([random_states(BLOCK + 4, 2, 4, seed=5)]) != cka([random_states(BLOCK + 4, 2, 4, seed=5)[:BLOCK]])


def test_asking_between_does_not_change_the_end() -> None:
    states = random_states(BLOCK + 20, 2, 4, seed=6)
    sums = CkaSums()
    for part in states.split(7):
        sums.add(part)
        sums.result()
    assert sums.result() == cka([states])


def held(sums: CkaSums | CosineSums) -> int:
    """Bytes of the storages behind all tensors that an accumulator holds."""
    tensors = [item for value in vars(sums).values() for item in (value if isinstance(value, list) else [value])]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors if isinstance(tensor, Tensor))


def test_what_is_kept_does_not_grow_with_the_number_of_sets() -> None:
    for sums in (CosineSums(), CkaSums()):
        sizes = []
        for number in range(30):
            sums.add(random_states(BLOCK + 1, 2, 8, seed=number))
            sizes.append(held(sums))
        one = 2 * 8 * 8
        assert 0 < max(sizes[10:]) <= (BLOCK + 4) * one
        if isinstance(sums, CosineSums):
            assert set(sizes) == {one}
