"""Small tasks with words that earn nothing: template tokens around a solution that is the only thing rewarded.

An output of such a task reads: the opening, then letters, then the end; before every letter there may be a connector.

    opening 1, opening 2, [connector,] letter, [connector,] letter, ..., end

The reward looks at the letters alone. The choice of an opening or a connector changes neither the reward nor what comes
after it: in the exact expected gradient these rows are zero, and everything that moves them is tax. Connectors share
one row wherever they stand, so their tokens are shared beyond common prefixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isograd.common.seeding import derive_seed
from isograd.lab.drift.policies import Edge, Policy, build_policy

__all__ = ["TASKS", "Task", "make_task", "table_policy"]

_CONNECTOR: Final = "connector"
# What is read here (opening, connector or letter), how many before it, the last letter, the letters that still matter.
_State: TypeAlias = tuple[str, int, int, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Task:
    """A policy, what it starts from, and which of its rows earn nothing.

    Attributes:
        name: for records and seeds.
        about: one line for a page.
        policy: the automaton; its edges carry the reward.
        template: true for the rows that cannot matter.
        favored: by how much, in logits, the first phrase of a template row is ahead of the others at the start.
        spread: the standard deviation of the other rows' logits at the start.
        noise: the standard deviation of what a judge adds to each reward; the expected reward is without it.
    """

    name: str
    about: str
    policy: Policy
    template: Bool[Tensor, " C"]
    favored: float
    spread: float
    noise: float = 0.0

    def start(self, seed: int) -> Float[Tensor, "C V"]:
        """The logits that a seed starts from."""
        generator = torch.Generator().manual_seed(derive_seed("lab", self.name, "start", seed))
        noise = torch.randn(self.policy.allowed.shape, generator=generator, dtype=torch.float64) * self.spread
        template = torch.zeros_like(noise)
        template[:, 0] = self.favored
        return torch.where(self.template[:, None], template, noise)


def make_task(
    name: str,
    about: str,
    *,
    solutions: tuple[tuple[int, ...], ...],
    letters: int,
    longest: int,
    openings: int = 2,
    phrases: int = 3,
    connectors: bool = False,
    tree: bool = False,
    dense: bool = False,
    favored: float = 2.0,
    spread: float = 0.5,
    noise: float = 0.0,
) -> Task:
    """A task of the kind above.

    Args:
        name, about: see :class:`Task`.
        solutions: the outputs' letters that earn 1.
        letters: how many there are; the token after the last letter ends the output.
        longest: the most letters; then the output ends by itself.
        openings: template tokens at the start, each with a row of its own.
        phrases: tokens to choose from in a template row.
        connectors: a template token before each letter (and before the end), all from one row.
        tree: a row for each prefix of letters; else a row for each last letter (bigram).
        dense: each letter of a longest common prefix with a solution earns its share; else only a whole solution does.
        favored, spread, noise: see :class:`Task`.
    """
    paths = [(*solution, letters) if len(solution) < longest else solution for solution in solutions]

    def progress(written: tuple[int, ...]) -> float:
        """How far along the nearest solution the letters are, as a share of it."""
        return max((len(written) / len(path) for path in paths if path[: len(written)] == written), default=0.0)

    def row_of(state: _State) -> str:
        kind, position, last, written = state
        if kind == "opening":
            return f"opening {position}"
        if kind == "connector":
            return _CONNECTOR
        if not tree:
            return f"after {last}" if position else "first letter"
        return f"after {written}"

    def letter_state(position: int, last: int, written: tuple[int, ...]) -> _State:
        return ("connector" if connectors else "letter", position, last, written)

    def edges_of(state: _State) -> list[Edge]:
        kind, position, last, written = state
        if kind == "opening":
            more = position + 1 < openings
            return [Edge(("opening", position + 1, -1, ()) if more else letter_state(0, -1, ()))] * phrases
        if kind == "connector":
            return [Edge(("letter", position, last, written))] * phrases
        edges = []
        for letter in range(letters + 1):
            now = (*written, letter)
            done = letter == letters or len(now) == longest
            number = paths.index(now) if now in paths else None
            earned = max(progress(now) - progress(written), 0.0) if dense else float(number is not None)
            # What has left every solution cannot come back; a bigram policy forgets what was written.
            alive = tree or any(path[: len(now)] == now for path in paths)
            kept = now if alive else (-1,) * len(now)
            edges.append(Edge(None if done else letter_state(position + 1, letter, kept), earned, number))
        return edges

    start = ("opening", 0, -1, ()) if openings else letter_state(0, -1, ())
    policy = build_policy(start, row_of, edges_of)
    template = torch.tensor([row.startswith("opening") or row == _CONNECTOR for row in policy.rows])
    return Task(name, about, policy, template, favored, spread, noise)


def table_policy(rewards: tuple[float, ...]) -> Policy:
    """A table over complete outputs: one softmax, one token, each output with its reward; paid ones are solutions."""
    paid = [number for number, reward in enumerate(rewards) if reward > 0]
    edges = [Edge(None, reward, paid.index(i) if i in paid else None) for i, reward in enumerate(rewards)]
    return build_policy("start", str, lambda _: edges)


def _tasks() -> dict[str, Task]:
    short, long = (0, 1, 2), (3, 1, 0, 2)
    tasks = (
        make_task(
            "short",
            "bigram, 2 openings, 3 letters, solutions of 1 and 2 letters, sparse reward",
            solutions=((0,), (1, 2)),
            letters=3,
            longest=3,
        ),
        make_task(
            "sparse",
            "bigram, 2 openings and connectors, 4 letters, solutions of 3 and 4 of at most 6 letters, sparse reward",
            solutions=(short, long),
            letters=4,
            longest=6,
            connectors=True,
        ),
        make_task(
            "dense",
            "as sparse, but every right letter earns its share",
            solutions=(short, long),
            letters=4,
            longest=6,
            connectors=True,
            dense=True,
        ),
        make_task(
            "noisy",
            "as dense, with noise of standard deviation 0.3 on every reward",
            solutions=(short, long),
            letters=4,
            longest=6,
            connectors=True,
            dense=True,
            noise=0.3,
        ),
        make_task(
            "tree",
            "prefix tree, 2 openings and connectors, 3 letters, solutions of 2 and 4 letters, sparse reward",
            solutions=((0, 1), (2, 0, 2, 1)),
            letters=3,
            longest=4,
            connectors=True,
            tree=True,
        ),
    )
    return {task.name: task for task in tasks}


TASKS: Final = _tasks()
"""The tasks of the experiments. Their sizes were chosen on plain GRPO alone; no other method was looked at."""
