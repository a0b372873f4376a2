"""Small sets to take apart."""

from __future__ import annotations

import pytest

from isograd.isomers import IsomerSet, create_isomers


@pytest.fixture(scope="session")
def sets() -> list[IsomerSet]:
    """Twelve sets with cues and noise, in four domains."""
    return list(create_isomers(seed=3, size=12, depth=2, cue="member", noise=0.5))
