"""The addresses of the review page and what each does; nothing of HTTP but paths, fields and answers."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

from isograd.common.errors import UserError
from isograd.isomers.parsing import Fault
from isograd.isomers.review import pages
from isograd.isomers.review.content import content_hash
from isograd.isomers.review.editing import EditError, Texts, edited
from isograd.isomers.review.ledger import Conflict
from isograd.isomers.review.queue import FILTERS, Queue
from isograd.isomers.review.responses import Response, see_other
from isograd.isomers.schema import IsomerSet

__all__ = ["Site"]

MOST_TRAIL: Final = 50
LONGEST_REASON: Final = 2000

_SET: Final = re.compile(r"/set/([1-9][0-9]{0,9})(?:/(edit|accept|reject|undo))?")
_ELSEWHERE: Final = "This set was decided on elsewhere meanwhile. Nothing was done; this is where it stands now."
_OTHER: Final = "The page showed other content than there is now. Nothing was done; this is what there is now."

Fields = Mapping[str, str]


class Site:
    """Answers to requests. Threads may share it.

    Args:
        queue: the sets and the decisions on them.
        csrf: the secret that forms send back.
    """

    def __init__(self, queue: Queue, csrf: str) -> None:
        self._queue = queue
        self._csrf = csrf

    def get(self, path: str, query: Fields) -> Response:
        """The answer to a GET."""
        if path in pages.ASSETS:
            return Response(200, pages.asset(path), pages.ASSETS[path])
        queue, show = self._queue, _show(query)
        queue.ledger.refresh()
        if path == "/":
            numbers = queue.numbers("undecided")
            number = numbers[0] if numbers else len(queue.catalog.entries) + queue.catalog.reading
            return see_other(f"/set/{number}")
        if path == "/progress":
            return self._progress()
        if path == "/go":
            found = queue.find(query.get("to", ""))
            if found is None:
                return self._message(404, "No such set", "There is no set with this number or id.")
            return see_other(f"/set/{found}", {"show": show})
        if path == "/show":
            return self._filtered(query.get("filter", ""), query.get("from", ""))
        matched = _SET.fullmatch(path)
        if matched is None or matched[2] in ("accept", "reject", "undo"):
            return self._message(404, "No such page", "This address leads nowhere.")
        number = int(matched[1])
        if number > len(queue.catalog.entries):
            if queue.catalog.reading and number <= queue.catalog.total:
                return Response(200, pages.waiting_page(queue, number, show))
            return self._message(404, "No such set", f"The file has {len(queue.catalog.entries)} sets.")
        return self._edit_page(number, show) if matched[2] else self._set_page(number, query)

    def post(self, path: str, fields: Fields) -> Response:
        """The answer to a POST whose sender was found to be this page."""
        queue = self._queue
        queue.ledger.refresh()
        matched = _SET.fullmatch(path)
        if matched is None or matched[2] is None or int(matched[1]) > len(queue.catalog.entries):
            return self._message(404, "No such page", "This address leads nowhere.")
        number, action = int(matched[1]), matched[2]
        item = queue.catalog.fetch(queue.catalog.entries[number - 1])
        if isinstance(item, Fault):
            return self._message(409, "Not a set", "This line of the file is no set; it cannot be decided on.")
        try:
            if action == "edit":
                return self._save(number, item, fields)
            if action == "undo":
                return self._undo(number, fields)
            return self._decide(number, item, action, fields)
        except Conflict:
            return self._set_page(number, fields, status=409, notice=_ELSEWHERE)
        except UserError as error:
            return self._message(500, "Not saved", str(error))

    def _message(self, status: int, title: str, line: str) -> Response:
        return Response(status, pages.message_page(self._queue, title, line))

    def _filtered(self, name: str, start: str) -> Response:
        """The nearest set that a filter shows, this one if it does."""
        numbers = self._queue.numbers(name) if name in FILTERS else ()
        if not numbers:
            return self._message(200, "Nothing here", "No set is shown under this filter as yet.")
        here = int(start) if start.isascii() and start.isdigit() and len(start) < 12 else 1
        at = min(bisect_left(numbers, here), len(numbers) - 1)
        return see_other(f"/set/{numbers[at]}", {"show": name})

    def _progress(self) -> Response:
        catalog = self._queue.catalog
        told = {"busy": catalog.busy, "read": len(catalog.entries), "judged": len(catalog.verdicts)}
        counts = {name: len(self._queue.numbers(name)) for name in FILTERS}
        body = json.dumps({**told, "total": catalog.total, "counts": counts}).encode()
        return Response(200, body, "application/json")

    def _set_page(self, number: int, query: Fields, *, status: int = 200, notice: str = "") -> Response:
        of = query.get("of", "")
        body = pages.set_page(
            self._queue,
            number,
            show=_show(query),
            csrf=self._csrf,
            trail=_trail(query),
            original=query.get("original") == "1",
            done=(query.get("done", ""), int(of)) if of.isascii() and of.isdigit() and len(of) < 12 else None,
            notice=notice,
        )
        return Response(status, body)

    def _edit_page(self, number: int, show: str) -> Response:
        queue = self._queue
        entry = queue.catalog.entries[number - 1]
        item = queue.catalog.fetch(entry)
        if isinstance(item, Fault):
            return self._message(409, "Not a set", "This line of the file is no set; it cannot be edited.")
        decision = queue.ledger.decision(entry)
        shown, _ = queue.shown(number, item)
        since = "" if decision is None else repr(decision.at)
        return Response(200, pages.edit_page(queue, number, shown, show=show, csrf=self._csrf, since=since))

    def _decide(self, number: int, item: IsomerSet, action: str, fields: Fields) -> Response:
        queue = self._queue
        entry = queue.catalog.entries[number - 1]
        shown, _ = queue.shown(number, item)
        hashes = {entry.hash, content_hash(shown)}
        if fields.get("hash") not in hashes:
            return self._set_page(number, fields, status=409, notice=_OTHER)
        if action == "reject":
            queue.ledger.reject(entry, " ".join(fields.get("reason", "").split())[:LONGEST_REASON])
            done = "rejected"
        elif fields.get("hash") == entry.hash:
            queue.ledger.accept(entry)
            done = "accepted"
        else:
            # What is shown is the edit, and an edit is accepted as it is saved.
            done = "kept"
        show = _show(fields)
        trail = [*_trail(fields), number][-MOST_TRAIL:]
        following = _next_undecided(queue, number, show)
        if following is None:
            return see_other(f"/set/{number}", {"show": show, "done": done, "of": number})
        told: dict[str, str | int] = {"show": show, "done": done, "of": number, "trail": ",".join(map(str, trail))}
        return see_other(f"/set/{following}", told)

    def _undo(self, number: int, fields: Fields) -> Response:
        queue = self._queue
        queue.ledger.undo(queue.catalog.entries[number - 1], since=_time(fields.get("since", "")))
        trail = [other for other in _trail(fields) if other != number]
        told: dict[str, str | int] = {"done": "undone", "of": number, "trail": ",".join(map(str, trail))}
        return see_other(f"/set/{number}", {"show": _show(fields), **told})

    def _save(self, number: int, item: IsomerSet, fields: Fields) -> Response:
        queue = self._queue
        entry = queue.catalog.entries[number - 1]
        shown, _ = queue.shown(number, item)
        since = fields.get("since", "")
        texts = _texts(shown, fields)
        problems: tuple[str, ...] = ()
        if fields.get("hash") != content_hash(shown):
            # What was typed stays on the page, to be saved once more or copied.
            problems = ("the set was edited or decided on elsewhere meanwhile; save again to replace that",)
            decision = queue.ledger.decision(entry)
            since = "" if decision is None else repr(decision.at)
        else:
            try:
                changed = edited(shown, texts)
                if changed == shown:
                    return see_other(f"/set/{number}", {"show": _show(fields)})
                queue.judge_edit(entry, changed)
                queue.ledger.edit(entry, changed, since=_time(since))
                return see_other(f"/set/{number}", {"show": _show(fields), "done": "edited", "of": number})
            except EditError as error:
                problems = error.problems
        body = pages.edit_page(
            queue, number, shown, show=_show(fields), csrf=self._csrf, since=since, texts=texts, problems=problems
        )
        return Response(422, body)


def _next_undecided(queue: Queue, number: int, show: str) -> int | None:
    """The next set that waits for a decision, within the filter where that may hold any."""
    numbers = queue.numbers("findings") if show == "findings" else None
    following = queue.after(number, "undecided")
    if numbers is None:
        return following
    wanted = set(numbers)
    while following is not None and following not in wanted:
        following = queue.after(following, "undecided")
    return following


def _show(fields: Fields) -> str:
    show = fields.get("show", "all")
    return show if show in FILTERS else "all"


def _trail(fields: Fields) -> list[int]:
    text = fields.get("trail", "")
    if not re.fullmatch(r"[0-9]{1,10}(,[0-9]{1,10})*", text):
        return []
    return [number for number in map(int, text.split(",")) if number][-MOST_TRAIL:]


def _time(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _texts(isomer_set: IsomerSet, fields: Fields) -> list[Texts]:
    """The texts that a form sent; what it left out counts as empty."""
    return [
        Texts(
            fields.get(f"problem-{place}", ""),
            tuple(
                (fields.get(f"text-{place}-{index}", ""), fields.get(f"value-{place}-{index}", ""))
                for index in range(len(member.steps))
            ),
            fields.get(f"answer-{place}", ""),
        )
        for place, member in enumerate(isomer_set.members)
    ]
