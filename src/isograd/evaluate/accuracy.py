"""Accuracy of a student on isomer sets: answers, and the chain of thought apart from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isograd.evaluate.answers import chain_correct, extract_answer
from isograd.evaluate.statistics import bootstrap_interval
from isograd.isomers import Isomer, IsomerSet
from isograd.isomers.verify.leakage import graph_key

__all__ = ["Graded", "grade", "summarize"]


@dataclass(frozen=True)
class Graded:
    """One completion and what it is worth.

    ``graph`` is equal where reasoning graphs with their values are; ``labels`` are the possible answers, none where the
    set does not say.
    """

    set_id: str
    graph: str
    labels: tuple[str, ...]
    member: Isomer
    completion: str
    predicted: str | None
    correct: bool
    chain_correct: bool

    def record(self, split: str) -> dict[str, Any]:
        """A line of ``examples.jsonl``."""
        return {
            "set_id": self.set_id,
            "split": split,
            "domain": self.member.domain,
            "cue": self.member.cue,
            "problem": self.member.problem,
            "reference": self.member.completion,
            "answer": self.member.answer,
            "completion": self.completion,
            "predicted": self.predicted,
            "correct": self.correct,
            "chain_correct": self.chain_correct,
        }


def grade(sets: Sequence[IsomerSet], completions: Sequence[str]) -> list[Graded]:
    """Grade one completion for each member, in the order of the sets."""
    members = [(isomer_set, member) for isomer_set in sets for member in isomer_set.members]
    graded = []
    # A graph without values names a kind of problem, which many share.
    graphs = {isomer_set.id: graph_key(isomer_set.graph) or isomer_set.id for isomer_set in sets}
    for (isomer_set, member), completion in zip(members, completions, strict=True):
        predicted = extract_answer(completion)
        graded.append(
            Graded(
                set_id=isomer_set.id,
                graph=graphs[isomer_set.id],
                labels=isomer_set.labels,
                member=member,
                completion=completion,
                predicted=predicted,
                correct=predicted == member.answer,
                chain_correct=chain_correct(completion, member),
            )
        )
    return graded


def summarize(graded: Sequence[Graded]) -> dict[str, Any]:
    """Accuracies with 95% intervals; reasoning graphs are resampled.

    The members of a set share one, and small logics have so few that sets share them too: such sets are the same
    problem in other words.

    Returns:
        ``n``, ``n_sets``, ``n_graphs`` (different ones), ``chance``, ``accuracy``, ``accuracy_ci``, ``chain_accuracy``,
        ``chain_accuracy_ci`` and, by domain, ``n``, ``accuracy`` and ``chain_accuracy``; all accuracies as fractions.
        ``chance`` is the accuracy of guessing among a set's labels, averaged over members; ``None`` where a set has
        none. The bounds of an interval are ``None`` where there is only one graph: nothing was repeated, and JSON has
        no NaN.
    """
    clusters = [item.graph for item in graded]
    result: dict[str, Any] = {
        "n": len(graded),
        "n_sets": len({item.set_id for item in graded}),
        "n_graphs": len(set(clusters)),
        "chance": _chance(graded),
    }
    for name, values in (
        ("accuracy", [float(item.correct) for item in graded]),
        ("chain_accuracy", [float(item.chain_correct) for item in graded]),
    ):
        result[name] = sum(values) / len(values)
        result[f"{name}_ci"] = [
            None if math.isnan(bound) else bound for bound in bootstrap_interval(values, clusters=clusters)
        ]
    result["by_domain"] = {}
    for domain in sorted({item.member.domain for item in graded}):
        rows = [item for item in graded if item.member.domain == domain]
        result["by_domain"][domain] = {
            "n": len(rows),
            "accuracy": sum(item.correct for item in rows) / len(rows),
            "chain_accuracy": sum(item.chain_correct for item in rows) / len(rows),
        }
    return result


def _chance(graded: Sequence[Graded]) -> float | None:
    if not all(item.labels for item in graded):
        return None
    return math.fsum(1 / len(item.labels) for item in graded) / len(graded)
