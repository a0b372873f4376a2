"""Problems, members and pinned texts of the symbolic generator, for its tests.

``python tests/isomers/symbolic_cases.py`` writes the pinned texts anew. Raise the version of a family whose text
changes.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from isograd.isomers import FAMILIES, SPLITS, IsomerSet, create_isomers
from isograd.isomers.symbolic.domains import domain_names
from isograd.isomers.symbolic.family import Family
from isograd.isomers.symbolic.grammar import Grammar

NAMES = tuple(FAMILIES)
DOMAINS = domain_names()
LEAST = {name: min(family.depths) for name, family in FAMILIES.items()}
MOST = {name: max(family.depths) for name, family in FAMILIES.items()}
PINNED = Path(__file__).parent / "pinned"


@st.composite
def drawn(draw: st.DrawFn, deepest: int = 12) -> tuple[Family[Any], int, str, Any]:
    """A family, a depth, a label and a problem of them."""
    family = FAMILIES[draw(st.sampled_from(NAMES), label="family")]
    depth = draw(st.sampled_from([depth for depth in family.depths if depth <= deepest]), label="depth")
    label = draw(st.sampled_from(family.labels), label="label")
    seed = draw(st.integers(0, 2**30), label="seed")
    return family, depth, label, family.draw(random.Random(seed), depth, label)


def some(name: str, depth: int, count: int, seed: int = 0) -> list[Any]:
    """So many problems of every label."""
    family, rng = FAMILIES[name], random.Random(seed)
    return [family.draw(rng, depth, label) for label in family.labels for _ in range(count)]


def spare(grammar: Grammar, problem: Any) -> int:
    """How many distractors the domain has words for."""
    extra = grammar.family.extra
    return 12 if extra is None else len(grammar.words[extra]) - grammar.family.needs(problem)[extra]


def truth(isomer_set: IsomerSet) -> str:
    return str(isomer_set.graph.goal.value)


def assert_rate(hits: Sequence[bool], rate: float) -> None:
    """The mean lies within 4.5 standard deviations of a binomial of that rate: false alarms below 1 in 100,000."""
    n = len(hits)
    tolerance = 4.5 * math.sqrt(rate * (1 - rate) / n)
    assert abs(sum(hits) / n - rate) <= tolerance, f"{sum(hits)} of {n}, expected {rate:.3f} +- {tolerance:.3f}"


def pinned_text(name: str) -> str:
    """One set in all domains, its structure hash, and the digest of sets of every split."""
    item = create_isomers(
        name, seed=0, size=1, depth=2, domains=DOMAINS, cue="member", noise=0.2, distractors=1, shuffled=True
    )[0]
    told = "\n".join(f"[{member.domain}]\n{member.prompt}{member.completion}\n" for member in item.members)
    options: dict[str, Any] = {"depth": 3, "distractors": 2, "cue": "set", "noise": 0.3}
    every = "\n".join(
        isomer_set.model_dump_json()
        for split in SPLITS
        for isomer_set in create_isomers(name, seed=7, size=5, split=split, **options)
    )
    digest = hashlib.sha256(every.encode()).hexdigest()
    return f"{told}\nstructure {item.structure}\nsha256 of five sets of every split {digest}\n"


if __name__ == "__main__":
    for family_name in NAMES:
        (PINNED / f"{family_name}.txt").write_text(pinned_text(family_name))
