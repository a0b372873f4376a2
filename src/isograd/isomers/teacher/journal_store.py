"""The journal's file: made, opened, checked, read and written in transactions, its faults told in one line.

SQLite in WAL mode: one process writes at a time, any number read meanwhile, and a process that is killed leaves either
the whole of a transaction or nothing of it. ``synchronous`` is FULL: what is committed has reached the disk.

WAL needs memory that all processes share, so the file must lie on a disk of this machine, not on a network's.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

from isograd.common.errors import UserError
from isograd.isomers.teacher.journal_schema import APPLICATION, FORMAT, TABLES

__all__ = ["BUSY_SECONDS", "Store", "read_file"]

BUSY_SECONDS: Final = 30.0
"""How long a write waits for another process's; each takes milliseconds."""

_T = TypeVar("_T")

_FAULTS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space and run again: nothing recorded so far is lost",
    sqlite3.SQLITE_BUSY: f"locked by another process for {BUSY_SECONDS:.0f} s; end that process and run again",
    sqlite3.SQLITE_NOTADB: "not a journal of isograd; name another file",
    sqlite3.SQLITE_CORRUPT: "damaged; save what can be read: sqlite3 OLD .recover | sqlite3 NEW, then use NEW",
    sqlite3.SQLITE_READONLY: "cannot be written; see to the permissions of the file and of its folder",
    sqlite3.SQLITE_PERM: "cannot be opened; see to the permissions of the file and of its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; see to the permissions of the file and of its folder",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write it; see to the disk and run again",
    sqlite3.SQLITE_PROTOCOL: "cannot be locked; put it on a disk of this machine, not on a network's",
}


class Store:
    """An open journal file.

    May be shared by threads: a lock admits one at a time. May not be carried through a fork.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        """Open ``path``, and unless ``read_only`` make it where it is missing.

        Raises:
            UserError: no such file (``read_only``), no journal, another format, or it cannot be opened.
        """
        self.path: Final = Path(path)
        self.read_only: Final = read_only
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False
        self._together: int | None = None
        self._db: sqlite3.Connection | None = None
        if read_only:
            read_file(self.path, lambda _: None)
        else:
            self._db, self._identity = _open(self.path)

    def close(self) -> None:
        """Close the file; closing twice is harmless. The last process to close it folds its side files into it."""
        self._closed = True
        # What was opened before a fork is the parent's: not even let go of here, where that would close it.
        if self._process == os.getpid():
            with self._lock:
                if self._db is not None:
                    self._db.close()
                self._db = None

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start: committed, and on disk, when the block ends.

        Raises:
            UserError: the file cannot be written (full disk, lock, damage, removed under our hands, opened for reading
                only); nothing of the transaction is left.
        """
        self._check_open()
        if self._db is None:
            raise UserError(f"{self.path}: opened for reading only")
        if self._together == threading.get_ident():
            self._check_whole(self._db)
            with _told(self.path), _savepoint(self._db):
                yield self._db
            return
        with self._lock, _told(self.path):
            # SQLite would go on writing, without a word, into a file that has no name any more.
            if _identity(self.path) != self._identity:
                raise UserError(f"{self.path}: moved or removed while in use; put it back and run again")
            with _transaction(self._db, "BEGIN IMMEDIATE"):
                yield self._db

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """One transaction for all that this thread writes within the block: a disk is waited for once, not each time.

        A write that raises within the block leaves nothing of itself; the others stand. A block within another one is
        one of its writes.

        Raises:
            UserError: as :meth:`write`; nothing of the block is left.
        """
        if self._together == threading.get_ident():
            with self.write():
                yield
            return
        with self.write() as db:
            self._together = threading.get_ident()
            try:
                yield
            finally:
                self._together = None
            self._check_whole(db)

    def read(self, work: Callable[[sqlite3.Connection], _T], *, attempts: int = 5) -> _T:
        """What ``work`` reads from one unchanging state of the file.

        Args:
            work: called with a connection; must not keep it. Called again if the file changed under a reader.
            attempts: how often ``work`` may be called.

        Raises:
            UserError: the file cannot be read.
        """
        self._check_open()
        if self._db is None:
            return read_file(self.path, work, attempts=attempts)
        if self._together == threading.get_ident():
            with _told(self.path):
                return work(self._db)
        with self._lock, _told(self.path), _transaction(self._db, "BEGIN"):
            return work(self._db)

    def _check_whole(self, db: sqlite3.Connection) -> None:
        # A full disk, among other faults, undoes the whole transaction at once.
        if not db.in_transaction:
            raise UserError(f"{self.path}: could not be written; see to the disk and run again")

    def _check_open(self) -> None:
        if self._process != os.getpid():
            raise RuntimeError(f"{self.path}: opened before a fork; open the journal anew in each process")
        if self._closed:
            raise RuntimeError(f"{self.path}: the journal is closed")


