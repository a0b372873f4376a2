"""Accuracies, their errors and intervals, differences and tables."""

from __future__ import annotations

import csv
import io
import math
import statistics

import pytest

from isograd.evaluate.harness.results import Sample, as_csv, as_markdown, differences, score
from isograd.evaluate.statistics import bootstrap_interval, wilson_interval


def samples(values: list[float], clusters: list[int] | None = None) -> list[Sample]:
    clusters = clusters or list(range(len(values)))
    return [Sample("t", str(i), str(c), "g", "r", v) for i, (v, c) in enumerate(zip(values, clusters, strict=True))]


def test_documents_of_their_own() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    found = score(samples(values))
    assert (found["n"], found["clusters"], found["accuracy"]) == (8, 8, 0.75)
    # The usual error of a mean, with n in place of n - 1.
    assert found["stderr"] == pytest.approx(statistics.pstdev(values) / math.sqrt(8), rel=1e-12)
    assert (found["low"], found["high"]) == wilson_interval(6, 8)


def test_documents_that_share_a_context() -> None:
    # Each context is answered four times alike: there are as many trials as contexts, not as documents.
    values = [float(v) for v in (1, 0, 1, 1, 0, 1) for _ in range(4)]
    clusters = [c for c in range(6) for _ in range(4)]
    found = score(samples(values, clusters))
    assert (found["n"], found["clusters"]) == (24, 6)
    assert found["stderr"] == pytest.approx(statistics.pstdev([1, 0, 1, 1, 0, 1]) / math.sqrt(6), rel=1e-12)
    assert found["stderr"] == pytest.approx(2 * score(samples(values))["stderr"], rel=1e-12)
    names = [f"t\x1f{c}" for c in clusters]
    assert (found["low"], found["high"]) == bootstrap_interval(values, clusters=names)
    right = score(samples([1.0] * 24, clusters))
    assert (right["low"], right["high"]) == wilson_interval(6, 6)
    wrong = score(samples([0.0] * 24, clusters))
    assert (wrong["low"], wrong["high"]) == wilson_interval(0, 6)
    alone = score(samples([1.0, 0.0], [0, 0]))
    assert (alone["low"], alone["high"]) == (None, None)


def test_differences_are_later_minus_earlier_on_the_same_documents() -> None:
    # The two are right on quite different numbers of documents, but always on the same ones more: no noise.
    a, b = samples([1.0, 0.0, 0.0, 0.0]), samples([1.0, 1.0, 1.0, 0.0])
    (gap,) = differences({"a": a, "b": b})
    assert (gap["model"], gap["minus"], gap["mean"]) == ("b", "a", 0.5)
    assert gap["low"] >= 0
    (none,) = differences({"a": a, "same": a})
    assert (none["mean"], none["low"], none["high"]) == (0.0, 0.0, 0.0)
    assert len(differences({"a": a, "b": b, "c": a})) == 3
    assert differences({"a": a}) == []


def test_tables() -> None:
    by_model = {"a|b": samples([1.0, 0.0]), "c": samples([0.0, 0.0])}
    scores = [{"benchmark": "x", "model": m, **score(s), "chance": None} for m, s in by_model.items()]
    gaps = [{"benchmark": "x", **gap} for gap in differences(by_model)]
    table = as_markdown({"scores": scores, "differences": gaps, "left_out": ["y: no | file"], "empty": []})
    assert "| x | a\\|b | 2 | 0.500 | [0.095, 0.905] | 0.354 | - |" in table
    assert "| x | c - a\\|b | -0.500 | [-1.000, +0.000] |" in table
    assert table.endswith("\n\nLeft out:\n\n- y: no | file\n")
    empty = [{"benchmark": "x", "model": "c", "n": 3}]
    assert "- x, c: 3 answers of the server held no text;" in as_markdown(
        {"scores": scores, "differences": gaps, "left_out": [], "empty": empty}
    )
    rows = list(csv.DictReader(io.StringIO(as_csv(scores))))
    assert [(row["model"], float(row["accuracy"]), row["chance"]) for row in rows] == [("a|b", 0.5, ""), ("c", 0.0, "")]
    assert as_csv([]) == "\n"
