"""Some runs of a comparison: the same configuration with fewer methods, seeds and groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isograd.common.errors import UserError
from isograd.experiment.compare_config import CompareConfig
from isograd.experiment.config import nearest

__all__ = ["selected"]


def selected(
    config: CompareConfig, *, labels: Sequence[str] = (), seeds: Sequence[int] = (), families: Sequence[str] = ()
) -> CompareConfig:
    """The part of a comparison that has these labels, seeds and families; each is not restricted where none is named.

    The baseline stays: every table is a paired difference to it. What is left is run exactly as in the whole, in the
    same folders.

    Args:
        config: the whole.
        labels: of methods.
        seeds: of the comparison.
        families: as the tables name them. With rules of group RL a name like ``arithmetic-g4`` stands for one group
            size, and that of a family for all of them.

    Raises:
        UserError: a label, seed or family that the comparison does not have; or group sizes of one family that are not
            those of another.
    """
    for label in labels:
        if label not in config.methods:
            raise UserError(f"--only: no method {label!r}{nearest(label, config.methods)}")
    for seed in seeds:
        if seed not in config.seeds:
            raise UserError(f"--seed: {seed} is no seed of this comparison; there are: {_listed(config.seeds)}")
    update: dict[str, Any] = {}
    if labels:
        kept = {config.baseline, *labels}
        update["methods"] = {label: own for label, own in config.methods.items() if label in kept}
    if seeds:
        update["seeds"] = [seed for seed in config.seeds if seed in seeds]
    if families:
        update |= _of_families(config, families)
    return config.model_copy(update=update)


def _of_families(config: CompareConfig, names: Sequence[str]) -> dict[str, Any]:
    known = [*dict.fromkeys([*(family for family, _ in config.parts.values()), *config.groups])]
    for name in names:
        if name not in known:
            raise UserError(f"--family: no family {name!r} in this comparison{nearest(name, known)}")
    kept = {group: part for group, part in config.parts.items() if {group, part[0]} & {*names}}
    told = {family for family, _ in kept.values()}
    update: dict[str, Any] = {"families": config.families and [name for name in config.families if name in told]}
    if config.reinforce is not None:
        sizes = [size for size in config.reinforce.group_sizes if any(size == own for _, own in kept.values())]
        if len(kept) < len(told) * len(sizes):
            raise UserError(f"--family: {_listed(names)}: families with different group sizes; name them one by one")
        update["reinforce"] = config.reinforce.model_copy(update={"group_sizes": sizes})
    return update


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
