"""Named seeds never change, and lazy names load nothing before they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.common.lazy import lazy_attributes
from isograd.common.seeding import derive_seed, named_random

PART = st.integers() | st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("parts", "seed"),
    [
        ((), 8238016292129134938),
        (("isomers", "arithmetic", 1, "train", 0, 0, "problem"), 6627497786311539069),
        (("ä", -1), 2660096936834334473),
    ],
)
def test_pinned_seeds(parts: tuple[str | int, ...], seed: int) -> None:
    """Everything ever generated hangs on these."""
    assert derive_seed(*parts) == seed


def test_pinned_draws() -> None:
    rng = named_random("test", 0)
    assert [rng.randint(0, 99) for _ in range(6)] == [90, 28, 82, 77, 75, 84]


@given(parts=st.lists(PART, max_size=5), others=st.lists(PART, max_size=5))
def test_different_paths_have_different_seeds(parts: list[str | int], others: list[str | int]) -> None:
    assert (derive_seed(*parts) == derive_seed(*others)) == (parts == others)
    assert 0 <= derive_seed(*parts) < 2**63


def test_number_and_text_differ_and_borders_matter() -> None:
    seeds = {derive_seed(*parts) for parts in ((1,), ("1",), (1, 2), (12,), ("ab", "c"), ("a", "bc"), ("abc",))}
    assert len(seeds) == 7


def test_neighboring_seeds_share_no_draws() -> None:
    draws = [named_random("items", seed, index).getrandbits(64) for seed in range(30) for index in range(30)]
    assert len(set(draws)) == len(draws)


def test_lazy_attributes_resolve_and_refuse() -> None:
    getattribute, names = lazy_attributes("pack", {"sqrt": "math", "OrderedDict": "collections"})
    assert getattribute("sqrt")(9.0) == 3.0
    assert names() == ["OrderedDict", "sqrt"]
    with pytest.raises(AttributeError, match="module 'pack' has no attribute 'cbrt'"):
        getattribute("cbrt")


@pytest.mark.parametrize("package", ["isograd", "isograd.evaluate", "isograd.isomers", "isograd.student"])
def test_importing_a_package_loads_no_torch(package: str) -> None:
    script = (
        f"import sys, {package} as package\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert set(package.__all__) <= set(dir(package)), set(package.__all__) - set(dir(package))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_lazy_name_exists() -> None:
    import isograd
    import isograd.evaluate

    for package in (isograd, isograd.evaluate):
        for name in package.__all__:
            assert getattr(package, name).__name__ == name
        with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
            package.nonsense  # noqa: B018
