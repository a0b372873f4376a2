"""Who holds a claim, and whether that process still lives."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["FOREIGN_SECONDS", "Holder"]

FOREIGN_SECONDS: Final = 3600.0
"""A claim of a process that cannot be looked at (another container's, say) is believed for this long."""


@dataclass(frozen=True)
class Holder:
    """A process that holds claims.

    Attributes:
        owner: unique to one open journal; two in one process are two owners.
        pid: the process.
        host: machine and process namespace; within one, a pid means one process.
        started: when the process began: tells it from a later one that got the same pid.
    """

    owner: str
    pid: int
    host: str
    started: str

    @classmethod
    def mine(cls) -> Holder:
        """A new owner in this process."""
        pid = os.getpid()
        return cls(owner=uuid.uuid4().hex, pid=pid, host=_host(), started=_start_of(pid) or "")

    def lives(self, since: float) -> bool:
        """Whether a claim made at ``since`` (seconds since 1970) still stands.

        A process of this host is looked at: gone, a zombie, or started at another time than the holder is dead. Of
        another host's nothing can be seen: its claims stand for ``FOREIGN_SECONDS``.
        """
        seen = _start_of(self.pid) if self.host == _host() and self.started else ""
        return time.time() - since < FOREIGN_SECONDS if seen == "" else seen == self.started


@cache
def _host() -> str:
    # Two containers may have one name, and the same pids; or one container comes back under another name.
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".strip()


def _start_of(pid: int) -> str | None:
    """What tells process ``pid`` from every other that had or will have this pid; None if there is none alive.

    Empty where the system does not tell.
    """
    if Path("/proc/self/stat").exists():
        return _start_from_proc(pid)
    return _start_from_ps(pid) if os.name == "posix" else ""


def _start_from_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return _hidden(pid)
    # The second field is the program's name in brackets and may hold spaces and brackets itself.
    fields = stat[stat.rindex(b")") + 1 :].split()
    # Killed, but not yet waited for by its parent.
    if fields[0] in (b"Z", b"X"):
        return None
    return f"{_boot()}:{fields[19].decode()}"


def _hidden(pid: int) -> str | None:
    # Some systems show a user no other user's processes; such a one may still be signalled at, in vain.
    try:
        os.kill(pid, 0)
    except PermissionError:
        return ""
    except (OSError, OverflowError):
        return None
    # It came or went between the two looks.
    return None


@cache
def _boot() -> str:
    # Processes' start times count from the machine's start.
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _start_from_ps(pid: int) -> str | None:
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=10, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    state, _, started = found.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()
