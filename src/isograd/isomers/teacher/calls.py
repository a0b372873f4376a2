"""One question to the teacher: looked up in the journal, else asked, paid and written down; asked anew if unusable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel

from isograd.common.errors import UserError
from isograd.isomers.teacher.client import TeacherClient
from isograd.isomers.teacher.journal import POLL_SECONDS
from isograd.isomers.teacher.journal_queue import JournalQueue
from isograd.isomers.teacher.messages import (
    Reply,
    Request,
    RequestRefusedError,
    RequestTooLongError,
)
from isograd.isomers.teacher.structured import Unusable, parse_structured

__all__ = ["ASKS", "Calls", "Failed", "Failure", "Note"]

ASKS: Final = 3
"""How often a question is asked at most while its replies cannot be used."""

_SAMPLES: Final = 1000
"""More than the solutions of one problem: what tells a question that is asked anew from the next solution."""
TEMPERATURE: Final = 0.7
"""Of a question that is asked anew, which at 0 would be answered as before, and of solvers, who are to err in different
ways."""

_LOOK_SECONDS: Final = 0.1

INVALID: Final = "invalid"

_T = TypeVar("_T", bound=BaseModel)
_R = TypeVar("_R")


@dataclass(frozen=True)
class Failed:
    """A question that found no usable reply, however often it was asked.

    Attributes:
        reason: machine-readable: the kind of an unusable reply, ``invalid``, ``request_refused``, ``request_too_long``.
        problems: what is wrong, one line each.
        text: the last reply as it came; empty where none came.
    """

    reason: str
    problems: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True)
class Failure:
    """Why something was rejected: one line of the quarantine file's lists.

    Attributes:
        stage: in which stage it was found; ``check`` for isograd's own checks of a member, ``set`` for those of a set.
        domain: of the telling; empty for the seed as a whole.
        reason: machine-readable.
        detail: in words.
    """

    stage: str
    domain: str
    reason: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        """The fields, as values that ``json.dumps`` takes."""
        return asdict(self)


@dataclass(frozen=True)
class Note:
    """Whether a stage was passed, for the status."""

    stage: str
    domain: str
    reasons: Sequence[str] = field(default_factory=tuple)
    attempt: int = 0


class Calls:
    """Asks a teacher and keeps the books.

    Args:
        queue: of the journal.
        client: the teacher; its account is the run's.
    """

    def __init__(self, queue: JournalQueue, client: TeacherClient) -> None:
        self._queue, self._client = queue, client
        self._journal = queue.journal
        self._under_way: set[asyncio.Task[Reply]] = set()

    async def ask(
        self,
        request: Request,
        shape: type[_T],
        read: Callable[[_T], _R | list[str]],
        *,
        seed_id: str,
        domain: str = "",
    ) -> _R | Failed:
        """What ``read`` makes of a reply.

        Args:
            request: the question.
            shape: what the reply must be.
            read: makes sense of it, or tells what is wrong with it, one line each.
            seed_id: the seed it serves.
            domain: empty for a stage that belongs to no domain.

        Raises:
            TeacherUnavailable: the server does not answer; the run must stop.
            TeacherError: it would answer no other question either.
            BudgetSpent: the money is spent.
            UserError: the journal's file fails.
        """
        failed = Failed("empty", ())
        for number in range(ASKS):
            try:
                reply = await self._reply(request, seed_id, domain)
            except (RequestRefusedError, RequestTooLongError) as error:
                reason = "request_too_long" if isinstance(error, RequestTooLongError) else "request_refused"
                return Failed(reason, (str(error),), failed.text)
            found = parse_structured(reply, shape)
            again: dict[str, Any] = {"temperature": TEMPERATURE, "sample": request.sample + _SAMPLES}
            if isinstance(found, Unusable):
                failed = Failed(found.kind, (found.detail,), reply.text)
                if found.kind == "truncated":
                    again = {"max_tokens": 2 * request.max_tokens}
            else:
                outcome = read(found)
                if not isinstance(outcome, list):
                    return outcome
                failed = Failed(INVALID, tuple(outcome), reply.text)
            if number + 1 < ASKS:
                request = replace(request, **again)
        return failed

    async def note(self, seed_id: str, notes: Sequence[Note]) -> None:
        """Write down which stages were passed."""

        def write() -> None:
            for one in notes:
                self._journal.seeds.note(
                    seed_id, one.stage, one.domain, passed=not one.reasons, reasons=one.reasons, attempt=one.attempt
                )

        await self._queue.do(write)

    async def finish(self, *, wait: bool) -> None:
        """End the calls of a run that has to stop; those that are not sent are given up.

        Args:
            wait: for the answers to what has been sent, and write them down.
        """
        while wait and self._under_way and self._client.limit.under_way:
            await asyncio.wait(self._under_way, timeout=_LOOK_SECONDS)
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _reply(self, request: Request, seed_id: str, domain: str) -> Reply:
        """The reply in the journal; where there is none, the call is made, unless someone else is making it."""
        key = request.key(self._client.model)
        while (found := await self._queue.do(partial(self._look, key, request.stage, domain))) != "ours":
            if isinstance(found, Reply):
                return found
            await asyncio.sleep(POLL_SECONDS)
        # A task of its own: when the run has to stop, a call under way is still waited for, since it is paid for.
        task = asyncio.create_task(self._make(key, request, seed_id, domain))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _make(self, key: str, request: Request, seed_id: str, domain: str) -> Reply:
        try:
            reply = await self._client.complete(request)
        except (RequestRefusedError, RequestTooLongError):
            await self._queue.do(partial(self._journal.release, key))
            raise
        except UserError as error:
            self._client.stop(error)  # and all claims are given up when the journal is closed
            raise
        prices = self._client.spending.prices
        known = prices.prompt_per_million or prices.completion_per_million
        cost = prices.cost(reply.prompt_tokens, reply.completion_tokens) if known else None
        model = self._client.model
        record = partial(self._journal.record, key, request, model, reply, seed_id=seed_id, domain=domain, cost=cost)
        return await self._queue.do(record)

    def _ended(self, task: asyncio.Task[Reply]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more

    def _look(self, key: str, stage: str, domain: str) -> Reply | Literal["ours", "theirs"]:
        if (reply := self._journal.find(key)) is not None:
            return reply
        return "ours" if self._journal.claim(key, stage=stage, domain=domain) else "theirs"
