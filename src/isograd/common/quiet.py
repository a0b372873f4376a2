"""Libraries that print of their own accord are silenced where isograd does the talking."""

from __future__ import annotations

__all__ = ["quiet_libraries"]


def quiet_libraries() -> None:
    """Turn off progress bars of datasets and transformers, and their notices about each other, in this process."""
    import warnings

    import datasets
    from transformers.utils import logging

    # transformers renames gradient_checkpointing to activation_checkpointing; TRL and PEFT still use the old name.
    notice = r".*gradient_checkpointing(_kwargs)?` is deprecated"
    warnings.filterwarnings("ignore", message=notice, category=FutureWarning)
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
