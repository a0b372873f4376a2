from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from isograd.common.errors import UserError
from isograd.distill import IsomerSFTConfig
from isograd.distill.sampler import DomainBatchSampler, IsomerSampler, group_sets, train_sampler


def test_groups_are_whole_and_in_domain_order() -> None:
    ids = ["b", "a", "b", "a"]
    domains = ["law", "medicine", "medicine", "law"]
    assert group_sets(ids, domains) == [[0, 2], [3, 1]]


def test_a_domain_told_twice_is_refused() -> None:
    with pytest.raises(UserError, match="two rows of domain 'law'"):
        group_sets(["a", "a"], ["law", "law"])


def test_a_set_that_lacks_a_domain_is_refused() -> None:
    with pytest.raises(UserError, match=r"'b' lacks medicine.*max_length"):
        group_sets(["a", "a", "b"], ["law", "medicine", "law"])


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(0, 99))
def test_every_batch_holds_whole_sets(count: int, members: int, per_batch: int, epoch: int, seed: int) -> None:
    sets = [[index * members + k for k in range(members)] for index in range(count)]
    if count < per_batch:
        with pytest.raises(UserError, match="lower per_device_train_batch_size"):
            IsomerSampler(sets, per_batch, seed)
        return
    sampler = IsomerSampler(sets, per_batch, seed)
    sampler.set_epoch(epoch)
    rows = list(sampler)
    assert len(rows) == len(sampler) == count // per_batch * per_batch * members
    assert len(set(rows)) == len(rows)
    for start in range(0, len(rows), members):
        assert rows[start : start + members] in sets
    assert list(sampler) == rows


def test_a_curriculum_keeps_its_order() -> None:
    sampler = IsomerSampler([[0, 1], [2, 3], [4, 5]], 1, 0, shuffled=False)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert list(sampler) == [0, 1, 2, 3, 4, 5]


def test_epochs_and_seeds_differ() -> None:
    sets = [[index] for index in range(50)]
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        sampler = IsomerSampler(sets, 1, seed)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] != orders[1] != orders[2] != orders[0]


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=3, max_size=40), st.integers(1, 3))
def test_every_batch_holds_every_domain_equally(domains: list[str], per_domain: int) -> None:
    domains = ["a", "b", "c", *domains]
    largest = max(domains.count(name) for name in "abc")
    if largest < per_domain:
        with pytest.raises(UserError, match="lower per_device_train_batch_size"):
            DomainBatchSampler(domains, per_domain, 0)
        return
    rows = list(DomainBatchSampler(domains, per_domain, 0))
    size = 3 * per_domain
    assert len(rows) == largest // per_domain * size
    for start in range(0, len(rows), size):
        told = [domains[row] for row in rows[start : start + size]]
        assert told == sorted("abc" * per_domain)
    big = [row for row in rows if domains[row] == max("abc", key=domains.count)]
    assert len(set(big)) == len(big)


@pytest.mark.parametrize("rows", ["sets", "rows"])
def test_the_order_follows_the_seed_of_the_data_where_there_is_one(rows: str) -> None:
    columns: dict[str, Any] = {"domain": ["law", "science"] * 20}
    if rows == "sets":
        columns["set_id"] = [str(row // 2) for row in range(40)]
    dataset = Dataset.from_dict(columns)

    def order(seed: int, data_seed: int | None) -> list[int]:
        args = IsomerSFTConfig("out", seed=seed, data_seed=data_seed, per_device_train_batch_size=4, use_cpu=True)
        return list(train_sampler(dataset, args, 2))

    assert order(0, None) == order(1, 0) != order(0, 1)
