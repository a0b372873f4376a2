"""All seeds of a journal: many under way at once, none twice, each to its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from isograd.common.errors import UserError
from isograd.isomers.teacher.calls import Calls, Failure
from isograd.isomers.teacher.client import TeacherClient
from isograd.isomers.teacher.journal import Journal, SeedRecord, SeedState, shard
from isograd.isomers.teacher.journal_queue import JournalQueue
from isograd.isomers.teacher.recipe import Recipe
from isograd.isomers.teacher.seed_work import Outcome, seed_from_json, seed_to_json, work_on
from isograd.isomers.teacher.seeds import Seed
from isograd.isomers.verify.leakage import LeakageIndex

__all__ = ["SEEDS_PER_CALL", "add_seeds", "run_seeds", "seed_leaks"]

SEEDS_PER_CALL: Final = 2
"""Seeds under way for each call that may be. A seed always has a call to make but while its replies are judged or
written down; one more is to keep the server busy meanwhile."""


def add_seeds(journal: Journal, seeds: Iterable[tuple[int, Seed]], part: tuple[int, int] = (1, 1)) -> int:
    """Put seeds in a journal; returns how many are new.

    Args:
        journal: open for writing.
        seeds: numbers in the order of the output, and seeds.
        part: (i, n): of n machines, the i-th one's seeds only.

    Raises:
        UserError: a seed of one of these ids is there with another text; none is added then.
    """
    return journal.seeds.add(
        SeedRecord(seed.id, number, seed_to_json(seed)) for number, seed in seeds if shard(seed.id, *part)
    )


def seed_leaks(seed: Seed, against: LeakageIndex | None) -> tuple[Failure, ...]:
    """The evaluation items that a seed repeats: its tellings would leak them in words that give nothing away."""
    leaks = against.find([seed.text]) if against is not None else []
    return tuple(Failure("seed", "", str(leak.reason), f"{leak.file}:{leak.line}: {leak.detail}") for leak in leaks)


async def run_seeds(
    journal: Journal,
    client: TeacherClient,
    recipe: Recipe,
    *,
    max_concurrency: int,
    part: tuple[int, int] = (1, 1),
    against: LeakageIndex | None = None,
    progress: Callable[[SeedState], None] | None = None,
) -> None:
    """Work on every unfinished seed of a journal until it is verified or quarantined.

    Several processes may do so at the same time. All domains of a seed are told at once, and no seed waits for another.

    Args:
        journal: open for writing, bound to the recipe; it holds the seeds.
        client: the teacher.
        recipe: what to make.
        max_concurrency: the client's: most calls under way.
        part: (i, n): of n machines, the i-th one's seeds only.
        against: evaluation items; a seed that repeats one is quarantined without a call.
        progress: called with the state of each seed that is finished.

    Raises:
        UserError: the journal cannot be written; or :class:`~isograd.isomers.teacher.messages.TeacherError` or
            :class:`~isograd.isomers.teacher.costs.BudgetSpent`. Calls under way are waited for and recorded; running
            again goes on.
    """
    queue = JournalQueue(journal)
    calls = Calls(queue, client)
    waiting = deque(name for name in journal.seeds.ids("waiting", "working") if shard(name, *part))
    begun: deque[str] = deque()

    async def take() -> str | None:
        while waiting:
            name = waiting.popleft()
            if await queue.do(partial(journal.seeds.start, name)):
                return name
            # Another process has begun it, or did before it died; by the time the others are done, so may it be.
            begun.append(name)
        return begun.popleft() if begun else None

    async def work() -> None:
        while (name := await take()) is not None:
            record = await queue.do(partial(journal.seeds.get, name))
            if record is None or record.state != "working":
                continue
            seed = seed_from_json(record.source)
            leaks = seed_leaks(seed, against)
            outcome = Outcome(None, leaks) if leaks else await work_on(seed, record.number, calls, recipe)
            finish = partial(journal.seeds.finish, name, outcome.state)
            await queue.do(partial(finish, result=outcome.to_json(), reasons=outcome.reasons))
            if progress is not None:
                progress(outcome.state)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(SEEDS_PER_CALL * max_concurrency, len(waiting))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        await calls.finish(wait=True)
        raise _first(errors) from None
    except asyncio.CancelledError:
        await calls.finish(wait=False)
        raise
    finally:
        await queue.finish()


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one to tell. A bug goes before a fault of the server's; of those that stop the run, one says it all."""
    leaves: list[BaseException] = []
    stack: list[BaseException] = [errors]
    while stack:
        error = stack.pop()
        if isinstance(error, BaseExceptionGroup):
            stack.extend(reversed(error.exceptions))
        else:
            leaves.append(error)
    return next((error for error in leaves if not isinstance(error, UserError)), leaves[0])
