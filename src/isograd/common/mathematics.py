"""math-verify in a subprocess that can be killed."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from isograd.common.errors import UserError

__all__ = ["LATE", "MathWorker", "shared_worker"]

LATE: Final = "late"
"""The verdict on a pair that took too long or brought its process down."""

# Seconds by the clock until a child must be ready, however busy the machine.
_STARTUP = 600.0
_SCRIPT = Path(__file__).with_name("mathematics_worker.py")


class _Child:
    """One subprocess; not safe for threads."""

    def __init__(self, seconds: float, memory: int, wall: float) -> None:
        self._late = False
        # -P: no file of the working directory is taken for a library. Equal hashes make equal orders of sets in sympy.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT), repr(seconds), str(int(memory)), repr(wall)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        # Also at exit; a fork of this process must leave its parent's child alone.
        self.end = weakref.finalize(self, _end, self._process, os.getpid())

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: bytes, limit: float) -> Any:
        """The reply, or ``None`` where the child died or was killed for taking longer than ``limit`` by the clock."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(limit, self._kill)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
            return json.loads(reply) if reply.endswith(b"\n") else None
        except (OSError, ValueError):
            return None
        except BaseException:
            # Interrupted while waiting: the next one asked would get this reply.
            self.end()
            raise
        finally:
            timer.cancel()

    def _kill(self) -> None:
        self._late = True
        self._process.kill()

    def was_late(self) -> bool:
        """Whether a child that gave no reply died of its limit of time; it is gone afterwards."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # After the end of its output it is about to end by itself, and only then says of what.
            self._process.wait(60)
        late = self._late or self._process.returncode == -getattr(signal, "SIGPROF", 0)
        self.end()
        return late


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            # What was not sent yet cannot be any more.
            with contextlib.suppress(OSError):
                pipe.close()


class MathWorker:
    """Compares answers with math-verify in a subprocess of its own, which starts with the first pair.

    The child has copies of itself judge. A pair that takes longer than ``timeout`` seconds of processor time gets its
    copy killed by the system and counts as late: processor time makes verdicts independent of how busy the machine is.
    A process that dies of anything else is replaced and asked once more, so that a kill from outside changes no
    verdict. Safe for threads; after a fork each
    process has a child of its own.

    Args:
        timeout: seconds of processor time for a pair; without such timers (on Windows) seconds by the clock.
        memory: bytes of address space of the child, on Linux.
        wall: seconds by the clock for a pair, where nothing may ever wait longer; a verdict may then depend on how busy
            the machine is.
        patience: seconds by the clock for a pair, for a child that does nothing at all, as when it was stopped.

    Raises:
        UserError: when first used: math-verify is not installed, or does not load.
    """

    def __init__(
        self, *, timeout: float = 5.0, memory: int = 2 << 30, wall: float = math.inf, patience: float = 300.0
    ) -> None:
        self._timeout, self._memory, self._wall = timeout, memory, wall
        self._limit = patience if hasattr(signal, "setitimer") else timeout
        self._child: _Child | None = None
        self._owner, self._lock = os.getpid(), threading.Lock()

    @property
    def pid(self) -> int | None:
        """The child's process id, if there is one."""
        return None if self._child is None else self._child.pid

    def compare(self, pairs: Sequence[tuple[str, str, bool]]) -> list[str]:
        """``right``, ``wrong``, ``unreadable`` or ``late`` for each pair, in order; equal pairs are asked once.

        Args:
            pairs: gold answer, answer, and whether the answer is somewhere in a longer text. Any characters.
        """
        with self._locked():
            known: dict[tuple[str, str, bool], str] = {}
            for pair in pairs:
                if pair not in known:
                    known[pair] = self._verdict(pair)
            return [known[pair] for pair in pairs]

    def close(self) -> None:
        """End the child; the next comparison starts another."""
        with self._locked():
            if self._child is not None:
                self._child.end()
                self._child = None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if os.getpid() != self._owner:
            # The lock may have been held by a thread that this fork does not have.
            self._owner, self._lock, self._child = os.getpid(), threading.Lock(), None
        with self._lock:
            yield

    def _verdict(self, pair: tuple[str, str, bool]) -> str:
        line = json.dumps(pair).encode("ascii") + b"\n"
        for _ in range(2):
            child = self._ready()
            reply = child.ask(line, self._limit)
            if reply is not None:
                return str(reply)
            self._child = None
            if child.was_late():
                return LATE
        return LATE

    def _ready(self) -> _Child:
        if self._child is None:
            if importlib.util.find_spec("math_verify") is None:
                raise UserError("comparing mathematical answers needs math-verify; pip install 'isograd[math]'")
            child = _Child(self._timeout, self._memory, self._wall)
            first = child.ask(b"", _STARTUP)
            if first != "ready":
                child.end()
                reason = first.get("error") if isinstance(first, dict) else "its process ended before it was ready"
                raise UserError(f"math-verify does not work here: {' '.join(str(reason).split())}")
            self._child = child
        return self._child


@lru_cache(maxsize=8)
def shared_worker(timeout: float, memory: int, wall: float = math.inf) -> MathWorker:
    """One worker for all who ask with the same limits; see :class:`MathWorker`.

    Nothing that keeps the limits alone needs to hold a process, so that rewards can be pickled.
    """
    return MathWorker(timeout=timeout, memory=memory, wall=wall)
