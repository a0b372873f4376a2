"""Logical Isomer Sets: schema, graphs, generation, files. Nothing below this package imports torch."""

from isograd.isomers.files import iter_isomers, load_isomers, save_isomers, to_rows
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
from isograd.isomers.symbolic import FAMILIES, SPLITS, IsomerDataset, create_isomers

__all__ = [
    "FAMILIES",
    "SPLITS",
    "Edge",
    "Isomer",
    "IsomerDataset",
    "IsomerSet",
    "Node",
    "NodeType",
    "Provenance",
    "ReasoningGraph",
    "Span",
    "Step",
    "create_isomers",
    "iter_isomers",
    "load_isomers",
    "save_isomers",
    "to_rows",
]
