"""The pages: what a template is given. Templates escape whatever they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from isograd.isomers.parsing import Fault
from isograd.isomers.review.content import content_hash
from isograd.isomers.review.editing import Texts, texts_of
from isograd.isomers.review.layout import draw
from isograd.isomers.review.pieces import clean, shorten
from isograd.isomers.review.queue import FILTERS, Queue
from isograd.isomers.review.view import findings_of, overlap_table, past, provenance_rows, rows_of, when
from isograd.isomers.schema import IsomerSet

__all__ = ["ASSETS", "asset", "edit_page", "message_page", "set_page", "waiting_page"]

ASSETS: Final[Mapping[str, str]] = {
    "/review.css": "text/css; charset=utf-8",
    "/review.js": "text/javascript; charset=utf-8",
    "/icon.svg": "image/svg+xml",
}

DONE: Final[Mapping[str, str]] = {
    "accepted": "accepted",
    "rejected": "rejected",
    "edited": "saved as edited and accepted",
    "undone": "decision taken back",
    "kept": "already accepted, with its edits",
    "last": "no undecided set follows",
}
"""What the page says after a decision; addresses name these words and no others."""


@cache
def asset(path: str) -> bytes:
    """The content of one of :data:`ASSETS`."""
    return (files("isograd.isomers.review") / "assets" / path.lstrip("/")).read_bytes()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("isograd.isomers.review"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clean"] = clean
    environment.filters["shorten"] = shorten
    return environment


def _render(name: str, queue: Queue, **values: Any) -> bytes:
    catalog = queue.catalog
    frame = {
        "file": catalog.path.name,
        "tabs": [(name, len(queue.numbers(name))) for name in FILTERS],
        "read": len(catalog.entries),
        "judged": len(catalog.verdicts),
        "total": catalog.total,
        "busy": catalog.busy,
        "trouble": catalog.trouble,
        "changed": catalog.changed,
    }
    text = _environment().get_template(name).render(**frame, **values)
    return text.encode("utf-8", "replace")


def set_page(
    queue: Queue,
    number: int,
    *,
    show: str,
    csrf: str,
    trail: Sequence[int] = (),
    original: bool = False,
    done: tuple[str, int] | None = None,
    notice: str = "",
) -> bytes:
    """A set side by side, with what was decided on it.

    Args:
        queue: the sets.
        number: which, from 1.
        show: the filter.
        csrf: the secret that forms send back.
        trail: numbers of the sets decided on before this page, the last one last.
        original: show the set as it stands in the file, though it was edited.
        done: what has just been done to which number.
        notice: what to say besides.
    """
    catalog, ledger = queue.catalog, queue.ledger
    entry = catalog.entries[number - 1]
    item = catalog.fetch(entry)
    values: dict[str, Any] = {
        "number": number,
        "show": show,
        "csrf": csrf,
        "entry": entry,
        "before": queue.before(number, show),
        "after": queue.after(number, show),
        "trail": ",".join(map(str, trail)),
        "done": (DONE[done[0]], done[1]) if done and done[0] in DONE else None,
        "notice": notice,
        "undo": _undo(queue, number, trail),
    }
    if isinstance(item, Fault):
        return _render("fault.html.j2", queue, fault=item, **values)
    shown, verdict = queue.shown(number, item)
    edited = shown is not item
    if original and edited:
        shown, verdict = item, catalog.verdict(number, item)
    decision = ledger.decision(entry)
    return _render(
        "set.html.j2",
        queue,
        **values,
        set=shown,
        hash=content_hash(shown),
        state=ledger.state(entry),
        decision=decision,
        decided_at=when(decision.at) if decision else "",
        edited=edited,
        original=original and edited,
        verdict=verdict,
        compared=number <= len(catalog.verdicts),
        findings=findings_of(verdict),
        rows=rows_of(shown, item),
        overlap=overlap_table(shown),
        max_overlap=catalog.max_overlap,
        drawing=draw(shown.graph),
        provenance=provenance_rows(shown),
        past=past(ledger.history(entry.id), entry.hash),
    )


def _undo(queue: Queue, number: int, trail: Sequence[int]) -> dict[str, Any] | None:
    """What the undo button takes back: the decision shown or, without one, the last one made on the way here."""
    for target in (number, *reversed(trail)):
        if target <= len(queue.catalog.entries):
            decision = queue.ledger.decision(queue.catalog.entries[target - 1])
            if decision is not None:
                return {"number": target, "since": repr(decision.at)}
    return None


def edit_page(
    queue: Queue,
    number: int,
    item: IsomerSet,
    *,
    show: str,
    csrf: str,
    since: str,
    texts: Sequence[Texts] = (),
    problems: Sequence[str] = (),
) -> bytes:
    """The texts of a set, to be changed.

    Args:
        queue: the sets.
        number: which, from 1.
        item: the set to begin from.
        show: the filter.
        csrf: the secret that the form sends back.
        since: time of the decision that the edit begins from; empty if there is none.
        texts: what was sent, where it could not be saved.
        problems: why.
    """
    goal = item.graph.goal.id
    return _render(
        "edit.html.j2",
        queue,
        number=number,
        show=show,
        csrf=csrf,
        since=since,
        set=item,
        hash=content_hash(item),
        texts=list(texts) or [texts_of(member) for member in item.members],
        steps=[node for node in item.graph.steps if node.id != goal],
        problems=[shorten(problem, 400) for problem in problems],
    )


def waiting_page(queue: Queue, number: int, show: str) -> bytes:
    """A set that was not read yet; the page loads itself again."""
    return _render("waiting.html.j2", queue, number=number, show=show)


def message_page(queue: Queue, title: str, line: str) -> bytes:
    """One line about what is wrong, and the way back."""
    return _render("message.html.j2", queue, title=title, line=line, show="all")
