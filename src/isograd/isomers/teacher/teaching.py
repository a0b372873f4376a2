"""A whole run: seeds into a journal, a teacher asked until they are finished, files written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from isograd.common.errors import UserError
from isograd.isomers.parsing import Fault
from isograd.isomers.teacher.client import TeacherClient
from isograd.isomers.teacher.costs import Prices, Spending
from isograd.isomers.teacher.harvest import Harvest, RunFolder, harvest
from isograd.isomers.teacher.journal import Journal, MergeReport, SeedState, shard
from isograd.isomers.teacher.pipeline import add_seeds, run_seeds
from isograd.isomers.teacher.recipe import Recipe
from isograd.isomers.teacher.seeds import Seed
from isograd.isomers.verify.leakage import LeakageIndex

__all__ = ["Progress", "Server", "journal_in", "merge", "numbered", "teach", "unfinished"]


@dataclass(frozen=True)
class Server:
    """Where the teacher answers, and how it is to be treated; see :class:`TeacherClient`.

    Attributes:
        base_url: such as ``http://localhost:8000/v1``.
        api_key: from the environment; kept in memory only.
        max_concurrency: most calls under way.
        timeout: seconds for one try.
        retries: tries after the first one.
    """

    base_url: str
    api_key: str | None = None
    max_concurrency: int = 8
    timeout: float = 300.0
    retries: int = 6

    def __repr__(self) -> str:
        return f"Server(base_url={self.base_url!r})"


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        seeds: unfinished ones when it began; of a shard, its own.
        verified: finished since, with a set.
        quarantined: finished since, without one.
        calls: that it has made.
        cost: of all runs of the folder so far, in the currency of the prices.
    """

    seeds: int
    verified: int
    quarantined: int
    calls: int
    cost: float


def numbered(
    items: Iterable[tuple[int, Seed | Fault]], limit: int | None = None
) -> tuple[list[tuple[int, Seed]], list[Fault]]:
    """Seeds with their places, and the faults of the rows that are none.

    Args:
        items: from :func:`~isograd.isomers.teacher.seeds.read_seeds`.
        limit: how many seeds to take; all if ``None``.
    """
    faults: list[Fault] = []

    def sound() -> Iterator[tuple[int, Seed]]:
        for line, item in items:
            if isinstance(item, Seed):
                yield line, item
            else:
                faults.append(item)

    return list(islice(sound(), limit)), faults


def teach(
    files: RunFolder,
    seeds: Sequence[tuple[int, Seed]],
    recipe: Recipe,
    server: Server,
    *,
    prices: Prices | None = None,
    max_cost: float | None = None,
    part: tuple[int, int] = (1, 1),
    against: LeakageIndex | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Harvest:
    """Make isomer sets of seeds with a teacher; resumes whatever an earlier run of the same folder left.

    The files are written also where the run is stopped on the way, with what is finished.

    Args:
        files: the run's folder.
        seeds: numbers in the order of the output, and seeds; those of earlier runs are worked on, too.
        recipe: what to make.
        server: the teacher.
        prices: what it costs.
        max_cost: the most to spend over all runs of the folder, ``None`` for no limit. Of several processes that share
            a folder, each counts what was spent before it began and what it spends itself.
        part: (i, n): of n machines, the i-th one's seeds only.
        against: evaluation items that neither seeds nor sets may repeat.
        progress: called as seeds are finished.

    Raises:
        UserError: something must be mended first, or the server is not there, or the money is spent (see
            :func:`~isograd.isomers.teacher.pipeline.run_seeds`). Nothing finished is lost.
        KeyboardInterrupt: it was interrupted; likewise.
    """
    with Journal(files.journal) as journal:
        journal.configure(recipe.configuration)
        add_seeds(journal, seeds, part)
        left = sum(shard(name, *part) for name in journal.seeds.ids("waiting", "working"))
        if not left:
            return harvest(journal, files, against)
        spending = Spending(prices, max_cost, journal.status().cost or 0.0)
        ended: Counter[SeedState] = Counter()

        def finished(state: SeedState) -> None:
            ended[state] += 1
            if progress is not None:
                progress(Progress(left, ended["verified"], ended["quarantined"], spending.calls, spending.cost))

        async def run() -> Harvest:
            client = TeacherClient(
                server.base_url,
                recipe.model,
                server.api_key,
                max_concurrency=server.max_concurrency,
                timeout=server.timeout,
                retries=server.retries,
                spending=spending,
            )
            async with client:
                await client.check()
                try:
                    await run_seeds(
                        journal,
                        client,
                        recipe,
                        max_concurrency=server.max_concurrency,
                        part=part,
                        against=against,
                        progress=finished,
                    )
                finally:
                    done = harvest(journal, files, against)
            return done

        return asyncio.run(run())


def unfinished(files: RunFolder, seeds: Sequence[Seed], part: tuple[int, int] = (1, 1)) -> list[Seed]:
    """The seeds of a shard that a run would work on; nothing is written.

    Args:
        files: the run's folder, which need not be there.
        seeds: all seeds.
        part: (i, n): of n machines, the i-th one's seeds only.

    Raises:
        UserError: its journal cannot be read.
    """
    done: set[str] = set()
    if files.journal.exists():
        with Journal(files.journal, read_only=True) as journal:
            done = set(journal.seeds.ids("verified", "quarantined"))
    return [seed for seed in seeds if seed.id not in done and shard(seed.id, *part)]


def merge(files: RunFolder, others: Sequence[Path], against: LeakageIndex | None = None) -> tuple[MergeReport, Harvest]:
    """Take other runs' journals over into a run's folder, and write its files anew.

    Args:
        files: the folder to merge into; made where it is missing.
        others: folders of runs with the same recipe, or their journals; nobody writes them now.
        against: evaluation items that neither seeds nor sets may repeat.

    Raises:
        UserError: a journal cannot be read, or is one of another recipe.
    """
    paths = [journal_in(other) for other in others]
    for path in paths:  # before anything is made
        Journal(path, read_only=True).close()
    with Journal(files.journal) as journal:
        report = journal.merge(paths)
        return report, harvest(journal, files, against)


def journal_in(place: Path) -> Path:
    """The journal that a path means: a run's folder, or the file itself.

    Raises:
        UserError: there is none.
    """
    path = RunFolder(place).journal if place.is_dir() else place
    if not path.is_file():
        raise UserError(f"{place}: no run of a teacher; name a folder that isograd isomers teach has written")
    return path
