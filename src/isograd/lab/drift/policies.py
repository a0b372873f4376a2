"""Policies small enough to know everything about: every probability, entropy, divergence and Fisher matrix is exact.

A policy is an automaton of S states. In a state it draws one of V tokens from a softmax over one *row* of logits; the
token decides the next state, until the output is complete. States may share a row. That one shape holds a table over
complete outputs (one state), a prefix tree (a row for each prefix) and a bigram model (a row for each last token).
What earns a reward is written on the edges. Logits have shape [*R, C, V]: R runs of C rows.

All sums are over the automaton, not over samples. Two facts are used throughout, both from the chain rule: the entropy
of the output (and the divergence between two policies, and the Fisher information) is the sum over rows of that row's
entropy times how often the row is expected to be visited.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Edge", "Outputs", "Policy", "build_policy", "score_sum"]


class Edge(NamedTuple):
    """What a token does: the next state (None ends the output), its reward, the number of the solution it completes."""

    after: Hashable | None
    reward: float = 0.0
    solution: int | None = None


class Outputs(NamedTuple):
    """Sampled or enumerated outputs; padded with zeros where the mask is false."""

    tokens: Int[Tensor, "*N T"]
    rows: Int[Tensor, "*N T"]
    mask: Bool[Tensor, "*N T"]
    rewards: Float[Tensor, "*N"]


@dataclass(frozen=True, eq=False)
class Policy:
    """The automaton. Build it with :func:`build_policy`.

    Attributes:
        rows: names of the C rows of logits.
        row: the row that a state reads.
        after: the state after a token; S where the output is complete.
        reward: what a token earns in a state.
        solution: the number of the solution that a token completes, or -1.
        allowed: which tokens a row has.
        levels: the states by the number of tokens before them.
    """

    rows: tuple[str, ...]
    row: Int[Tensor, " S"]
    after: Int[Tensor, "S V"]
    reward: Float[Tensor, "S V"]
    solution: Int[Tensor, "S V"]
    allowed: Bool[Tensor, "C V"]
    levels: tuple[Int[Tensor, " L"], ...]

    @property
    def longest(self) -> int:
        """T, the length of the longest output."""
        return len(self.levels)

    def log_probs(self, logits: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R C V"]:
        """log pi by row; -inf for tokens that the row does not have."""
        return torch.log_softmax(logits.masked_fill(~self.allowed, -torch.inf), -1)

    def reach(self, probs: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R S"]:
        """How likely an output passes through each state."""
        states = len(self.row)
        mass = probs.new_zeros(*probs.shape[:-2], states + 1)
        mass[..., 0] = 1
        for level in self.levels:
            flow = mass[..., level, None] * probs[..., self.row[level], :]
            mass = mass.index_add(-1, self.after[level].flatten(), flow.flatten(-2))
        return mass[..., :states]

    def edges(self, probs: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R S V"]:
        """How likely an output passes through each edge."""
        return self.reach(probs)[..., None] * probs[..., self.row, :]

    def visits(self, probs: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R C"]:
        """How often an output is expected to read each row."""
        mass = self.reach(probs)
        return mass.new_zeros(*mass.shape[:-1], len(self.rows)).index_add(-1, self.row, mass)

    def expected_reward(self, probs: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R"]:
        """E[R], exact and differentiable."""
        return (self.edges(probs) * self.reward).sum((-1, -2))

    def solutions(self, probs: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R K"]:
        """The probability of each of the K solutions, whatever template tokens stand around it."""
        flow = self.edges(probs).flatten(-2)
        numbers = self.solution.flatten() + 1
        return flow.new_zeros(*flow.shape[:-1], int(numbers.max()) + 1).index_add(-1, numbers, flow)[..., 1:]

    def row_entropy(self, log_probs: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R C"]:
        """The entropy of each row's softmax, in nats."""
        return -(log_probs.exp() * log_probs.masked_fill(~self.allowed, 0)).sum(-1)

    def entropy(self, log_probs: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R"]:
        """The entropy of the whole output, in nats."""
        return (self.visits(log_probs.exp()) * self.row_entropy(log_probs)).sum(-1)

    def row_divergence(self, old: Float[Tensor, "*R C V"], new: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R C"]:
        """KL(old || new) of each row's softmax, from log-probabilities, in nats."""
        return (old.exp() * (old.masked_fill(~self.allowed, 0) - new.masked_fill(~self.allowed, 0))).sum(-1)

    def divergence(self, old: Float[Tensor, "*R C V"], new: Float[Tensor, "*R C V"]) -> Float[Tensor, "*R"]:
        """KL(old || new) of whole outputs, from log-probabilities, in nats."""
        return (self.visits(old.exp()) * self.row_divergence(old, new)).sum(-1)

    def fisher(self, probs: Float[Tensor, "C V"]) -> Float[Tensor, "CV CV"]:
        """The Fisher information of the output in the logits: visits times diag(p) - p p', one block a row."""
        blocks = torch.diag_embed(probs) - probs[..., :, None] * probs[..., None, :]
        whole: Tensor = torch.block_diag(*(self.visits(probs)[:, None, None] * blocks))
        return whole

    def sample(self, probs: Float[Tensor, "R C V"], uniforms: Float[Tensor, "R G T"]) -> Outputs:
        """Outputs by inversion, one uniform number a token: equal numbers give equal policies equal outputs."""
        runs = torch.arange(len(probs))[:, None]
        ladder = probs.cumsum(-1)
        # Rounding may leave the last step of the ladder below 1.
        last = self.allowed.shape[1] - 1 - self.allowed.flip(-1).to(torch.uint8).argmax(-1)
        state = torch.zeros(uniforms.shape[:2], dtype=torch.long)
        end = len(self.row)
        tokens, rows, masks = [], [], []
        rewards = torch.zeros(uniforms.shape[:2], dtype=probs.dtype)
        for position in range(self.longest):
            alive = state < end
            here = state.clamp(max=end - 1)
            row = self.row[here]
            drawn = (uniforms[..., position, None] >= ladder[runs, row]).sum(-1)
            drawn = torch.where(alive, torch.minimum(drawn, last[row]), 0)
            rewards = rewards + torch.where(alive, self.reward[here, drawn], 0)
            state = torch.where(alive, self.after[here, drawn], end)
            tokens.append(drawn)
            rows.append(torch.where(alive, row, 0))
            masks.append(alive)
        return Outputs(torch.stack(tokens, -1), torch.stack(rows, -1), torch.stack(masks, -1), rewards)

    def enumerate(self) -> Outputs:
        """All n complete outputs, in lexical order of their tokens."""
        found: list[tuple[list[int], list[int], float]] = []

        def walk(state: int, tokens: list[int], rows: list[int], reward: float) -> None:
            if state == len(self.row):
                found.append((tokens, rows, reward))
                return
            row = int(self.row[state])
            for token in torch.nonzero(self.allowed[row]).flatten().tolist():
                earned = reward + float(self.reward[state, token])
                walk(int(self.after[state, token]), [*tokens, token], [*rows, row], earned)

        walk(0, [], [], 0.0)
        shape = (len(found), self.longest)
        tokens, rows = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.bool)
        for number, (path, read, _) in enumerate(found):
            tokens[number, : len(path)] = torch.tensor(path)
            rows[number, : len(path)] = torch.tensor(read)
            mask[number, : len(path)] = True
        return Outputs(tokens, rows, mask, torch.tensor([reward for *_, reward in found], dtype=torch.float64))


def score_sum(
    probs: Float[Tensor, "R C V"], outputs: Outputs, coefficients: Float[Tensor, "R G T"]
) -> Float[Tensor, "R C V"]:
    """The sum over tokens of coefficient times grad log pi(token) in the logits: coefficient times (one-hot - pi)."""
    runs, rows, tokens = probs.shape
    known = torch.where(outputs.mask, coefficients, 0).flatten(1)
    place = (outputs.rows * tokens + outputs.tokens).flatten(1)
    push = probs.new_zeros(runs, rows * tokens).scatter_add(1, place, known).view_as(probs)
    return push - push.sum(-1, keepdim=True) * probs


def build_policy(start: Hashable, row_of: Callable[[Any], str], edges_of: Callable[[Any], Sequence[Edge]]) -> Policy:
    """The automaton of all states that can be reached.

    Args:
        start: the first state. Any hashable may be a state; it must know how many tokens came before it.
        row_of: the name of the row that a state reads; states with the same name share parameters.
        edges_of: for each token of the state, what it does. States with the same row have the same number of tokens.
    """
    numbers: dict[Hashable, int] = {start: 0}
    rows: dict[str, int] = {}
    levels: list[list[Hashable]] = [[start]]
    found: list[tuple[int, Sequence[Edge]]] = []
    while levels[-1]:
        following: list[Hashable] = []
        for state in levels[-1]:
            edges = edges_of(state)
            found.append((rows.setdefault(row_of(state), len(rows)), edges))
            for edge in edges:
                if edge.after is not None and edge.after not in numbers:
                    numbers[edge.after] = len(numbers)
                    following.append(edge.after)
        levels.append(following)
    states, width = len(found), max(len(edges) for _, edges in found)
    after = torch.full((states, width), states)
    reward = torch.zeros(states, width, dtype=torch.float64)
    solution = torch.full((states, width), -1)
    allowed = torch.zeros(len(rows), width, dtype=torch.bool)
    for number, (row, edges) in enumerate(found):
        allowed[row, : len(edges)] = True
        for token, edge in enumerate(edges):
            after[number, token] = states if edge.after is None else numbers[edge.after]
            reward[number, token] = edge.reward
            solution[number, token] = -1 if edge.solution is None else edge.solution
    levels_of = tuple(torch.tensor([numbers[state] for state in level]) for level in levels[:-1])
    return Policy(tuple(rows), torch.tensor([row for row, _ in found]), after, reward, solution, allowed, levels_of)
