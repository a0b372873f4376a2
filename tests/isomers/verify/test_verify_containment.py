"""The filter finds exactly what counting everything would."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.isomers.verify.containment import Containment, Postings

SETS = st.lists(st.sets(st.integers(0, 40), max_size=25), max_size=25)


@given(SETS, st.sets(st.integers(0, 40)), st.sampled_from([0.3, 0.5, 0.6, 1.0]), st.integers(1, 12))
def test_as_counting_everything(kept: list[set[int]], keys: set[int], share: float, least: int) -> None:
    index = Containment(share, least)
    for number, one in enumerate(kept):
        index.add(number, one)
    expected = {
        (number, len(one & keys), len(one))
        for number, one in enumerate(kept)
        if len(one) >= least and len(one & keys) >= math.ceil(share * len(one))
    }
    found = list(index.find(keys))
    assert len(found) == len(set(found))
    assert set(found) == expected


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_postings(count: int) -> None:
    postings = Postings()
    for number in range(count):
        postings.add(7, number)
    postings.add(8, 1)
    assert postings.get(7) == list(range(count))
    assert postings.counts({7, 8, 9})[1] == 1 + (count > 1)
