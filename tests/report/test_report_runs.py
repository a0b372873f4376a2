"""Run folders: what is read, what is forgiven, and what is refused with the file's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isograd.common.errors import UserError
from isograd.report.runs import read_run, read_runs


def test_a_whole_folder_is_read(make_run) -> None:
    run = read_run(make_run("IGA", 3))
    assert (run.label, run.seed, run.trouble) == ("IGA", 3, None)
    assert run.splits["id"].n_sets == 64
    assert run.splits["id"].chance == 0.25
    assert run.lcs.mean.within == 0.225
    assert run.training[0]["loss/medicine"] > 0
    assert run.examples[0].cue == "upstairs"


def test_only_run_json_is_needed(make_run) -> None:
    folder = make_run()
    for name in ("metrics.json", "training.jsonl", "examples.jsonl"):
        (folder / name).unlink()
    run = read_run(folder)
    assert run.splits == {}
    assert run.trouble == "incomplete: training finished but there is no metrics.json"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "failed", "error": "boom"}, "failed: boom"),
        ({"status": "failed"}, "failed: no error was recorded"),
        ({"status": "running"}, "incomplete: still running"),
    ],
)
def test_trouble_is_said_and_stale_scores_are_not_used(make_run, changes, words) -> None:
    folder = make_run(**changes)
    (folder / "metrics.json").write_text(json.dumps({"format": 3, "splits": {"id": {"n": 1, "accuracy": 1.0}}}))
    run = read_run(folder)
    assert run.trouble is not None
    assert run.trouble.startswith(words)
    assert run.splits == {}
    assert run.lcs.mean.within is None


@pytest.mark.parametrize("tail", [b'{"step": 410, "lo', b'{"step": 410, "note": "caf\xc3', b"\x00\x00"])
def test_a_line_cut_short_at_the_end_is_ignored(make_run, tail) -> None:
    folder = make_run()
    log = folder / "training.jsonl"
    whole = read_run(folder).training
    log.write_bytes(log.read_bytes() + tail)
    assert read_run(folder).training == whole


def test_a_broken_line_in_the_middle_is_named(make_run) -> None:
    folder = make_run()
    log = folder / "training.jsonl"
    log.write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"training\.jsonl:2: not valid JSON"):
        read_run(folder)


def test_numbers_that_are_not_finite_count_as_unknown(make_run) -> None:
    folder = make_run()
    (folder / "training.jsonl").write_text('{"step": 1, "loss": NaN, "grad_norm": 2}\n{"step": 2, "loss": Infinity}\n')
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["splits"]["id"]["accuracy_ci"] = [float("nan"), float("nan")]
    metrics["splits"]["ood_domain"]["accuracy_ci"] = None
    metrics["splits"]["id"]["chance"] = float("nan")
    metrics["splits"]["ood_domain"]["chance"] = None
    metrics["lcs"]["last"]["within"] = float("nan")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    run = read_run(folder)
    assert run.training == ({"step": 1.0, "grad_norm": 2.0}, {"step": 2.0})
    assert run.splits["id"].accuracy_ci is None
    assert run.splits["ood_domain"].accuracy_ci is None
    assert run.splits["id"].chance is run.splits["ood_domain"].chance is None
    assert run.lcs.last.within is None


def test_text_that_no_page_can_hold_is_replaced(make_run) -> None:
    run = read_run(make_run(name="odd", label="a\x00b \n c", error="\ud800"))
    assert run.label == "a\ufffdb c"
    assert run.error == "\ufffd"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("run.json", "{", r"run\.json:1:2: not valid JSON"),
        ("run.json", "[]", r"run\.json: holds list, need a JSON object"),
        ("run.json", '{"format": 2}', r"run\.json: format: Input should be 1"),
        ("run.json", '{"format": 1, "name": "a", "label": " ", "seed": 0, "status": "finished"}', "label: String"),
        ("run.json", '{"format": 1, "name": "a", "label": "a", "seed": 0, "status": "done"}', "status: Input"),
        ("metrics.json", '{"format": 3}', r"metrics\.json: splits: Field required"),
        ("metrics.json", '{"format": 3, "splits": {"id": {"n": 1, "accuracy": 91}}}', r"splits\.id\.accuracy: .*less"),
        ("metrics.json", '{"format": 3, "splits": {"id": {"n": 1, "accuracy": 1, "chance": 2}}}', r"chance: .*less"),
        ("training.jsonl", '{"loss": 1}\n', r"training\.jsonl:1: no 'step' number"),
        ("examples.jsonl", '{"set_id": "a"}\n', r"examples\.jsonl:1: domain: Field required"),
        ("examples.jsonl", "3\n", r"examples\.jsonl:1: holds int"),
    ],
)
def test_what_is_corrupt_is_named_in_one_line(make_run, name, text, words) -> None:
    folder = make_run()
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_run(folder)
    assert str(folder / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.json: no such file"):
        read_run(tmp_path)
    with pytest.raises(UserError, match="no run folders"):
        read_runs([])


def test_one_seed_never_counts_twice(make_run) -> None:
    folder = make_run("ERM", 0)
    with pytest.raises(UserError, match="are both runs of 'ERM' with seed 0"):
        read_runs([folder, folder])
    # A run that failed and was started again is no second measurement.
    failed = make_run("ERM", 0, name="first-try", status="failed")
    assert len(read_runs([failed, folder])) == 2
