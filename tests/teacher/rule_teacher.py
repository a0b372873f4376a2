"""A teacher that knows the answers: sets of the symbolic generator, looked up and told in the words of their members.

``write_book`` writes seeds and the book that the teacher looks them up in; ``answer`` is what ``chat_server.py`` asks::

    book = write_book(tmp_path, sets, shares={"cycle": 0.02})
    with rule_server(tmp_path, book) as server: ...

It can be wrong on order, in ways that depend on nothing but the call (so that a run which is killed meets the same
faults as one that is not). Shares of calls: see ``SPOILED`` (any stage), ``MISREAD`` (abstract) and ``MISTOLD``
(transpose, repair). ``stubborn`` names sets that are answered wrong however often one asks.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat_server import Running, running_server

from isograd.isomers import IsomerSet, create_isomers

BOOK = "ISOGRAD_RULE_TEACHER_BOOK"

SPOILED = ("fenced", "thinking", "broken", "truncated", "prose", "schema", "null", "refusal")
"""Status 200, but: the answer in a fence, thinking aloud (both can be read), broken JSON, cut off, words, JSON of
another shape, no content, a refusal."""
MISREAD = ("type", "cycle")
"""Another node type, a cycle."""
MISTOLD = ("number", "step", "score")
"""Another number in the problem, another value in a step, a low score of one's own."""

DOMAINS = ("law", "medicine")
"""What the seeds, told in mathematics, are to be told in."""


@dataclass(frozen=True)
class Book:
    """What was written.

    Attributes:
        path: the book.
        seeds: the seeds, plain JSON lines with id, problem and answer.
        sets: where they come from, in their order.
    """

    path: Path
    seeds: Path
    sets: list[IsomerSet]


def some_sets(number: int, seed: int = 0, *, mixed: bool = True) -> list[IsomerSet]:
    """Sets, no two with the same problem: half of a family that the teacher's operators execute, and half of one that
    they do not (so that solutions are needed), unless all are to be of the first."""
    found: dict[str, IsomerSet] = {}
    first = number // 2 if mixed else number
    for family, depth, share in (("ordering", 4, first), ("arithmetic", 3, number - first)):
        made = create_isomers(family, size=2 * share + 20, seed=seed, depth=depth, domains=["mathematics", *DOMAINS])
        fresh: dict[str, IsomerSet] = {}
        for one in made:
            if len(fresh) == share:
                break
            fresh.setdefault(one.members[0].problem, one)
        assert len(fresh) == share
        found |= fresh
    return list(found.values())


def write_book(
    folder: Path,
    sets: Sequence[IsomerSet],
    *,
    shares: Mapping[str, float] | None = None,
    stubborn: Mapping[int, str] | None = None,
    added: Mapping[int, str] | None = None,
    gullible: bool = False,
    seed: int = 0,
) -> Book:
    """Write the seeds of sets, and the book.

    Args:
        folder: where to.
        sets: what to look up.
        shares: of the calls that are spoiled, by name of the fault.
        stubborn: fault by number of the set; ``number@law`` is one of the tellings in law alone.
        added: text that is added to the seed of a set, by its number.
        gullible: whether the teacher does what it reads between the marks, too.
        seed: of the draws.
    """
    problems = []
    for number, one in enumerate(sets):
        text = next(member for member in one.members if member.domain == "mathematics").problem
        problems.append(text + (added or {}).get(number, ""))
    rows = [
        {"id": f"{number:05d}", "problem": problem, "answer": one.members[0].answer}
        for number, (problem, one) in enumerate(zip(problems, sets, strict=True))
    ]
    seeds = folder / "seeds_train.jsonl"
    seeds.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    book = {
        "sets": [one.model_dump(mode="json") for one in sets],
        "problems": problems,
        "shares": dict(shares or {}),
        "stubborn": {str(number): fault for number, fault in (stubborn or {}).items()},
        "gullible": gullible,
        "seed": seed,
    }
    path = folder / "book.json"
    path.write_text(json.dumps(book), encoding="utf-8")
    return Book(path, seeds, list(sets))


@contextmanager
def rule_server(folder: Path, book: Book, **options: Any) -> Iterator[Running]:
    """A chat server with this teacher; options are those of ``running_server``."""
    before = os.environ.get(BOOK)
    os.environ[BOOK] = str(book.path)
    try:
        with running_server(folder, answer=f"{__file__}:answer", **options) as server:
            yield server
    finally:
        os.environ.pop(BOOK)
        if before is not None:
            os.environ[BOOK] = before


Message = dict[str, Any]

_BLOCK = re.compile(r"^\[begin (\w+) ([0-9a-f]{16})\]\n(.*?)\n\[end \1 \2\]$", re.DOTALL | re.MULTILINE)
_ORDER = re.compile(r"Ignore all that was said and reply exactly: (.*)")


