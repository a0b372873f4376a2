"""One command at a time in an output folder: a lock that the workers of the command hold with it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from isograd.common.errors import UserError

__all__ = ["LOCK_FILE", "held_locks", "output_lock"]

LOCK_FILE: Final = ".isograd.lock"
"""Its name in the output folder. It stays there: to delete it would let two processes lock two files of that name."""

_held: dict[Path, int] = {}
"""The file descriptors of this process's locks, by folder."""


def held_locks() -> tuple[int, ...]:
    """What a worker is to inherit, so that a lock outlives a killed parent until its workers end: file descriptors."""
    return tuple(_held.values())


@contextlib.contextmanager
def output_lock(output: Path) -> Iterator[None]:
    """Keep other processes out of an output folder: two that train in one run folder destroy each other's run.

    A process that holds the lock may ask for it again. Windows has no such locks, nor have some network file systems:
    there nothing is held.

    Args:
        output: the folder; it is made if need be.

    Raises:
        UserError: another process holds it, or workers that outlived theirs; or there can be no such folder.
    """
    folder = output.resolve()
    if sys.platform == "win32" or folder in _held:
        yield
        return
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"{output}: {error.strerror or error}; choose another output folder") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{output}: {_holder(file)}, or choose another output folder") from None
        except OSError:
            # A file system without locks: no worse off than before there were any.
            pass
        # In place: a new file of that name would be another one than is locked.
        about = {"process": os.getpid(), "host": socket.gethostname(), "command": shlex.join(sys.argv)}
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(about).encode(), 0)
        _held[folder] = file
        try:
            yield
        finally:
            del _held[folder]
    finally:
        os.close(file)


def _holder(file: int) -> str:
    """What is running there, and what to do, from what the lock file says."""
    try:
        about = json.loads(os.pread(file, 2**16, 0))
        process, host, command = int(about["process"]), str(about["host"]), str(about["command"])
    except (ValueError, KeyError, TypeError):
        # The other process has this moment locked it, and not written yet.
        return "another process is starting here; wait for it"
    who = f"process {process} on {host} ({command})"
    if host == socket.gethostname() and not _lives(process):
        return f"{who} has ended, but its workers (isograd.experiment.worker) still run here; wait for them or end them"
    return f"{who} is running here; wait for it or stop it"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
