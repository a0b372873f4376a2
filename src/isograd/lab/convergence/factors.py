"""LoRA: the masked flow of the factors of ``W = B A``, and whether it stops where the loss does.

Gradient descent on the factors is stationary where ``B' g = 0`` and ``g A' = 0`` with the mean gradient g of W. With a
mask in weight space it is where ``B' (M g) = 0`` and ``(M g) A' = 0``. Both hold where g is 0; where rank r cannot
reach the minimum g never is, and the two differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.seeding import derive_seed
from isograd.gradients import chain_rule
from isograd.lab.convergence.descent import checkpoints, power_rate
from isograd.lab.convergence.problems import SHAPE, Problem
from isograd.lab.convergence.rules import Arm, Rules
from isograd.lab.records import Findings, Tick

__all__ = ["FACTOR_ARMS", "RANK", "FactorArm", "descend_factors", "factor_runs"]

RANK: Final = 2


@dataclass(frozen=True)
class FactorArm:
    """A mask on the gradients of W ("weight") or on those of each factor ("factor")."""

    space: Literal["weight", "factor"]
    arm: Arm


FACTOR_ARMS: Final = (
    FactorArm("weight", Arm("SGD")),
    FactorArm("weight", Arm("weight mask, tau 0.3", 0.3)),
    FactorArm("weight", Arm("weight mask, tau 1", 1.0)),
    FactorArm("weight", Arm("weight mask, tau 3", 3.0)),
    FactorArm("weight", Arm("SVD, no mask", 0.0, rank=RANK)),
    FactorArm("weight", Arm("weight mask and SVD, tau 1", 1.0, rank=RANK)),
    FactorArm("factor", Arm("factor mask, tau 1", 1.0)),
    FactorArm("factor", Arm("factor mask, tau 3", 3.0)),
)


def descend_factors(
    problem: Problem, arms: Sequence[FactorArm], seeds: Sequence[int], steps: int, tick: Tick | None = None
) -> tuple[tuple[int, ...], Float[Tensor, "S A P"], Float[Tensor, "S A P"], Float[Tensor, "S A"]]:
    """Deterministic descent on A and B from ``B = 0`` and normal A, as LoRA starts.

    The step is 1/8 of 1 / smoothness, the same for all.

    Returns:
        Steps; the squared norm of L's gradient in the factors; that of each arm's own direction; L at the end, [S A].
    """
    m, n = SHAPE
    draws = [np.random.default_rng(derive_seed("lab", "convergence", "factors", seed)) for seed in seeds]
    A = torch.from_numpy(np.stack([each.normal(size=(RANK, n)) for each in draws]))[:, None] / n**0.5
    A = A.repeat(1, len(arms), 1, 1)
    B = torch.zeros(len(seeds), len(arms), m, RANK, dtype=torch.float64)
    weight = [place for place, each in enumerate(arms) if each.space == "weight"]
    factor = [place for place, each in enumerate(arms) if each.space == "factor"]
    in_weight = Rules([arms[place].arm for place in weight])
    in_factor = Rules([arms[place].arm for place in factor])
    sizes = (0.125 / problem.smoothness)[:, None, None, None]
    measured = checkpoints(steps)
    exact: list[Tensor] = []
    own: list[Tensor] = []
    for step in range(steps + 1):
        grads = problem.gradients(B @ A)
        dA, dB = torch.empty_like(A), torch.empty_like(B)
        if weight:
            D, _ = in_weight(grads[:, :, weight])
            dA[:, weight], dB[:, weight] = chain_rule(D, A[:, weight], B[:, weight], 1.0)
        if factor:
            of_A, of_B = chain_rule(grads[:, :, factor], A[:, factor], B[:, factor], 1.0)
            dA[:, factor], dB[:, factor] = in_factor(of_A)[0], in_factor(of_B)[0]
        if step in measured:
            exact.append(_squared(*chain_rule(grads.mean(0), A, B, 1.0)))
            own.append(_squared(dA, dB))
        A, B = A - sizes * dA, B - sizes * dB
        if tick is not None:
            tick()
    return measured, torch.stack(exact, -1), torch.stack(own, -1), problem.losses(B @ A)


def _squared(dA: Tensor, dB: Tensor) -> Float[Tensor, "S A"]:
    return dA.square().sum((-1, -2)) + dB.square().sum((-1, -2))


def factor_runs(problems: Mapping[str, Problem], seeds: list[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Experiment ``factors``.

    Measures: ``power`` of the squared gradient of L in the factors; ``end`` and ``own``, at the end: that, and the
    squared norm of the arm's own direction, in decades; ``loss over SGD``, at the end. ``own`` far below ``end`` is a
    standstill where the loss could fall.
    """
    for task, problem in problems.items():
        measured, exact, own, losses = descend_factors(problem, FACTOR_ARMS, seeds, steps, tick)
        for place, each in enumerate(FACTOR_ARMS):
            values = [exact[seed, place].tolist() for seed in range(len(seeds))]
            label = each.arm.label
            findings.add("factors", task, label, "power", [power_rate(measured, v) for v in values])
            for measure, of in (("end", exact), ("own", own)):
                ends = of[:, place, -1].clamp(min=1e-30).log10()
                findings.add("factors", task, label, measure, ends.tolist())
            findings.add("factors", task, label, "loss over SGD", (losses[:, place] / losses[:, 0]).tolist())
            logs = exact[:, place].clamp(min=1e-30).log10()
            findings.line("factors", task, label, "gradient", measured, logs.tolist())
