"""The built-in symbolic generator: a family (logic) told in domains (words). See :func:`create_isomers`."""

from isograd.isomers.symbolic.families import FAMILIES, check_domain
from isograd.isomers.symbolic.generate import SPLITS, IsomerDataset, create_curriculum, create_isomers

__all__ = ["FAMILIES", "SPLITS", "IsomerDataset", "check_domain", "create_curriculum", "create_isomers"]