def read_file(path: Path, work: Callable[[sqlite3.Connection], _T], *, attempts: int = 5) -> _T:
    """As :meth:`Store.read`, without making, changing or locking any file.

    Where a write-ahead log lies beside the file, some process writes or was killed: SQLite reads both, and no writer
    waits for it. Where none does, SQLite would make one to read; the file is then read as if it never changed, and read
    again if it did.
    """
    for _ in range(attempts):
        before = _stamp(path)
        if before is None:
            raise UserError(f"{path}: no such file")
        log = path.resolve().with_name(path.resolve().name + "-wal").exists()
        try:
            return _read_once(path, "mode=ro" if log else "mode=ro&immutable=1", work, None if log else before)
        except _ChangedError:
            time.sleep(0.05)
    raise UserError(f"{path}: changed while it was read; try again")


class _ChangedError(Exception):
    """The file changed while it was read as if it could not."""


def _read_once(path: Path, how: str, work: Callable[[sqlite3.Connection], _T], before: tuple[int, ...] | None) -> _T:
    try:
        with _told(path):
            address = f"{path.resolve().as_uri()}?{how}"
            with contextlib.closing(_connect(address, uri=True)) as db, _transaction(db, "BEGIN"):
                if not _is_journal(path, db):
                    raise UserError(f"{path}: empty; start the pipeline on it first, or name another file")
                result = work(db)
    except UserError:
        # Half of an old state and half of a new one look like damage.
        if before is not None and _stamp(path) != before:
            raise _ChangedError from None
        raise
    if before is not None and _stamp(path) != before:
        raise _ChangedError
    return result


def _open(path: Path) -> tuple[sqlite3.Connection, tuple[int, int]]:
    """A connection for writing, and which file it is of."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: its folder cannot be made: {error.strerror}") from None
    if path.is_dir():
        raise UserError(f"{path}: a folder; name a file")
    with _told(path):
        db = _connect(os.fspath(path.absolute()))
        try:
            # Before anything is changed: the file may be another program's.
            with _transaction(db, "BEGIN"):
                known = _is_journal(path, db)
            if not known:
                _make(path, db)
            db.execute("PRAGMA synchronous = FULL")
            # Of use on macOS alone, where an ordinary sync leaves the data in the disk's cache.
            db.execute("PRAGMA fullfsync = ON")
            identity = _identity(path)
        except BaseException:
            db.close()
            raise
    if identity is None:
        raise UserError(f"{path}: removed while it was opened; run again")
    return db, identity


def _connect(address: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(address, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)


def _make(path: Path, db: sqlite3.Connection) -> None:
    """Make an empty file a journal, in one transaction; another process may be doing the same."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            # This one statement does not wait for others by itself.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise UserError(f"{path}: this file system keeps no write-ahead log; put the journal on a local disk")
    with _transaction(db, "BEGIN IMMEDIATE"):
        if not _is_journal(path, db):
            for table in TABLES:
                db.execute(table)
            db.execute("INSERT INTO meta VALUES ('isograd', ?)", (version("isograd"),))
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")


def _is_journal(path: Path, db: sqlite3.Connection) -> bool:
    """Whether the file is a journal; False for an empty one.

    To be asked within a transaction: another process may be making it a journal just now.

    Raises:
        UserError: it is another program's, or a journal of another format.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION:
        if found > FORMAT:
            raise UserError(f"{path}: a journal of format {found}, this isograd knows {FORMAT}; upgrade isograd")
        if found < FORMAT:
            raise UserError(
                f"{path}: a journal of the old format {found}, this isograd writes {FORMAT}; finish it with the isograd"
                " that began it, or name a new file"
            )
        return True
    (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if application or found or tables:
        raise UserError(f"{path}: a SQLite file, but not a journal of isograd; name another file")
    return False


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # After some faults, a full disk among them, SQLite has rolled back by itself.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _savepoint(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("SAVEPOINT one")
    try:
        yield
        db.execute("RELEASE one")
    except BaseException:
        # After some faults the whole transaction is gone, and what it still holds is its end's to find out.
        if db.in_transaction:
            db.execute("ROLLBACK TO one")
            db.execute("RELEASE one")
        raise


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what can go wrong with a file or a text into one line for the user; other errors are ours and pass."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        fault = _FAULTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if fault is None:
            raise
        raise UserError(f"{path}: {fault}") from error
    except UnicodeEncodeError as error:
        raise UserError(
            f"{path}: not written: half a character (lone surrogate U+{ord(error.object[error.start]):04X}) at position"
            f" {error.start} of {error.object[max(0, error.start - 20) : error.start + 20]!a}; send valid Unicode"
        ) from None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
