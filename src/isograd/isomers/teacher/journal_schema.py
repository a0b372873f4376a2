"""The journal's tables. A change of any of them needs a new FORMAT."""

from __future__ import annotations

from typing import Final

__all__ = ["APPLICATION", "FORMAT", "TABLES"]

APPLICATION: Final = 0x69736F67
"""Marks a SQLite file as a journal of isograd (``isog``)."""

FORMAT: Final = 1

# Long texts stand last in a row: what stands before them is read without reading them.
TABLES: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """
    CREATE TABLE calls (
        key TEXT PRIMARY KEY,
        stage TEXT NOT NULL,
        version INTEGER NOT NULL,
        model TEXT NOT NULL,
        domain TEXT NOT NULL,
        seed_id TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        seconds REAL NOT NULL,
        cost REAL,
        finished_at REAL NOT NULL,
        request TEXT NOT NULL,
        reply TEXT NOT NULL
    )
    """,
    "CREATE INDEX calls_finished ON calls (finished_at)",
    "CREATE INDEX calls_seed ON calls (seed_id)",
    """
    CREATE TABLE claims (
        key TEXT PRIMARY KEY,
        stage TEXT NOT NULL,
        domain TEXT NOT NULL,
        owner TEXT NOT NULL,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        started TEXT NOT NULL,
        since REAL NOT NULL
    )
    """,
    """
    CREATE TABLE seeds (
        id TEXT PRIMARY KEY,
        number INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'working', 'verified', 'quarantined')),
        updated_at REAL NOT NULL,
        reasons TEXT NOT NULL,
        source TEXT NOT NULL,
        result TEXT NOT NULL
    )
    """,
    "CREATE INDEX seeds_state ON seeds (state, number)",
    """
    CREATE TABLE events (
        seed_id TEXT NOT NULL,
        stage TEXT NOT NULL,
        domain TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        passed INTEGER NOT NULL CHECK (passed IN (0, 1)),
        reasons TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (seed_id, stage, domain, attempt)
    )
    """,
    """
    CREATE TABLE decisions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        set_id TEXT NOT NULL,
        set_hash TEXT NOT NULL,
        verdict TEXT NOT NULL CHECK (verdict IN ('accept', 'reject', 'edit')),
        reviewer TEXT NOT NULL,
        at REAL NOT NULL,
        content TEXT NOT NULL
    )
    """,
    "CREATE INDEX decisions_set ON decisions (set_id, at)",
)
