"""The built-in student: a small language model, its tokenizer, and the recipe that makes both."""

from __future__ import annotations

from pathlib import Path

__all__ = ["student_path"]


def student_path() -> Path:
    """The folder of the built-in checkpoint, for ``AutoModelForCausalLM`` and ``AutoTokenizer``."""
    return Path(__file__).parent / "checkpoint"
