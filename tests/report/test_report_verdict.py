"""What won, by how much, and whether that is certain."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from isograd.report.certainty import paired_p, student_p
from isograd.report.runs import read_runs
from isograd.report.summary import Cell, average, group_runs
from isograd.report.verdict import verdict

SPLITS = ("ood_domain", "cue_random", "cue_reversed")


def said(runs, base: str = "ERM"):
    methods = group_runs(read_runs(runs))
    return verdict(methods, next((method for method in methods if method.label == base), None))


@pytest.mark.parametrize(
    ("t", "n", "p"),
    # Critical values of Student's t, two-sided, for 1, 2, 4, 5 and 9 degrees of freedom.
    [(12.706, 2, 0.05), (4.303, 3, 0.05), (2.776, 5, 0.05), (4.604, 5, 0.01), (2.571, 6, 0.05), (2.262, 10, 0.05)],
)
def test_the_p_value_is_students(t: float, n: int, p: float) -> None:
    assert student_p(Cell(t / n**0.5, n, 1.0)) == pytest.approx(p, rel=2e-3)
    assert student_p(Cell(-t / n**0.5, n, 1.0)) == pytest.approx(p, rel=2e-3)


def test_differences_that_say_nothing_have_a_p_of_one() -> None:
    assert paired_p(average([0.3])) == paired_p(average([0.0, 0.0])) == paired_p(average([0.1 - 0.1] * 5)) == 1
    assert paired_p(average([-0.25, 0.25])) == 1


def test_equal_differences_have_the_p_of_the_exact_sign_flip_test() -> None:
    # Of 2^n signings all plus and all minus are as extreme; rounding makes no spread.
    assert paired_p(average([0.75] * 5)) == 2 / 2**5
    assert paired_p(average([0.8 - 0.1] * 6)) == paired_p(average([0.1 - 0.8] * 6)) == 2 / 2**6
    assert paired_p(average([0.7, 0.71, 0.7, 0.7, 0.7])) < 1e-6


def test_a_clear_win_over_five_seeds_is_certain(make_run, set_accuracy) -> None:
    runs = []
    for seed in range(5):
        for label, score in (("ERM", 0.5 + seed / 100), ("IGA", 0.7 + 2 * seed / 100)):
            runs.append(make_run(label, seed))
            set_accuracy(runs[-1], score)
    found = said(runs)
    assert found is not None
    assert found.lead.startswith(
        "Out of distribution (mean of three splits): IGA won against ERM: 74.0% against 52.0%, +22.0 points [+2"
    )
    assert found.lead.endswith("on five common seeds; certain (paired t test, p < 0.001).")
    assert [title for title, _ in found.splits] == ["in distribution", "unseen domains", "cue random", "cue reversed"]


def test_the_same_win_over_three_seeds_or_among_many_is_not(make_run, set_accuracy) -> None:
    runs = []
    for seed in range(5):
        for label, score in (("ERM", 0.5), ("IGA", (0.51, 0.58, 0.52, 0.56, 0.53)[seed])):
            runs.append(make_run(label, seed))
            set_accuracy(runs[-1], score)
    few = said([run for run in runs if run.name[-1] in "012"])
    assert few is not None
    assert "IGA is ahead of ERM, 53.7% against 50.0%, +3.7 points" in few.lead
    assert "on three common seeds; not certain, three seeds are too few" in few.lead
    alone = said(runs)
    assert alone is not None
    assert "; certain (paired t test, p = 0.037)" in alone.lead
    # Against ten others the same difference may be luck.
    for number in range(9):
        for seed in range(5):
            runs.append(make_run(f"other {number}", seed))
            set_accuracy(runs[-1], 0.4)
    many = said(runs)
    assert many is not None
    assert "; not certain (paired t test, p = 0.37, allowing for 10 methods)." in many.lead
    assert "Interval wholly below ERM: other 0, other 1, other 2, other 3 and five more." in many.lead


def test_what_cannot_be_told_apart_is_said(make_run, set_accuracy) -> None:
    runs = []
    for seed, (one, two) in enumerate([(0.6, 0.4), (0.4, 0.65)]):
        runs += [make_run("ERM", seed), make_run("IGA", seed), make_run("V-REx", seed)]
        for run, score in zip(runs[-3:], (one, two, two - 0.01), strict=True):
            set_accuracy(run, score)
    found = said(runs)
    assert found is not None
    assert "nothing is told apart from ERM with certainty. IGA has the best mean: 52.5% against 50.0%," in found.lead
    # A winner may still have an equal.
    for run in runs:
        set_accuracy(run, {"e": 0.1, "i": 0.8, "v": 0.8}[run.name[0]])
    found = said(runs)
    assert found is not None
    assert found.lead.endswith("Not told apart from IGA: V-REx.")
    # And the baseline may be the best.
    for run in runs:
        set_accuracy(run, {"e": 0.9, "i": 0.8, "v": 0.7}[run.name[0]], *SPLITS)
    found = said(runs)
    assert found is not None
    assert "nothing beat ERM. The nearest is IGA: 80.0% against 90.0%, −10.0 points [−10.0, −10.0]" in found.lead
    assert found.lead.endswith("Interval wholly below ERM: IGA and V-REx.")


@pytest.fixture
def scored(make_run, set_accuracy):
    """``scored(IGA=[0.5, 0.6])``: runs of five seeds of ERM, and of each label one seed for each accuracy."""

    def make(**labels: list[float]) -> list[Path]:
        runs = []
        for label, scores in {"ERM": [0.50, 0.51, 0.49, 0.50, 0.50], **labels}.items():
            for seed, score in enumerate(scores):
                runs.append(make_run(label, seed, name=f"{next(number)}"))
                set_accuracy(runs[-1], score)
        return runs

    number = itertools.count()
    return make


STEADY = [0.53, 0.545, 0.525, 0.53, 0.54]


def test_a_noisy_rival_does_not_hide_a_steady_winner(scored) -> None:
    found = said(scored(noisy=[0.30, 0.80, 0.45, 0.75, 0.50], steady=STEADY))
    assert found is not None
    assert "steady won against ERM: 53.4% against 50.0%, +3.4 points" in found.lead
    assert "; certain (paired t test, p < 0.001, allowing for 2 methods)." in found.lead
    assert found.lead.endswith("Higher mean, but not certain: noisy (+6.0 points [−9.6, +21.6] on five common seeds).")


def test_one_lucky_seed_does_not_displace_a_winner(scored) -> None:
    found = said(scored(lucky=[0.7], steady=STEADY))
    assert found is not None
    assert "steady won against ERM" in found.lead
    assert found.lead.endswith(" Higher mean, but not certain: lucky (+20.0 points on one common seed).")
    # Nor does it become the best of many seeds where none wins.
    found = said(scored(lucky=[0.7], worse=[0.4, 0.41, 0.42, 0.43, 0.44]))
    assert found is not None
    assert "nothing beat ERM on five seeds or more. The nearest is worse: 42.0%" in found.lead
    assert "Higher mean, but not certain: lucky (" in found.lead
    found = said(scored(lucky=[0.7], few=[0.52, 0.53, 0.52]))
    assert found is not None
    assert "few is ahead of ERM" in found.lead
    assert "three seeds are too few" in found.lead


def test_every_certain_winner_is_told(scored) -> None:
    found = said(scored(steady=STEADY, better=[0.63, 0.645, 0.625, 0.63, 0.64], worse=[0.4, 0.41, 0.39, 0.42, 0.4]))
    assert found is not None
    assert "better won against ERM: 63.4%" in found.lead
    assert found.lead.endswith("Certain too: steady. Interval wholly below ERM: worse.")


def test_where_the_best_mean_may_be_luck_a_clearer_rival_is_told(scored) -> None:
    found = said(scored(noisy=[0.30, 0.80, 0.45, 0.75, 0.50], near=[0.5, 0.545, 0.525, 0.5, 0.54]))
    assert found is not None
    assert "nothing is told apart from ERM with certainty. noisy has the best mean: 56.0%" in found.lead
    assert found.lead.endswith("Interval wholly above ERM, but not certain: near.")


@pytest.mark.parametrize(("seeds", "words"), [(5, "not certain"), (6, "certain")])
def test_the_same_difference_on_every_seed(make_run, set_accuracy, seeds: int, words: str) -> None:
    runs = []
    for seed in range(seeds):
        for label, score in (("ERM", 0.1), ("IGA", 0.8)):
            runs.append(make_run(label, seed))
            set_accuracy(runs[-1], score)
    found = said(runs)
    assert found is not None
    p = "0.062" if seeds == 5 else "0.031"
    assert found.lead.endswith(f"; {words} (the same on every seed: exact sign-flip test, p = {p}).")


def test_one_seed_makes_nothing_certain(make_run, set_accuracy) -> None:
    runs = [make_run("ERM"), make_run("IGA")]
    for run, score in zip(runs, (0.5, 0.6), strict=True):
        set_accuracy(run, score)
    found = said(runs)
    assert found is not None
    assert "IGA is ahead of ERM, 60.0% against 50.0%, +10.0 points on one common seed. One seed" in found.lead


def test_only_common_seeds_count(make_run, set_accuracy) -> None:
    runs = [make_run("ERM", 0), make_run("IGA", 0), make_run("IGA", 1)]
    for run, score in zip(runs, (0.5, 0.6, 0.1), strict=True):
        set_accuracy(run, score)
    found = said(runs)
    assert found is not None
    assert "60.0% against 50.0%" in found.lead


def test_a_split_that_only_some_were_put_to_hides_nothing(make_run) -> None:
    runs = [make_run(label, seed) for label in ("ERM", "IGA", "V-REx") for seed in range(2)]
    for folder in runs:
        metrics = json.loads((folder / "metrics.json").read_text())
        if folder.name.startswith("v-rex"):
            metrics["splits"]["new"] = metrics["splits"]["id"]
        if folder.name.startswith("iga"):
            del metrics["splits"]["cue_random"]
        (folder / "metrics.json").write_text(json.dumps(metrics))
    found = said(runs)
    assert found is not None
    # Only V-REx was put to all three of the baseline's splits.
    assert found.lead.startswith("Out of distribution (mean of three splits): V-REx is ahead of ERM")
    assert [title for title, _ in found.splits] == ["in distribution", "unseen domains", "cue random", "cue reversed"]
    for folder in runs[4:]:
        (folder / "metrics.json").unlink()
    found = said(runs)
    assert found is not None
    assert found.lead == f"In distribution: {found.splits[0][1]}"


def test_no_verdict_where_there_is_nothing_to_compare(make_run) -> None:
    assert said([make_run("ERM"), make_run("untrained")]) is None
    assert said([make_run("V-REx"), make_run("IGA")]) is None
    assert said([make_run("ERM", 1), make_run("IGA", 2)]) is None
    assert said([make_run("ERM", 3, status="failed"), make_run("IGA", 3)]) is None
