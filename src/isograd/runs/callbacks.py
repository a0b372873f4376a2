"""What a run does besides training: its log, its progress, and a clean stop on Ctrl-C."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_text
from isograd.common.memory import peak_resident_bytes

__all__ = ["RunFolderCallback", "is_last_step", "last_checkpoint"]


class RunFolderCallback(TrainerCallback):
    """Keeps the run folder current and turns a signal into "finish this step, save, stop".

    Args:
        output: the run folder.
        progress: called with (steps done, steps in all, last logged loss).
    """

    def __init__(self, output: Path, progress: Callable[[int, int, float | None], None] | None) -> None:
        self.output = output
        self.progress = progress
        self.interrupted = False
        self.on_tick: Callable[[], None] = lambda: None
        self.step_seconds: list[float] = []
        self._loss: float | None = None
        self._begun = 0.0

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Within the block the first SIGINT or SIGTERM asks for a stop; a second SIGINT interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, _frame: Any) -> None:
            if self.interrupted and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.interrupted = True

        old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> None:
        self._begun = now()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any
    ) -> TrainerControl:
        self.step_seconds.append(now() - self._begun)
        if self.progress is not None:
            try:
                self.progress(state.global_step, state.max_steps, self._loss)
            except BrokenPipeError:
                # Whoever started this has died: what there is is saved, as if it had been told to stop.
                self.interrupted = True
        if self.interrupted:
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_kwargs: Any,
    ) -> None:
        self._loss = (logs or {}).get("loss", self._loss)
        # The whole history, which a checkpoint restores: a resumed run repeats no line.
        lines = [json.dumps(entry) + "\n" for entry in state.log_history if "loss" in entry]
        write_text(self.output / "training.jsonl", "".join(lines))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_kwargs: Any) -> None:
        self.on_tick()


def now() -> float:
    """Seconds of a clock, once the accelerator has done all that it was asked to."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory_bytes() -> int:
    """The most memory that this process has held so far: the accelerator's where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return peak_resident_bytes()


def is_last_step(checkpoint: str) -> bool:
    """Whether a checkpoint was saved after the last step of its run."""
    state = read_json(Path(checkpoint) / "trainer_state.json")
    return bool(state["global_step"] >= state["max_steps"])


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; half-written ones (a kill struck while saving) are deleted.

    The trainer writes ``trainer_state.json`` last, so a folder where it is missing or broken is half-written.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        try:
            read_json(path / "trainer_state.json")
        except UserError:
            shutil.rmtree(path)
            continue
        return str(path)
    return None
