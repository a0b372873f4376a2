"""The experiments that train: long runs, group sizes, restored cancellation alone, and the three predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from isograd.common.curves import jitter, steps_to_threshold
from isograd.lab.drift.rules import LADDER, REPAIRS
from isograd.lab.drift.tasks import Task
from isograd.lab.drift.training import Arm, Batch, Curves, Optimizer, Setup, simulate
from isograd.lab.records import Findings, Tick
from isograd.reinforce.diagnostics import cancellation, shared_nodes
from isograd.reinforce.weights import TokenWeights

__all__ = ["RATES", "THRESHOLD", "group_sizes", "long_runs", "predictions", "restored"]

THRESHOLD: Final = 0.9
RATES: Final[Mapping[Optimizer, float]] = {"adam": 0.03, "sgd": 2.0, "normalized": 0.1}
"""Where every rule gets the same rate. Chosen on GRPO alone: it learns the tasks with them."""

_BASE: Final = "GRPO"


def _arms(rules: Mapping[str, TokenWeights], rate: float) -> list[Arm]:
    return [Arm(label, rule, rate) for label, rule in rules.items()]


def _scores(curves: Curves) -> dict[str, Float[Tensor, "A S"]]:
    """What is read off each curve. ``mean`` is the expected reward averaged over training."""
    reward = curves["reward"]
    never = curves.steps[-1] + 1
    rows = reward.flatten(0, 1).tolist()
    found: list[int | None] = [steps_to_threshold(curves.steps, row, THRESHOLD) for row in rows]
    steps = [never if step is None else step for step in found]
    bends = [jitter(row) for row in rows]
    shape = reward.shape[:2]
    return {
        "final": reward[..., -1],
        "mean": reward.mean(-1),
        "steps": torch.tensor(steps, dtype=torch.float64).view(shape),
        "jitter": torch.tensor(bends, dtype=torch.float64).view(shape),
        "entropy": curves["entropy"][..., -1],
        "template_entropy": curves["template_entropy"][..., -1],
        "drift": curves["template_drift"][..., -1],
        "local": curves["template_local"][..., -1],
        "odds": curves["odds"][..., -1],
    }


def _add(
    findings: Findings,
    experiment: str,
    task: str,
    labels: Sequence[str],
    scores: Mapping[str, Tensor],
    bases: Mapping[str, str],
    at: float | None = None,
) -> None:
    """Each score by arm, and its paired difference to the arm that ``bases`` names, as ``<score> - <base>``."""
    for measure, values in scores.items():
        by_label = dict(zip(labels, values.tolist(), strict=True))
        for label, numbers in by_label.items():
            findings.add(experiment, task, label, measure, numbers, at=at)
            base = bases.get(label)
            if base is not None:
                paired = [mine - theirs for mine, theirs in zip(numbers, by_label[base], strict=True)]
                findings.add(experiment, task, label, f"{measure} - {base}", paired, at=at)


def _against(base: str, labels: Sequence[str]) -> dict[str, str]:
    return {label: base for label in labels if label != base}


def long_runs(task: Task, seeds: list[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Add experiment ``long <optimizer>`` with lines over training, for each optimizer, at one rate for all rules."""
    for optimizer, rate in RATES.items():
        name = f"long {optimizer}"
        curves = simulate(
            task,
            _arms(LADDER, rate),
            seeds,
            Setup(steps, optimizer=optimizer, every=max(steps // 40, 1)),
            progress=tick,
        )
        labels = list(LADDER)
        _add(findings, name, task.name, labels, _scores(curves), _against(_BASE, labels))
        for measure in ("reward", "entropy", "template_entropy", "template_drift"):
            for label, values in zip(labels, curves[measure].tolist(), strict=True):
                findings.line(name, task.name, label, measure, [float(step) for step in curves.steps], values)


def group_sizes(task: Task, seeds: list[int], sizes: Sequence[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Add experiment ``group``: ``at`` is G; one rate for all; differences to GSPO with bounds of 0.2.

    ``residual`` is that of the last minibatch of each rollout on the rule's own data.
    """
    labels = list(LADDER)
    for size in sizes:
        seen: list[tuple[Tensor, Tensor, Tensor]] = []
        setup = Setup(steps, group=size, every=max(steps // 50, 1))

        def watch(
            step: int, batch: Batch, setup: Setup = setup, seen: list[tuple[Tensor, Tensor, Tensor]] = seen
        ) -> None:
            if batch.index == setup.minibatches - 1 and step % setup.every == 0:
                tokens, mask = (value.flatten(0, 1) for value in (batch.outputs.tokens, batch.outputs.mask))
                nodes = shared_nodes(tokens, mask).view_as(batch.outputs.tokens)
                seen.append((batch.advantages, batch.weights, nodes))

        curves = simulate(task, _arms(LADDER, RATES["adam"]), seeds, setup, watch=watch, progress=tick)
        # [A, S, steps, ...]
        advantages, weights, nodes = (torch.stack(values, 2) for values in zip(*seen, strict=True))
        shape = advantages.shape[:2]
        residuals = torch.empty(shape, dtype=torch.float64)
        for arm in range(shape[0]):
            for seed in range(shape[1]):
                found = cancellation(advantages[arm, seed], weights[arm, seed], nodes[arm, seed])
                residuals[arm, seed] = found["residual"]
        scores = {"residual": residuals, **_scores(curves)}
        _add(findings, "group", task.name, labels, scores, _against("GSPO, bounds 0.2", labels), at=size)


def restored(tasks: Sequence[Task], seeds: list[int], steps: int, findings: Findings, tick: Tick) -> None:
    """Add experiment ``restored <optimizer>``: a rule and the same rule with its cancellation restored, nothing else.

    On a sparse and a dense reward, with each optimizer; with ``normalized`` steps all rules move equally far.
    """
    labels = list(REPAIRS)
    bases = {label: label.split(" + ")[0] for label in labels if " + " in label}
    for task in tasks:
        for optimizer, rate in RATES.items():
            setup = Setup(steps, optimizer=optimizer, every=max(steps // 50, 1))
            curves = simulate(task, _arms(REPAIRS, rate), seeds, setup, progress=tick)
            _add(findings, f"restored {optimizer}", task.name, labels, _scores(curves), bases)


def predictions(
    tasks: Sequence[Task],
    seeds: list[int],
    tuning_seeds: list[int],
    rates: Sequence[float],
    steps: int,
    findings: Findings,
    tick: Tick,
) -> None:
    """Add experiment ``predictions``: fewer steps to the threshold, less jitter, a higher final score than GRPO?

    Every rule's Adam rate is chosen among the same rates on the same tuning seeds (which the comparison does not use),
    by the expected reward averaged over training; the first of equals. A run that never reaches the threshold counts as
    one rollout more than there were.
    """
    setup = Setup(steps, every=max(steps // 50, 1))
    labels = list(LADDER)
    for task in tasks:
        tried = [Arm(label, rule, rate) for label, rule in LADDER.items() for rate in rates]
        tuned = simulate(task, tried, tuning_seeds, setup, progress=tick)["reward"].mean((-1, -2))
        best = tuned.view(len(labels), len(rates)).argmax(1).tolist()
        arms = [Arm(label, LADDER[label], rates[place]) for label, place in zip(labels, best, strict=True)]
        for arm in arms:
            findings.add("predictions", task.name, arm.label, "rate", [arm.rate])
        curves = simulate(task, arms, seeds, setup, progress=tick)
        _add(findings, "predictions", task.name, labels, _scores(curves), _against(_BASE, labels))
        for label, values in zip(labels, curves["reward"].tolist(), strict=True):
            findings.line("predictions", task.name, label, "reward", [float(step) for step in curves.steps], values)
