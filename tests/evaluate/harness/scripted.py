"""What the tests of the harness share: where the rows are, and a model of lm-eval's that writes given answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lm_eval.api.model import LM

REAL = Path(__file__).resolve().parents[4] / "shared" / "data"
INVENTED = Path(__file__).with_name("invented")


class Scripted(LM):
    """Writes ``say(task, document number)``, or takes the option of that number."""

    def __init__(self, say: Callable[[str, int], Any]) -> None:
        super().__init__()
        self.say = say
        self.asked = 0
        # Where the real one would be.
        self.model = SimpleNamespace(dtype=torch.float32, device="cpu")

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        self.asked += len(requests)
        return [self.say(request.task_name, request.doc_id) for request in requests]

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        self.asked += len(requests)
        right = [request.idx == self.say(request.task_name, request.doc_id) for request in requests]
        return [(0.0 if yes else -1.0, yes) for yes in right]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        raise NotImplementedError
