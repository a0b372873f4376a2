"""What isomer sets may hold."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from pydantic import ValidationError

from isograd.isomers import Isomer, IsomerSet, Node, NodeType, Provenance, Span


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_json_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Node(id="n", type=NodeType.ENTITY, value=value)


def _provenance(options: dict[Any, Any]) -> Provenance:
    return Provenance(generator="g", version=1, split="train", seed=0, index=0, options=options)


@pytest.mark.parametrize("value", [float("nan"), {1}, object(), {"a": [float("inf")]}, {1: 2}, "\ud800", {"\ud800": 1}])
def test_options_that_json_cannot_hold_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="options"):
        _provenance({"option": value})


def test_options_are_kept_as_json_gives_them_back() -> None:
    class Mode(StrEnum):
        ONE = "one"

    origin = _provenance({"tuple": (1, (2.0, True)), "dict": {"inner": ()}, "none": None, "mode": Mode.ONE})
    assert origin.options == {"tuple": [1, [2.0, True]], "dict": {"inner": []}, "none": None, "mode": "one"}
    assert Provenance.model_validate_json(origin.model_dump_json()) == origin


@pytest.mark.parametrize(("start", "end"), [(0, 12), (11, 12), (5, 5), (6, 5)])
def test_spans_must_lie_in_the_completion(start: int, end: int) -> None:
    with pytest.raises(ValidationError, match=rf"span of node 'goal' is \[{start}, {end}\) in a text of 11 characters"):
        Isomer(domain="law", problem="?", steps=(), answer="yes", spans=(Span(node="goal", start=start, end=end),))


def test_a_domain_is_told_once(sets: list[IsomerSet]) -> None:
    content = sets[0].model_dump()
    content["members"] = (content["members"][0], content["members"][0])
    with pytest.raises(ValidationError, match="tells a domain twice: law, law"):
        IsomerSet.model_validate(content)


def test_sets_are_frozen(sets: list[IsomerSet]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        sets[0].noisy = True  # type: ignore[misc]
