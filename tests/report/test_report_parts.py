"""Further parts of the page: scatter, layers, logs of reinforcement learning, heat maps, slips, costs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from isograd.report import build_report
from isograd.report.comparison import read_comparison
from isograd.report.comparison_tables import group_tables
from isograd.report.cosines import cosine_panel, unread_cosines
from isograd.report.figures import curve_panel
from isograd.report.layers import collapsed_layers, consistency_panel, distances_by_layer, masks
from isograd.report.panels import REINFORCED, TRAINED, log_panels
from isograd.report.runs import Example, read_runs
from isograd.report.scatter import scatter_panel
from isograd.report.slips import first_slip, slip_counts
from isograd.report.summary import Method, group_runs
from isograd.report.words import notices


def methods_of(runs: list[Path]) -> list[Method]:
    return group_runs(read_runs(runs))


def label(drawing: str | None) -> str:
    assert drawing is not None
    found = re.search(r'aria-label="([^"]*)"', drawing)
    assert found is not None
    return found[1]


def test_the_scatter_has_a_numbered_point_a_method(make_run, set_accuracy) -> None:
    runs = [make_run("ERM"), make_run("IGA"), make_run("PCGrad", status="failed")]
    set_accuracy(runs[0], 0.9, "id")
    set_accuracy(runs[0], 0.3, "cue_reversed")
    drawing = scatter_panel(methods_of(runs), "cue_reversed", "scatter")
    said = label(drawing)
    assert said.startswith("In distribution against cue reversed, accuracy: 1 ERM 90% (95% interval ")
    assert "in distribution, 30% (" in said
    assert "; 2 IGA " in said
    assert "PCGrad" not in said
    assert drawing is not None
    assert re.findall(r"<text[^>]*>(\d)</text>", drawing) == ["1", "2"]
    assert scatter_panel(methods_of(runs), "not measured", "scatter") is None


def test_the_score_by_layer_is_a_ratio(make_run) -> None:
    folder = make_run("ERM")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert consistency_panel(methods_of([folder]), "mean", "lcs") is None
    metrics["lcs"]["by_layer"] = {
        "2": {"mean": {"within": 0.1, "between": 0.4}, "last": {"within": 0.1, "between": 0.0}},
        "10": {"mean": {"within": 0.3, "between": 0.4}, "last": {"within": 0.1, "between": None}},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    said = label(consistency_panel(methods_of([folder]), "mean", "lcs"))
    assert said.endswith("mean over tokens: ERM 2: 0.25, 10: 0.75.")
    # A distance of zero between sets has no ratio.
    assert consistency_panel(methods_of([folder]), "last", "lcs") is None


def test_a_collapsed_representation_is_told_and_has_no_ratio(make_run, tmp_path) -> None:
    runs = [make_run("ERM", 0), make_run("ERM", 1), make_run("IGA")]
    sound = {"within": 0.1, "between": 0.4, "collapsed": False}
    fallen = {"within": 0.0001, "between": 0.0002, "collapsed": True}
    for folder, last in zip(runs, (sound, fallen, sound), strict=True):
        metrics = json.loads((folder / "metrics.json").read_text())
        layers = {"1": {"mean": fallen, "last": last}, "3": {"mean": sound, "last": last}}
        metrics["lcs"] |= {"mean": sound, "last": last, "by_layer": layers}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    methods = methods_of(runs)
    # One seed of several is enough: a mean over the others would hide it.
    assert label(consistency_panel(methods, "last", "lcs")).endswith("last token: IGA 1: 0.25, 3: 0.25.")
    assert label(consistency_panel(methods, "mean", "lcs")).endswith("mean over tokens: ERM 3: 0.25; IGA 3: 0.25.")
    assert collapsed_layers(methods) == [
        "Collapsed (mean over tokens): ERM at layer 1; IGA at layer 1.",
        "Collapsed (last token): ERM at layers 1 and 3.",
    ]
    told = [line for line in notices(methods) if "collapsed" in line]
    assert told == [
        "The representation of ERM is collapsed (last token): different problems have nearly the same state, so a "
        "small LCS says nothing."
    ]
    (table,) = [t for t in group_tables(read_comparison({"x": runs}, "ERM").groups[0]) if t.key == "lcs"]
    assert table.note.endswith(told[0])
    text = build_report(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Collapsed (last token): ERM at layers 1 and 3. Different problems have nearly the same state" in text
    # What is collapsed everywhere has no drawing, but is told.
    alone = build_report(runs[1:2], tmp_path / "alone.html").read_text(encoding="utf-8")
    assert "Collapsed (mean over tokens): ERM at layer 1. Collapsed (last token): ERM at layers 1 and 3." in alone
    # ERM and IGA at layer 1, mean over tokens; ERM at both layers, last token.
    assert text.count('<span class="none">collapsed</span>') == 4
    (line,) = [line for line in text.splitlines() if 'class="first">' in line and "ERM</th><td>3</td>" in line]
    assert re.findall(r'<span class="mean">([^<]*)<', line) == ["0.100", "0.400", "0.050", "0.200"]


def test_masks_by_layer_are_means_over_training_and_seeds(make_run, log_more) -> None:
    runs = [make_run("AND-mask", 0), make_run("AND-mask", 1), make_run("ERM")]
    assert masks(methods_of(runs), "mask") is None
    log_more(runs[0], **{"mask/mean": 0.9, "mask/layers.2.q": 0.5, "mask/layers.10.q": lambda row: row["step"] / 400})
    log_more(runs[1], **{"mask/layers.2.q": 0.7})
    found = masks(methods_of(runs), "mask")
    assert found is not None
    # In the order of the log, which is that of the model; the mean over layers is not a layer.
    assert found.layers == ["layers.2.q", "layers.10.q"]
    ((method, cells),) = found.rows
    assert method.label == "AND-mask"
    assert [cell and round(cell.mean, 4) for cell in cells] == [0.6, 0.5125]
    assert label(found.drawing).endswith("AND-mask 1: 0.6, 2: 0.51.")


def test_conflicts_and_masks_are_drawn_over_training(make_run, log_more) -> None:
    runs = [make_run("ERM"), make_run("IGA")]
    for folder, more in zip(runs, ({}, {"mask/mean": 0.5}), strict=True):
        log_more(folder, conflict=lambda row: row["step"] / 400, **more)
    drawn = {title: label(drawing) for title, _, drawing in log_panels(methods_of(runs), TRAINED, "overall")}
    assert list(drawn) == ["loss, all domains", "gradient norm", "conflict rate", "share that the mask lets through"]
    assert drawn["conflict rate"].count("from 0.025 at step 10 to 1 at step 400") == 2
    assert "ERM" not in drawn["share that the mask lets through"]


def test_cosines_are_shown_for_three_thirds_of_training(make_run, log_more) -> None:
    runs = [make_run("IGA", 0), make_run("IGA", 1)]
    assert cosine_panel(methods_of(runs)[0], "cosines") is None
    rows = [{"step": step, "cosine/law/art": value} for step, value in enumerate((0.5, 0.3, -0.2, -0.4, -0.9, -0.7))]
    (runs[0] / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    log_more(runs[1], **{"cosine/art/law": 0.0})
    drawing = cosine_panel(methods_of(runs)[0], "cosines")
    assert label(drawing) == (
        "Cosines of domain gradients, IGA. first third: art and law 0.20; middle third: art and law -0.15; "
        "last third: art and law -0.40."
    )
    assert drawing is not None
    # Both halves of each map, and ones on the diagonals.
    assert re.findall(r">(−?\d\.\d\d)<", drawing) == [
        *("1.00", "0.20", "0.20", "1.00", "1.00", "−0.15", "−0.15", "1.00", "1.00", "−0.40", "−0.40", "1.00")
    ]


def test_names_with_a_slash_are_told_apart_by_the_losses_or_said_to_be_lost(make_run, log_more, tmp_path) -> None:
    folder = make_run("IGA")
    log_more(folder, **{"cosine/law/civil/medicine": 0.5, "loss/law/civil": 1.0})
    methods = methods_of([folder])
    assert unread_cosines(methods) == []
    assert "first third: law/civil and medicine 0.50;" in label(cosine_panel(methods[0], "cosines"))
    log_more(folder, **{"cosine/no/such/domain": 0.5, "cosine/<b>": 0.25})
    assert unread_cosines(methods_of([folder])) == ["cosine/<b>", "cosine/no/such/domain"]
    text = build_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "cannot be told from those in their names: cosine/&lt;b&gt;, cosine/no/such/domain." in text


def test_a_crash_neither_shortens_a_mean_nor_counts_in_it(make_run, log_more) -> None:
    runs = [make_run("IGA", 0), make_run("IGA", 1), make_run("IGA", 2, status="failed")]
    for folder, value in zip(runs, (0.25, 0.5, 100.0), strict=True):
        log_more(folder, conflict=value, **{"mask/q": value, "cosine/a/b": value / 1000})
    log = runs[2] / "training.jsonl"
    log.write_text(log.read_text(encoding="utf-8").splitlines()[0] + "\n")
    methods = methods_of(runs)
    drawing = curve_panel(methods, "conflict", "c", "Conflict")
    # Neither the end of the mean nor the axis is the crash's.
    assert label(drawing) == "Conflict by training step: IGA from 0.375 at step 10 to 0.375 at step 400."
    assert drawing is not None
    assert drawing.count("opacity: 0.35") == 3
    found = masks(methods, "mask")
    assert found is not None
    assert found.rows[0][1][0].mean == 0.375
    assert "first third: a and b 0.00;" in label(cosine_panel(methods[0], "cosines"))
    # Crashes alone are drawn, faintly, and said to be no result.
    alone = methods_of(runs[2:])
    assert label(curve_panel(alone, "conflict", "c", "Conflict")).endswith("step: IGA has no run with scores.")
    assert masks(alone, "mask") is cosine_panel(alone[0], "cosines") is None


def test_spans_and_cka_stand_beside_the_cosines_where_they_were_measured(make_run, tmp_path) -> None:
    plain, rich = make_run("ERM"), make_run("IGA")
    for folder in (plain, rich):
        metrics = json.loads((folder / "metrics.json").read_text())
        layer = {pooling: {"within": 0.1, "between": 0.4} for pooling in ("mean", "last")}
        if folder is rich:
            layer["spans"] = {"within": 0.3, "between": 0.5}
            for number, forms in enumerate(layer.values()):
                forms["cka"] = {"within": 0.7 + number / 100, "between": None if number else 1.011}
        metrics["lcs"]["by_layer"] = {"1": layer}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    methods = methods_of([plain, rich])
    assert label(consistency_panel(methods, "spans", "lcs")).endswith("aligned spans: IGA 1: 0.6.")
    assert consistency_panel(methods[:1], "spans", "lcs") is None
    table = distances_by_layer(methods)
    assert table is not None
    assert table.poolings == ["mean over tokens", "last token", "aligned spans"]
    assert table.sides == ["within", "between", "1 − CKA, within", "1 − CKA, between"]
    cells = [[cell and cell.mean for cell in cells] for cells, _ in table.rows[1].distances]
    assert cells == [[0.1, 0.4, 0.7, 1.011], [0.1, 0.4, 0.71, None], [0.3, 0.5, 0.72, None]]
    text = build_report([plain, rich], tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("1 − CKA, within") == 3
    # Who measured neither has no empty columns.
    table = distances_by_layer(methods[:1])
    assert table is not None
    assert (len(table.poolings), table.sides) == (2, ["within", "between"])
    assert "CKA" not in build_report([plain], tmp_path / "plain.html").read_text(encoding="utf-8")


def test_a_log_of_one_row_has_one_map(make_run) -> None:
    folder = make_run("IGA")
    (folder / "training.jsonl").write_text('{"step": 1, "cosine/a/b": 0.5, "cosine/b/c": NaN}\n')
    said = label(cosine_panel(methods_of([folder])[0], "cosines"))
    assert said.count("third: ") == 1
    assert said.endswith("a and b 0.50.")


def test_reinforcement_is_drawn_where_it_was_logged(make_run, log_more, tmp_path) -> None:
    runs = [make_run("GRPO", 0), make_run("DFPO", 0)]
    assert log_panels(methods_of(runs), REINFORCED, "rl") == []
    assert "cancellation" not in build_report(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    for folder, residual in zip(runs, (0.5, 0.0), strict=True):
        logged = {"reward": lambda row: row["step"] / 400, "cancellation/residual": residual, "outside/below": 0.125}
        log_more(folder, **logged, **{"learning_tax/norm": 0.25, "drift": 0.75, "clip_ratio/high_mean": 0.5})
    drawn = {title: label(drawing) for title, _, drawing in log_panels(methods_of(runs), REINFORCED, "rl")}
    assert list(drawn) == [
        *("reward", "cancellation residual", "learning tax: norm", "drift of equals"),
        *("ratios below the range", "clipped above"),
    ]
    assert "DFPO from 0.025 at step 10 to 1 at step 400." in drawn["reward"]
    assert "GRPO from 0.5 at step 10 to 0.5 at step 400; DFPO from 0 at" in drawn["cancellation residual"]
    text = build_report(runs, tmp_path / "report.html", baseline="GRPO", threshold=0.6).read_text(encoding="utf-8")
    assert "Reinforcement learning: reward and cancellation" in text
    assert "steps to threshold" in text


def example(completion: str, *, correct: bool = False, chain: bool | None = False, predicted: str | None = "x"):
    return Example(
        set_id="s",
        domain="law",
        split="id",
        cue="formally",
        problem="?",
        reference="1 + 2 = 3 formally\n3 + 4 = 7 formally\nAnswer: good",
        answer="good",
        completion=completion,
        predicted=predicted,
        correct=correct,
        chain_correct=chain,
    )


@pytest.mark.parametrize(
    ("completion", "step", "text"),
    [
        ("1 + 2 = 4 formally\n4 + 4 = 8 formally\nAnswer: fair", 1, "“1 + 2 = 4 formally” for “1 + 2 = 3 formally”."),
        ("1 + 2 = 3 online\n3 + 4 = 8 online\nAnswer: fair", 2, "step 2 of 2: “3 + 4 = 8 online”"),
        ("1 + 2 = 3 formally\nAnswer: fair", 2, "Stops before step 2 of 2: “3 + 4 = 7 formally”."),
        ("1 + 2 = 3\n3 + 4 = 7\n7 + 1 = 8\nAnswer: x", 3, "Goes on after the last of 2 steps: “7 + 1 = 8”."),
        ("", 1, "Stops before step 1 of 2"),
        ("1 + 2 = 3  FORMALLY\n\n3 + 4 = 7 formally\nAnswer: fair\nAnswer", None, "the answer alone is wrong"),
    ],
)
def test_the_first_wrong_step_is_found(completion: str, step: int | None, text: str) -> None:
    slip = first_slip(example(completion))
    assert slip is not None
    assert slip.step == step
    assert text in slip.text


def test_what_the_run_found_right_is_right() -> None:
    assert first_slip(example("in other words\nAnswer: good", correct=True, chain=True)) is None
    slip = first_slip(example("in other words\nAnswer: fair", chain=True))
    assert slip is not None
    assert slip.step is None


def test_slips_are_counted_over_all_kept_answers(make_run) -> None:
    runs = [make_run("ERM"), make_run("untrained"), make_run("IGA", status="failed")]
    found = [(method.label, total, counts) for method, total, counts in slip_counts(methods_of(runs))]
    # Of 16 answers each: ERM errs on the reversed cue, and there in the answer alone.
    assert found == [("ERM", 16, [8, 8, 0, 0, 0]), ("untrained", 16, [0, 0, 16, 0, 0])]


def test_costs_stand_beside_their_ratios(make_run, tmp_path) -> None:
    runs = [make_run("ERM", step_seconds=0.5, peak_memory_bytes=2**30)]
    runs.append(make_run("IGA", step_seconds=0.75, peak_memory_bytes=2**31))
    text = build_report(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    row = [
        re.findall(r"<td>([^<]*)</td>", line)
        for line in text.splitlines()
        if line.startswith('<tr><th scope="row" class="first">IGA</th>')
    ]
    assert row == [["0.75", "1.50", "2048", "2.00"]]
    # Three ratios, three names: all of training, one step, memory.
    heads = re.findall(r"<th [^>]*>([^<]*× ERM)</th>", text)
    assert heads == ["seconds, × ERM", "step, × ERM", "memory, × ERM"]
    plain = build_report([make_run("V-REx")], tmp_path / "plain.html").read_text(encoding="utf-8")
    assert "peak memory" not in plain


def test_seventeen_methods_of_five_seeds_fit(make_run, log_more, tmp_path) -> None:
    keys = [key for key, *_ in REINFORCED]
    runs = [make_run(f"method {number}", seed) for number in range(17) for seed in range(5)]
    for folder in runs:
        log_more(folder, **dict.fromkeys(keys, lambda row: row["loss"]))
    output = build_report(runs, tmp_path / "report.html", baseline="method 0")
    assert output.stat().st_size < 5e6