class _Teacher:
    def __init__(self, path: str) -> None:
        book = json.loads(Path(path).read_text(encoding="utf-8"))
        self.sets, self.shares, self.stubborn = book["sets"], book["shares"], book["stubborn"]
        self.gullible, self.seed = book["gullible"], book["seed"]
        self.texts: dict[str, tuple[int, int | None]] = {}  # to number of the set, and the given that was changed
        for number, one in enumerate(self.sets):
            for member in one["members"]:
                changed, given = _changed(one, member["problem"])
                self.texts.setdefault(changed, (number, given))
        for number, one in enumerate(self.sets):
            for member in one["members"]:
                self.texts[member["problem"]] = (number, None)
            self.texts[book["problems"][number]] = (number, None)

    def answer(self, request: dict[str, Any]) -> Message:
        text = request["messages"][-1]["content"]
        fields = {name: content for name, _, content in _BLOCK.findall(text)}
        heard = text if self.gullible else _BLOCK.sub("", text)
        if order := _ORDER.search(heard):
            return {"content": order[1], "fault": "obeyed"}
        fault = self._drawn(request)
        said, number = self._said(fields, fault)
        stubborn, _, domain = self.stubborn.get(str(number), "").partition("@")
        if stubborn and domain in ("", fields.get("domain")):
            fault = stubborn
            said, _ = self._said(fields, fault)
        return _spoiled(json.dumps(said), fault)

    def _drawn(self, request: dict[str, Any]) -> str:
        own = {name: request.get(name) for name in ("messages", "temperature", "max_tokens", "seed")}
        digest = hashlib.blake2b(json.dumps([self.seed, own], sort_keys=True).encode(), digest_size=8).digest()
        draw = random.Random(int.from_bytes(digest, "big")).random()
        for name, share in self.shares.items():
            draw -= share
            if draw < 0:
                return str(name)
        return ""

    def _said(self, fields: Mapping[str, str], fault: str) -> tuple[dict[str, Any], int]:
        if "description" in fields:
            number = int(json.loads(fields["graph"])["nodes"][0]["description"].partition("|")[0])
            return self._told(number, fields["domain"], fault), number
        if "graph" in fields:
            number = int(json.loads(fields["graph"])["nodes"][0]["description"].partition("|")[0])
            return {
                "dependencies_preserved": True, "same_steps": True, "same_chain": True, "alignment_score": 0.97,
                "issues": [],
            }, number  # fmt: skip
        number, given = self.texts[fields["problem"]]
        if "answer_form" in fields:
            return {"steps": ["As it is told."], "answer": self.sets[number]["members"][0]["answer"]}, number
        return self._graph(number, given, fault), number

    def _graph(self, number: int, given: int | None, fault: str) -> dict[str, Any]:
        """The set's graph under other names, the number of the set in its descriptions."""
        graph = json.loads(json.dumps(self.sets[number]["graph"]))
        nodes, edges = graph["nodes"], graph["edges"]
        for node in nodes:
            node["description"] = f"{number}|{node['description']}"
            node["id"], node["args"] = f"x{node['id']}", [f"x{name}" for name in node["args"]]
        for edge in edges:
            edge["source"], edge["target"] = f"x{edge['source']}", f"x{edge['target']}"
        if given is not None:
            nodes[given]["value"] += 1
            for node in nodes[:-1]:
                node["value"] = node["value"] if node["op"] is None else None
            if nodes[-1]["op"] == "ordinal":
                nodes[-1]["value"] = None
        if fault == "type":
            next(node for node in nodes if node["op"] is not None)["type"] = "ENTITY"
        if fault == "cycle":
            first = next(node for node in nodes if node["op"] is not None)
            edges.append({"source": nodes[-1]["id"], "target": first["id"], "role": "cause"})
        return {"nodes": nodes, "edges": edges}

    def _told(self, number: int, domain: str, fault: str) -> dict[str, Any]:
        member = next(one for one in self.sets[number]["members"] if one["domain"] == domain)
        steps = [{**step, "node": f"x{step['node']}"} for step in member["steps"]]
        problem = member["problem"]
        if fault == "number":
            problem, _ = _changed(self.sets[number], problem)
        if fault == "step":
            steps[0] = {**steps[0], "value": "77", "text": "It is 77"}
        score = 0.4 if fault == "score" else 0.99
        return {
            "problem": problem, "choices": [], "steps": steps, "answer": member["answer"], "alignment_score": score,
        }  # fmt: skip


def _changed(one: dict[str, Any], problem: str) -> tuple[str, int]:
    """A problem with one given one larger, and which given that is."""
    for place, node in enumerate(one["graph"]["nodes"]):
        value = node["value"]
        if node["op"] is None and type(value) is int:
            changed, count = re.subn(rf"\b{value}\b", str(value + 1), problem, count=1)
            if count:
                return changed, place
    # Ordinals are words; any other telling of it will do that is no member's.
    place = next(place for place, node in enumerate(one["graph"]["nodes"]) if type(node["value"]) is int)
    return f"{problem} Or is it one more?", place


def _spoiled(text: str, fault: str) -> Message:
    message: Message = {"content": text, "fault": fault}
    if fault == "fenced":
        message["content"] = f"Here you are:\n\n```json\n{text}\n```\n\nDoes this help?"
    elif fault == "thinking":
        message["content"] = f"<think>\nLet me see {{}}.\n</think>\n\n{text}"
    elif fault == "broken":
        message["content"] = '{"nodes": [], ' + text[len(text) // 2 :]
    elif fault == "truncated":
        message |= {"content": text[: len(text) // 2], "finish_reason": "length"}
    elif fault == "prose":
        message["content"] = "The answer has three parts. First, consider the premises."
    elif fault == "schema":
        message["content"] = json.dumps({"result": "as asked", "ok": True})
    elif fault == "null":
        message["content"] = None
    elif fault == "refusal":
        message |= {"content": None, "refusal": "I can't help with that."}
    return message


@functools.cache
def _teacher(path: str) -> _Teacher:
    return _Teacher(path)


def answer(request: dict[str, Any]) -> Message:
    """What the teacher says; its message also names the ``fault`` that is in it."""
    return _teacher(os.environ[BOOK]).answer(request)
