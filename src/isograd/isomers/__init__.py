"""Logical Isomer Sets: schema, graphs, generation, files. Nothing below this package imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isograd.common.lazy import lazy_attributes
from isograd.isomers.answers import score_answer
from isograd.isomers.files import iter_isomers, load_isomers, save_isomers
from isograd.isomers.parsing import Fault
from isograd.isomers.reading import read_lines
from isograd.isomers.schema import (
    Edge,
    Isomer,
    IsomerSet,
    Node,
    NodeType,
    Provenance,
    ReasoningGraph,
    Span,
    Step,
)
from isograd.isomers.symbolic import (
    FAMILIES,
    SPLITS,
    IsomerDataset,
    check_domain,
    create_curriculum,
    create_isomers,
)
from isograd.isomers.views import to_prompts, to_rows, true_answer

if TYPE_CHECKING:
    from isograd.isomers.arrow import from_dataset, to_dataset
    from isograd.isomers.card import dataset_card
    from isograd.isomers.hub import load_from_hub, push_to_hub

__all__ = [
    "FAMILIES",
    "SPLITS",
    "Edge",
    "Fault",
    "Isomer",
    "IsomerDataset",
    "IsomerSet",
    "Node",
    "NodeType",
    "Provenance",
    "ReasoningGraph",
    "Span",
    "Step",
    "check_domain",
    "create_curriculum",
    "create_isomers",
    "dataset_card",
    "from_dataset",
    "iter_isomers",
    "load_from_hub",
    "load_isomers",
    "push_to_hub",
    "read_lines",
    "save_isomers",
    "score_answer",
    "to_dataset",
    "to_prompts",
    "to_rows",
    "true_answer",
]

# These need Arrow or the hub's client, which making and reading JSON lines does not.
__getattr__, _ = lazy_attributes(
    __name__,
    {
        "dataset_card": "isograd.isomers.card",
        "from_dataset": "isograd.isomers.arrow",
        "load_from_hub": "isograd.isomers.hub",
        "push_to_hub": "isograd.isomers.hub",
        "to_dataset": "isograd.isomers.arrow",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
