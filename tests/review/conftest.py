"""A review server that runs, and sets to review: sound ones, wrong ones and hostile ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from review_client import Client

from isograd.isomers import IsomerSet, create_isomers, save_isomers
from isograd.isomers.review import Catalog, Ledger, ReviewServer
from isograd.isomers.review.queue import Queue
from isograd.isomers.teacher.journal import Journal

# Markup that ends whatever it stands in, an address elsewhere, a template expression, unseen and turning characters.
HOSTILE = (
    "\"'></title></textarea><script>document.title='hacked';alert(1)</script>"
    "<img src=http://elsewhere.invalid/x onerror=alert(2)> {{ 7007*6007 }} &amp; "
    "\u202eturned\u202c \x07\x07\u200b \u05e9\u05dc"
)


@dataclass
class Running:
    """A server that runs, and what it runs on."""

    url: str
    client: Client
    file: Path
    journal: Path
    catalog: Catalog
    server: ReviewServer

    def decisions(self) -> list[Any]:
        """What another process reads in the journal."""
        with Journal(self.journal, read_only=True) as journal:
            return journal.decisions.history()


@pytest.fixture(scope="session")
def sound() -> list[IsomerSet]:
    """Six sound sets."""
    return create_isomers("arithmetic", size=6, seed=5, depth=2, cue="member")[:]


@pytest.fixture(name="hostile_text")
def hostile_text_fixture() -> str:
    return HOSTILE


@pytest.fixture
def hostile(sound: list[IsomerSet]) -> IsomerSet:
    """A set with hostile text wherever text can be."""
    plain = sound[0].model_dump(mode="json")
    plain |= {"id": HOSTILE, "family": HOSTILE, "labels": [HOSTILE]}
    plain["provenance"] |= {"generator": HOSTILE, "split": HOSTILE, "options": {HOSTILE: HOSTILE}}
    for node in plain["graph"]["nodes"]:
        node["description"] = HOSTILE
    for edge in plain["graph"]["edges"]:
        edge["role"] = HOSTILE
    for place, member in enumerate(plain["members"]):
        member |= {"domain": f"{place}{HOSTILE}", "problem": f"\n{HOSTILE}\r\n{HOSTILE}", "cue": "turned"}
        start, member["spans"] = 0, []
        for step in member["steps"]:
            step["text"] = f"{step['value']} {HOSTILE}"
            member["spans"].append({"node": step["node"], "start": start, "end": start + len(step["value"])})
            start += len(step["text"]) + 1
        member["answer"] = HOSTILE
        start += len("Answer: ")
        member["spans"].append({"node": plain["graph"]["nodes"][-1]["id"], "start": start, "end": start + len(HOSTILE)})
    return IsomerSet.model_validate(plain)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """``running(sets)`` writes a file and serves it; ``running(path=...)`` serves a file that is there."""
    with ExitStack() as stack:

        def run(
            sets: list[IsomerSet] | None = None,
            *,
            path: Path | None = None,
            journal: Path | None = None,
            wait: bool = True,
        ) -> Running:
            file = path or tmp_path / "sets.jsonl"
            if sets is not None:
                save_isomers(sets, file)
            kept = journal or tmp_path / "decisions.sqlite"
            catalog = stack.enter_context(Catalog(file))
            if wait:
                catalog.wait()
            opened = stack.enter_context(Journal(kept))
            server = stack.enter_context(ReviewServer(Queue(catalog, Ledger(opened, reviewer="Ada"))))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return Running(server.url, Client(server.url).enter(), file, kept, catalog, server)

        yield run
