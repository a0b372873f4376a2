"""The adaptive limit: its rule with a fake clock, its waiting in a real event loop."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.common.errors import UserError
from isograd.isomers.teacher.concurrency import AdaptiveLimit, Aimd, retry_after_seconds


def test_one_more_after_each_window_of_successes() -> None:
    rule = Aimd(8, start=2)
    limits = []
    for _ in range(2 + 3 + 4):
        rule.succeeded()
        limits.append(rule.limit)
    assert limits == [2, 3, 3, 3, 4, 4, 4, 4, 5]
    for _ in range(100):
        rule.succeeded()
    assert rule.limit == 8


def test_half_once_per_round_trip() -> None:
    rule = Aimd(32)
    for _ in range(10):  # all of them sent before the first signal came
        rule.overloaded(started=0.0, now=1.0)
    assert rule.limit == 16
    rule.overloaded(started=1.5, now=2.0)
    rule.overloaded(started=1.9, now=2.1)  # sent before the decrease at 2.0
    assert rule.limit == 8


def test_never_below_one() -> None:
    rule = Aimd(5)
    limits = []
    for second in range(1, 6):
        rule.overloaded(started=second, now=second + 0.5)
        limits.append(rule.limit)
    assert limits == [2, 1, 1, 1, 1]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=200), st.integers(1, 64))
def test_limit_stays_in_its_bounds(events: list[tuple[bool, float]], maximum: int) -> None:
    rule, now = Aimd(maximum), 0.0
    for good, seconds in events:
        before, now = rule.limit, now + seconds
        rule.succeeded() if good else rule.overloaded(now - seconds, now)
        assert 1 <= rule.limit <= maximum
        assert before // 2 <= rule.limit <= before + 1


def test_pauses_hold_all_and_never_shorten() -> None:
    rule = Aimd(4)
    rule.pause(10.0)
    rule.pause(5.0)
    assert not rule.may_start(0, 9.9)
    assert rule.may_start(3, 10.0)
    assert not rule.may_start(4, 10.0)


def test_a_maximum_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="max_concurrency is 0"):
        AdaptiveLimit(0)


def test_never_more_than_the_limit_and_in_order() -> None:
    async def run() -> tuple[int, list[int]]:
        limit, under_way, most, order = AdaptiveLimit(3), 0, 0, []

        async def call(number: int) -> None:
            nonlocal under_way, most
            async with limit:
                order.append(number)
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0.001)
                under_way -= 1

        await asyncio.gather(*map(call, range(50)))
        assert limit.under_way == 0
        return most, order

    most, order = asyncio.run(run())
    assert most == 3
    assert order == list(range(50))


def test_a_pause_is_shared_by_all() -> None:
    async def run() -> list[float]:
        limit, loop = AdaptiveLimit(4), asyncio.get_running_loop()
        start, waits = loop.time(), []
        limit.pause(0.2)

        async def call() -> None:
            async with limit:
                waits.append(loop.time() - start)

        await asyncio.gather(*(call() for _ in range(6)))
        return waits

    waits = asyncio.run(run())
    assert len(waits) == 6
    assert min(waits) >= 0.2


def test_cancelled_waiters_lose_no_slot() -> None:
    async def run() -> None:
        limit = AdaptiveLimit(2)

        async def call(seconds: float) -> None:
            async with limit:
                await asyncio.sleep(seconds)

        holders = [asyncio.create_task(call(0.02)) for _ in range(2)]
        waiters = [asyncio.create_task(call(0.0)) for _ in range(10)]
        await asyncio.sleep(0.01)
        for task in waiters[::2]:
            task.cancel()
        holders[0].cancel()
        await asyncio.gather(*holders, *waiters, return_exceptions=True)
        assert limit.under_way == 0
        await asyncio.wait_for(asyncio.gather(call(0.0), call(0.0), call(0.0)), 5)

    asyncio.run(run())


def test_a_turn_that_comes_with_a_cancellation_is_given_on() -> None:
    async def run() -> None:
        limit = AdaptiveLimit(1)

        async def wait() -> None:
            async with limit:
                pass

        async with limit:
            first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
            await asyncio.sleep(0)
        first.cancel()  # before it runs on, but after it got its turn
        await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 5)
        assert first.cancelled()
        assert limit.under_way == 0

    asyncio.run(run())


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:59:00 GMT", 0.0),
        ("inf", math.inf),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@given(st.text())
def test_retry_after_reads_any_text(value: str) -> None:
    seconds = retry_after_seconds(value, NOW)
    assert seconds is None or seconds >= 0
