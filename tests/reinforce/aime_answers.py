"""What a chat server says to three problems in the manner of AIME; see test_average_at_k.py."""

from __future__ import annotations

from typing import Any


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Always right at first, never at second (cut off while it thinks), at third in the model's own way."""
    text = request["messages"][-1]["content"]
    if "bases" in text:
        return {"content": "<think>49 and 21.</think>The sum is \\boxed{70.0}."}
    if "fraction" in text:
        return {"content": "<think>It is \\boxed{9/4}, but", "finish_reason": "length"}
    right = request["model"] == "better" or request["seed"] % 2
    return {"content": f"\\boxed{{{0 if right else 1}}}"}
