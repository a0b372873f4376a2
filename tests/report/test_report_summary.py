"""Averages over seeds, differences on common seeds, and the words around them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from isograd.report.colors import SLOTS, dash, slot
from isograd.report.examples import mark_cue, sets_side_by_side
from isograd.report.runs import read_runs
from isograd.report.summary import average, chance_level, describe_split, group_runs, split_order
from isograd.report.table import results_table
from isograd.report.words import findings, headline, notices


def test_one_seed_keeps_the_interval_of_its_run(make_run) -> None:
    (method,) = group_runs(read_runs([make_run("ERM", 0)]))
    cell = method.accuracy("id")
    assert cell is not None
    assert (cell.n, cell.sd) == (1, None)
    assert cell.interval == method.runs[0].splits["id"].accuracy_ci
    seconds = method.seconds()
    assert seconds is not None
    assert seconds.interval is None


def test_several_seeds_are_averaged(make_run) -> None:
    (method,) = group_runs(read_runs([make_run("ERM", seed) for seed in range(5)]))
    values = [run.splits["id"].accuracy for run in method.runs]
    cell = method.accuracy("id")
    assert cell is not None
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.sd == pytest.approx(np.std(values, ddof=1))
    assert cell.interval is not None
    assert min(values) <= cell.interval[0] < cell.mean < cell.interval[1] <= max(values)


def test_the_bootstrap_over_two_seeds_spans_them() -> None:
    cell = average([0.25, 0.75])
    assert (cell.mean, cell.interval) == (0.5, (0.25, 0.75))
    assert cell.sd == pytest.approx(math.sqrt(0.125))


def test_differences_pair_common_seeds_only(make_run) -> None:
    runs = [make_run("ERM", seed) for seed in (0, 1, 2)] + [make_run("IGA", seed) for seed in (1, 2, 3)]
    erm, iga = group_runs(read_runs(runs))
    cell = iga.difference(erm, "cue_reversed")
    assert cell is not None
    assert cell.n == 2
    by_seed = {(m.label, run.seed): run.splits["cue_reversed"].accuracy for m in (erm, iga) for run in m.runs}
    expected = np.mean([by_seed["IGA", seed] - by_seed["ERM", seed] for seed in (1, 2)])
    assert cell.mean == pytest.approx(expected)
    (lonely,) = group_runs(read_runs([make_run("V-REx", 0)]))
    assert lonely.difference(erm, "id") is None


def test_time_is_compared_to_erm_and_the_untrained_student_has_none(make_run) -> None:
    base, erm, iga = group_runs(read_runs([make_run("untrained"), make_run("ERM"), make_run("IGA")]))
    assert base.seconds() is None
    assert base.time_ratio(erm) is None
    assert erm.time_ratio(erm) == 1
    assert iga.time_ratio(erm) == pytest.approx(1.46, abs=0.06)


def test_time_is_compared_on_common_seeds(make_run) -> None:
    times = {("ERM", 0): 10.0, ("ERM", 1): 20.0, ("IGA", 1): 30.0, ("IGA", 2): 1000.0}
    erm, iga = group_runs(read_runs([make_run(label, seed, seconds=time) for (label, seed), time in times.items()]))
    assert iga.time_ratio(erm) == 1.5


def test_splits_stand_in_their_order_and_unknown_ones_last(make_run) -> None:
    folder = make_run()
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["splits"]["aaa_new"] = metrics["splits"]["id"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    order = split_order(group_runs(read_runs([folder])))
    assert order == ["id", "ood_domain", "cue_random", "cue_reversed", "aaa_new"]
    assert describe_split("aaa_new").title == "aaa new"


def test_no_two_of_thirty_methods_look_alike() -> None:
    looks = [(slot(index, base=False), dash(index)) for index in range(30)]
    assert len(set(looks)) == 30
    assert slot(0, base=True) == len(SLOTS)


def test_headline_and_findings_are_plain(make_run) -> None:
    methods = group_runs(read_runs([make_run("untrained"), make_run("ERM"), make_run("IGA")]))
    assert headline(methods) == (
        "Two ways of distilling on isomer sets were compared: ERM and IGA. "
        "The untrained student stands beside them for reference."
    )
    assert findings(methods)[0].startswith("In distribution (training domains, cue as in training): ERM 9")
    assert findings(methods)[-1] == "Guessing gives 25%."
    assert headline(methods[:1]) == "The untrained student was evaluated; no training was compared."
    assert headline(methods[1:2]) == "One student was distilled on isomer sets with ERM."
    assert findings(group_runs(read_runs([make_run("PCGrad", status="failed")]))) == []


def test_the_chance_level_is_what_the_runs_say(make_run, set_chance) -> None:
    runs = [make_run("ERM"), make_run("IGA"), make_run("PCGrad", status="failed")]

    def level(*splits: str) -> float | None:
        return chance_level(group_runs(read_runs(runs)), splits)

    assert level("id") == level("id", "cue_random", "not measured") == 0.25
    assert level("not measured") is level() is None
    # Levels that whole percent do not tell apart are one; their mean stands for them.
    set_chance(runs[1], 0.254, "id")
    assert level("id") == pytest.approx(0.252)
    set_chance(runs[1], 0.2551, "id")
    assert level("id") is None
    # Splits that disagree have levels of their own.
    set_chance(runs[0], 1 / 3, "cue_random")
    set_chance(runs[1], 1 / 3, "cue_random")
    assert level("cue_random") == pytest.approx(1 / 3)
    assert level("ood_domain", "cue_random") is None
    # One run that does not say is enough for nobody to know.
    set_chance(runs[1], None, "ood_domain")
    assert level("ood_domain") is None


def test_words_and_title_name_the_chance_level_where_it_is_known(make_run, set_chance) -> None:
    folder = make_run("ERM")

    def said() -> tuple[str, str]:
        return findings(group_runs(read_runs([folder])))[-1], str(results_table([folder]).title)

    assert said() == ("Guessing gives 25%.", "Accuracy (chance 0.25), 1 seed")
    set_chance(folder, 1 / 3)
    assert said() == ("Guessing gives 33%.", "Accuracy (chance 0.33), 1 seed")
    # The sentence is about the two splits before it; the title is about all.
    set_chance(folder, 0.2, "cue_random")
    assert said() == ("Guessing gives 33%.", "Accuracy, 1 seed")
    set_chance(folder, 0.2, "cue_reversed")
    assert said()[0].startswith("Cue reversed (the cue points to a wrong answer): ERM ")
    set_chance(folder, None)
    assert said()[0].startswith("Cue reversed")
    assert said()[1] == "Accuracy, 1 seed"


def test_one_seed_is_called_an_illustration_and_five_are_not(make_run) -> None:
    one = notices(group_runs(read_runs([make_run("ERM", 0), make_run("IGA", 0)])))
    assert one[0].startswith("One seed is an illustration, not evidence.")
    three = notices(group_runs(read_runs([make_run("V-REx", seed) for seed in range(3)])))
    assert three[0].startswith("Some methods have only three seeds.")
    assert notices(group_runs(read_runs([make_run("PCGrad", seed) for seed in range(5)]))) == []


def test_unfair_comparisons_are_pointed_out(make_run) -> None:
    runs = [
        make_run("ERM", 0, config={"train": {"seed": 0, "learning_rate": 1e-3}}, config_hash="a"),
        make_run("ERM", 1, config={"train": {"seed": 1, "learning_rate": 2e-3}}, steps=800, machine={"gpu": "other"}),
        make_run("IGA", 0, status="failed"),
    ]
    said = " ".join(notices(group_runs(read_runs(runs))))
    assert "The runs of ERM differ in more than the seed: train.learning_rate." in said
    assert "different numbers of steps: 400 and 800" in said
    assert "different machines" in said
    assert "One run has no result" in said


def settings(data: str, **more: object) -> dict[str, object]:
    """A configuration like those that comparisons write."""
    return {"data": [{"path": data, "format": "isomers", "domain": None}], "adapter": None, **more}


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        # Drawn by the same generator with another seed, or read from one file.
        (settings("out/train-seed0.jsonl"), settings("out/train-seed1.jsonl"), None),
        (settings("train.jsonl"), settings("train.jsonl"), None),
        (settings("out/train-seed0.jsonl"), settings("out/train-seed0.jsonl"), None),
        (settings("d", adapter="ids/arithmetic-seed0"), settings("d", adapter="ids/arithmetic-seed1"), None),
        # Other data.
        (settings("out/train-seed0.jsonl"), settings("other/train-seed1.jsonl"), "data"),
        (settings("out/train-seed0.jsonl"), settings("out/train-seed10.jsonl"), "data"),
        (settings("a.jsonl"), settings("b.jsonl"), "data"),
        (settings("train-seed0.jsonl", lora={"r": 8}), settings("train-seed1.jsonl", lora={"r": 16}), "lora.r"),
    ],
)
def test_data_of_another_seed_are_the_seed(make_run, first, second, told) -> None:
    runs = [make_run("ERM", 0, config=first), make_run("ERM", 1, config=second)]
    said = [line for line in notices(group_runs(read_runs(runs))) if "differ" in line]
    assert said == ([] if told is None else [f"The runs of ERM differ in more than the seed: {told}."])


@pytest.mark.parametrize(
    ("text", "cue", "marked"),
    [
        ("Upstairs, he went upstairs.", "upstairs", ["Upstairs", "upstairs"]),
        ("go upstairsward", "upstairs", []),
        ("a (b) c", "(b)", ["(b)"]),
        ("nothing", None, []),
        ("", "x", []),
    ],
)
def test_the_cue_is_marked_as_a_whole_word(text, cue, marked) -> None:
    pieces = mark_cue(text, cue)
    assert [piece.text for piece in pieces if piece.is_cue] == marked
    assert "".join(piece.text for piece in pieces) == text


def test_endless_text_is_cut_and_says_so() -> None:
    (piece,) = mark_cue("x" * 5000, None)
    assert piece.text.endswith("… (3000 more characters)")


def test_the_example_is_chosen_by_rule(make_run) -> None:
    runs = [make_run("untrained"), make_run("ERM", 1), make_run("ERM", 0), make_run("IGA")]
    # IGA was asked only the second set, so that is the one most students answered.
    log = runs[-1] / "examples.jsonl"
    rows = [line for line in log.read_text().splitlines() if '"arithmetic-1"' in line]
    log.write_text("\n".join(rows) + "\n")
    shown = sets_side_by_side(group_runs(read_runs(runs)))[0]
    assert (shown.set_id, shown.split) == ("arithmetic-1", "cue_reversed")
    assert [(method.label, seed) for method, seed, _ in shown.students] == [("untrained", 0), ("ERM", 0), ("IGA", 0)]
    assert [member.domain for member in shown.members] == ["mathematics", "medicine", "law", "science"]
    others = sets_side_by_side(group_runs(read_runs(runs)))[1:]
    assert [(other.set_id, other.split) for other in others] == [("arithmetic-1", "id")]


def test_a_member_that_was_not_asked_leaves_a_gap(make_run) -> None:
    runs = [make_run("ERM"), make_run("IGA")]
    log = runs[1] / "examples.jsonl"
    log.write_text("".join(line + "\n" for line in log.read_text().splitlines() if '"law"' not in line))
    shown = sets_side_by_side(group_runs(read_runs(runs)))[0]
    assert [answer.example is None for answer in shown.students[1][2]] == [False, False, True, False]
