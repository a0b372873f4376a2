"""The built-in symbolic generator: a family (logic) told in domains (words). See :func:`create_isomers`."""

from isograd.isomers.symbolic.generate import FAMILIES, SPLITS, IsomerDataset, create_isomers

__all__ = ["FAMILIES", "SPLITS", "IsomerDataset", "create_isomers"]
