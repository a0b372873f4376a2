"""Group reinforcement learning in which tokens that completions share cancel. Names load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isograd.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from isograd.reinforce.config import IsomerGRPOConfig
    from isograd.reinforce.job import run_reinforce
    from isograd.reinforce.run_config import ReinforceConfig, load_config
    from isograd.reinforce.trainer import IsomerGRPOTrainer

__all__ = ["IsomerGRPOConfig", "IsomerGRPOTrainer", "ReinforceConfig", "load_config", "run_reinforce"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "IsomerGRPOConfig": "isograd.reinforce.config",
        "IsomerGRPOTrainer": "isograd.reinforce.trainer",
        "ReinforceConfig": "isograd.reinforce.run_config",
        "load_config": "isograd.reinforce.run_config",
        "run_reinforce": "isograd.reinforce.job",
    },
)
