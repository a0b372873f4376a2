"""Generated sets by the thousand: nothing is found in them, and none is taken for an evaluation item."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from mutators import sound_sets

from isograd.isomers.symbolic.families import FAMILIES
from isograd.isomers.symbolic.generate import SPLITS
from isograd.isomers.verify import EvaluationItem, LeakageIndex, Verifier, evaluation_items
from isograd.isomers.verify.leakage import graph_key

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
EVALUATION = [name for name in SPLITS if name not in ("train", "validation")]


@pytest.fixture(scope="module")
def index() -> LeakageIndex:
    """A hundred sets of each family and evaluation split, with the seeds and options of the sets to train on; and all
    rows of benchmarks that are at hand."""
    found = LeakageIndex()
    for split in EVALUATION:
        for family in FAMILIES:
            for line, one in enumerate(islice(sound_sets([family], split=split, each=10), 100), 1):
                texts = tuple(member.problem for member in one.members)
                found.add(EvaluationItem(f"{family} {split}", line, texts, graph_key(one.graph)))
    assert len(found) == 100 * len(FAMILIES) * len(EVALUATION)
    for file in sorted(DATA.glob("*/sample.jsonl")):
        for item in evaluation_items(file):
            found.add(item)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("sets", [500, pytest.param(2500, marks=pytest.mark.long)])
@pytest.mark.parametrize("family", FAMILIES)
def test_sound_sets_are_sound(family: str, sets: int, index: LeakageIndex) -> None:
    verifier = Verifier(index)
    found: Counter[str] = Counter()
    for line, one in enumerate(islice(sound_sets([family], each=25), sets), 1):
        found.update(str(finding) for finding in verifier.judge(line, one).findings)
    assert found == Counter()
    assert verifier.summary.passed == verifier.summary.sets == sets
