"""What was measured: accuracies with intervals, paired differences, tables."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isograd.common.markdown import markdown_table
from isograd.evaluate.statistics import bootstrap_interval, paired_difference, wilson_interval

__all__ = ["Sample", "as_csv", "as_markdown", "differences", "score", "told_empty"]


@dataclass(frozen=True)
class Sample:
    """One document as one model answered it; ``cluster`` is what shares a context with others."""

    task: str
    document: str
    cluster: str
    gold: str
    response: Any
    correct: float

    def record(self, model: str, benchmark: str) -> dict[str, Any]:
        """A line of ``samples.jsonl``."""
        return {"model": model, "benchmark": benchmark, **vars(self)}


def score(samples: Sequence[Sample]) -> dict[str, Any]:
    """``n``, ``clusters``, ``accuracy``, its ``stderr`` and 95% interval ``low``, ``high``; all as fractions.

    Documents that share a context are one cluster. Where every cluster is one document the interval is Wilson's, else
    the cluster bootstrap's; at an accuracy of 0 or 1 the latter collapses, and Wilson's for as many trials as there are
    clusters takes its place. The standard error is the cluster-robust one: with s_i the scores and m their mean,
    sqrt(sum over clusters of (sum of s_i - m)^2) / n.

    Source:
        Miller, Adding Error Bars to Evals (2024), section 2.2.
    """
    values = [sample.correct for sample in samples]
    clusters = [f"{sample.task}\x1f{sample.cluster}" for sample in samples]
    n, mean = len(values), math.fsum(values) / len(values)
    sums: dict[str, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value - mean
    if len(sums) == n:
        low, high = wilson_interval(round(math.fsum(values)), n)
    elif mean in (0.0, 1.0):
        low, high = wilson_interval(int(mean) * len(sums), len(sums))
    else:
        low, high = bootstrap_interval(values, clusters=clusters)
    return {
        "n": n,
        "clusters": len(sums),
        "accuracy": mean,
        "stderr": math.sqrt(math.fsum(total * total for total in sums.values())) / n,
        "low": _finite(low),
        "high": _finite(high),
    }


def differences(by_model: Mapping[str, Sequence[Sample]]) -> list[dict[str, Any]]:
    """Each later model minus each earlier one on the same documents: ``mean`` and its bootstrap interval."""
    found = []
    for (first, a), (second, b) in itertools.combinations(by_model.items(), 2):
        clusters = [f"{sample.task}\x1f{sample.cluster}" for sample in a]
        gap = paired_difference([sample.correct for sample in b], [sample.correct for sample in a], clusters=clusters)
        low, high = _finite(gap.low), _finite(gap.high)
        found.append({"model": second, "minus": first, "mean": gap.mean, "low": low, "high": high})
    return found


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value


def as_markdown(results: Mapping[str, Any]) -> str:
    """The tables of a results file, for a README."""
    lines = ["# Benchmarks", "", "Accuracy and its 95% interval.", ""]
    head = ["benchmark", "model", "n", "accuracy", "95% interval", "standard error", "chance"]
    scores = [
        [
            *(row["benchmark"], row["model"], str(row["n"]), _number(row["accuracy"]), _interval(row)),
            *(_number(row["stderr"]), _number(row["chance"])),
        ]
        for row in results["scores"]
    ]
    lines += markdown_table(head, scores)
    if results["differences"]:
        lines += ["", "Differences on the same documents, with paired bootstrap intervals (2000 resamples).", ""]
        lines += markdown_table(
            ["benchmark", "difference", "mean", "95% interval"],
            [
                [row["benchmark"], f"{row['model']} - {row['minus']}", f"{row['mean']:+.3f}", _interval(row, "+.3f")]
                for row in results["differences"]
            ],
        )
    if results["empty"]:
        lines += ["", *(f"- {line}" for line in told_empty(results))]
    if results["left_out"]:
        lines += ["", "Left out:", "", *(f"- {line}" for line in results["left_out"])]
    return "\n".join(lines) + "\n"


def told_empty(results: Mapping[str, Any]) -> list[str]:
    """A line for each model and benchmark for which a server sent answers without any text."""
    return [
        f"{row['benchmark']}, {row['model']}: {row['n']} answers of the server held no text; they count as wrong and "
        "are asked for again next time (is the model still thinking? give --max-new-tokens)"
        for row in results["empty"]
    ]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of results as CSV, with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _interval(row: Mapping[str, Any], form: str = ".3f") -> str:
    return f"[{_number(row['low'], form)}, {_number(row['high'], form)}]"


def _number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)
