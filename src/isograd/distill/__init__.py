"""Distillation: the isomer trainer on TRL, its samplers, and whole runs. Names load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isograd.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from isograd.distill.config import IsomerSFTConfig
    from isograd.distill.job import run_distill
    from isograd.distill.run_config import DataSource, DistillConfig, load_config
    from isograd.distill.trainer import IsomerSFTTrainer

__all__ = ["DataSource", "DistillConfig", "IsomerSFTConfig", "IsomerSFTTrainer", "load_config", "run_distill"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "IsomerSFTConfig": "isograd.distill.config",
        "IsomerSFTTrainer": "isograd.distill.trainer",
        "DataSource": "isograd.distill.run_config",
        "DistillConfig": "isograd.distill.run_config",
        "load_config": "isograd.distill.run_config",
        "run_distill": "isograd.distill.job",
    },
)
