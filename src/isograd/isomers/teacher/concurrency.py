"""Bounded concurrency that adapts to the server: additive increase, multiplicative decrease, shared pauses."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType

from isograd.common.errors import UserError

__all__ = ["AdaptiveLimit", "Aimd", "retry_after_seconds"]


class Aimd:
    """The rule, without clock or waiting: how many calls may be under way.

    One more after each window of ``limit`` successes, up to ``maximum``. Half on an overload signal, down to 1, but
    once per round trip: a call that was sent before the last decrease says nothing about the limit after it.

    Args:
        maximum: upper limit.
        start: first limit; the maximum where ``None``, since the user chose it.

    Attributes:
        limit: calls that may be under way.
        paused_until: time before which no call may start.
    """

    def __init__(self, maximum: int, start: int | None = None) -> None:
        if maximum < 1:
            raise UserError(f"max_concurrency is {maximum}: at least 1 call must be allowed")
        self.maximum = maximum
        self.limit = maximum if start is None else min(max(start, 1), maximum)
        self.paused_until = -math.inf
        self._successes = 0
        self._decreased_at = -math.inf

    def succeeded(self) -> None:
        """Count a call that the server answered in time."""
        self._successes += 1
        if self._successes >= self.limit:
            self._successes = 0
            self.limit = min(self.limit + 1, self.maximum)

    def overloaded(self, started: float, now: float) -> None:
        """Take an overload signal (429, 503, 529, timeout).

        Args:
            started: when the call was sent, in seconds of any one clock.
            now: the time of the signal.
        """
        if started <= self._decreased_at:
            return
        self.limit = max(self.limit // 2, 1)
        self._successes = 0
        self._decreased_at = now

    def pause(self, until: float) -> None:
        """Let no call start before ``until``; pauses never shorten one another."""
        self.paused_until = max(self.paused_until, until)

    def may_start(self, under_way: int, now: float) -> bool:
        """Whether one more call may start beside ``under_way`` others."""
        return under_way < self.limit and now >= self.paused_until


class Slot:
    """The permission to make one call, and where the call tells how it went."""

    def __init__(self, rule: Aimd, started: float) -> None:
        self._rule = rule
        self._started = started

    def succeeded(self) -> None:
        """The server answered in time."""
        self._rule.succeeded()

    def overloaded(self) -> None:
        """The server is overloaded."""
        self._rule.overloaded(self._started, asyncio.get_running_loop().time())


class AdaptiveLimit:
    """An async context manager that lets as many calls through as :class:`Aimd` allows, first come, first served.

    ::

        async with limit as slot:
            ...
            slot.succeeded()

    One object is shared by all calls of one event loop.

    Args:
        maximum: upper limit of calls under way.
        start: first limit; the maximum where ``None``.

    Raises:
        UserError: ``maximum`` is below 1.
    """

    def __init__(self, maximum: int, start: int | None = None) -> None:
        self._rule = Aimd(maximum, start)
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def limit(self) -> int:
        """Calls that may be under way now."""
        return self._rule.limit

    @property
    def under_way(self) -> int:
        """Calls that are under way now."""
        return self._under_way

    def pause(self, seconds: float) -> None:
        """Let no call of anybody start for ``seconds`` from now; calls under way are not touched."""
        self._rule.pause(asyncio.get_running_loop().time() + seconds)

    async def __aenter__(self) -> Slot:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        self._admit()
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():  # its turn came together with the cancellation
                self._under_way -= 1
                self._admit()
            raise
        return Slot(self._rule, loop.time())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._under_way -= 1
        self._admit()

    def _admit(self) -> None:
        """Let waiters through, and come back at the end of a pause."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiters and self._rule.may_start(self._under_way, now):
            waiter = self._waiters.popleft()
            if not waiter.done():  # else its task was cancelled
                self._under_way += 1
                waiter.set_result(None)
        if self._waiters and self._timer is None and now < self._rule.paused_until:
            self._timer = loop.call_at(self._rule.paused_until, self._end_pause)

    def _end_pause(self) -> None:
        self._timer = None
        self._admit()


def retry_after_seconds(value: str | None, now: datetime | None = None) -> float | None:
    """Read a ``Retry-After`` header (RFC 9110, 10.2.3): seconds or an HTTP date.

    Args:
        value: the header.
        now: the present; the clock's time where ``None``.

    Returns:
        Seconds to wait, not negative; ``None`` where there is no header or it cannot be read.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (TypeError, ValueError, OverflowError):
            return None
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
        seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return None if math.isnan(seconds) else max(seconds, 0.0)
