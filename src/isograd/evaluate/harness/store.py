"""Responses of models, kept as they come, so that a killed evaluation goes on where it was."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM

from isograd.common.errors import UserError

__all__ = ["ResponseStore", "StoredModel"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, task TEXT NOT NULL, version TEXT NOT NULL,
    document TEXT NOT NULL, request TEXT NOT NULL, response TEXT NOT NULL
) WITHOUT ROWID
"""


class ResponseStore:
    """An SQLite file of responses, all JSON; a batch is in it whole or not at all, also after a kill or a power cut.

    Raises:
        UserError: the file cannot be opened, or is no such store.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = sqlite3.connect(path, timeout=60)
            self._database.execute("PRAGMA synchronous = FULL")
            with self._database:
                self._database.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise UserError(f"{path}: cannot be used as a store of responses: {error}") from None

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """The responses that are there, by key."""
        found = {}
        for key in keys:
            row = self._database.execute("SELECT response FROM responses WHERE key = ?", (key,)).fetchone()
            if row is not None:
                found[key] = json.loads(row[0])
        return found

    def put(self, rows: Sequence[tuple[str, str, str, str, str, str, str]]) -> None:
        """Add rows (key, model, task, version, document, request, response) in one transaction."""
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._database.close()


class StoredModel(LM):
    """A model that is asked only what the store does not know yet.

    A request is known by the model's fingerprint, the task with its version, and all that is sent: prompt and settings
    of generation, or prompt and option. Equal requests are asked once. Chunks are cut from the sorted list of all
    requests, known or not, so that an evaluation that was killed meets the same batches as one that was not.

    Args:
        model: lm-eval's object.
        store: of the responses.
        fingerprint: of the model.
        versions: of the tasks, by name.
        chunk: requests between two commits.
        keep_empty: whether a text may be empty. If not, an empty one is given on, counted and not kept: a server sends
            it for what it refuses, or where a model spent all its tokens on thinking.
        progress: called with (requests answered, requests in all).

    Attributes:
        empty: empty texts that were not kept.
    """

    def __init__(
        self,
        model: LM,
        store: ResponseStore,
        *,
        fingerprint: str,
        versions: Mapping[str, str],
        chunk: int,
        keep_empty: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__()
        self._keep_empty, self.empty = keep_empty, 0
        self._model, self._store, self._fingerprint = model, store, fingerprint
        self._versions, self._chunk, self._progress = dict(versions), chunk, progress

    def generate_until(self, requests: list[Any]) -> list[str]:
        """See lm-eval's ``LM``."""
        return [str(text) for text in self._answers("generate_until", requests)]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """See lm-eval's ``LM``."""
        return [(float(value), bool(greedy)) for value, greedy in self._answers("loglikelihood", requests)]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """No benchmark here asks for it."""
        raise NotImplementedError

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> Any:
        """See lm-eval's ``LM``."""
        return self._model.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        """See lm-eval's ``LM``."""
        return str(self._model.tokenizer_name)

    def _answers(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        keys = [self._key(kind, request) for request in requests]
        unique = dict(zip(keys, requests, strict=True))
        # The longest first: texts of similar length share a batch, and what does not fit into memory fails at once.
        order = sorted(unique, key=lambda key: (-len(str(unique[key].args[0])), key))
        answers: dict[str, Any] = {}
        for start in range(0, len(order), self._chunk):
            chunk = order[start : start + self._chunk]
            known = self._store.get(chunk)
            missing = [key for key in chunk if key not in known]
            if missing:
                known |= self._ask(kind, missing, [unique[key] for key in missing])
            answers |= known
            if self._progress is not None:
                self._progress(len(answers), len(order))
        return [answers[key] for key in keys]

    def _ask(self, kind: str, keys: Sequence[str], requests: Sequence[Any]) -> dict[str, Any]:
        responses = getattr(self._model, kind)(list(requests), disable_tqdm=True)
        rows, empty = [], {}
        for key, request, response in zip(keys, requests, responses, strict=True):
            if response == "" and not self._keep_empty:
                empty[key] = response
                continue
            name, document = str(request.task_name), hashlib.sha256(_json(request.doc).encode()).hexdigest()[:16]
            about = (self._fingerprint, name, self._versions[name], document)
            rows.append((key, *about, _json([kind, *request.args]), _json(response)))
        self._store.put(rows)
        self.empty += len(empty)
        # As the next evaluation will read it.
        return {row[0]: json.loads(row[-1]) for row in rows} | empty

    def _key(self, kind: str, request: Any) -> str:
        name = str(request.task_name)
        parts = [self._fingerprint, name, self._versions[name], kind, *request.args]
        return hashlib.sha256(_json(parts).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
