"""Scores on public benchmarks beside those of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from isograd.cli.app import app
from isograd.common.errors import UserError
from isograd.evaluate.harness.results import Sample, differences, score
from isograd.report import build_report
from isograd.report.benchmarks import benchmark_tables, split_folders


def samples(*correct: float) -> list[Sample]:
    return [Sample("t", f"d{place}", f"d{place}", "A", "A", value) for place, value in enumerate(correct)]


def write(folder: Path, *, names: tuple[str, str] = ("ERM", "IGA"), **changes: Any) -> Path:
    """A folder as ``isograd evaluate --tasks`` writes it: two benchmarks, two models, one of them absent from one."""
    by_model = {names[0]: samples(1, 0, 0, 0), names[1]: samples(1, 1, 1, 0)}
    scores = [{"benchmark": "gsm8k", "model": name, **score(found), "chance": None} for name, found in by_model.items()]
    scores.append({"benchmark": "medqa", "model": names[0], **score(samples(1, 1)), "chance": 0.25})
    content = {
        "format": 1,
        "models": [],
        "settings": {"limit": 4, "instructions": False, "data": "/home/someone"},
        "scores": scores,
        "differences": [{"benchmark": "gsm8k", **gap} for gap in differences(by_model)],
        "left_out": ["math: no file", "reclor: no file"],
        "empty": [{"benchmark": "gsm8k", "model": names[0], "n": 2}],
        **changes,
    }
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def test_accuracies_and_paired_differences(tmp_path: Path) -> None:
    accuracy, gaps = benchmark_tables([write(tmp_path / "scores")])
    assert accuracy.head == ("benchmark", "documents", "chance", "ERM", "IGA")
    # Wilson's intervals of 1 and 3 of 4, and of 2 of 2.
    assert accuracy.rows == (
        ("gsm8k", "4", "-", "25.0 [4.6, 69.9]", "75.0 [30.1, 95.4]"),
        ("medqa", "2", "25.0", "100.0 [34.2, 100.0]", "-"),
    )
    assert gaps.head == ("benchmark", "IGA − ERM")
    assert gaps.rows == (("gsm8k", "+50.0 [+0.0, +100.0]"), ("medqa", "-"))
    for words in (
        "Only the first 4 documents of each task were asked. Prompts had no instructions.",
        "Left out: math: no file; reclor: no file. Answers without any text count as wrong: gsm8k, ERM (2).",
    ):
        assert words in accuracy.note
    alone = benchmark_tables([write(tmp_path / "alone", differences=[])])
    assert [table.title for table in alone] == ["Benchmarks"]


def test_the_command_takes_both_kinds_of_folders(make_run, hostile: str, tmp_path: Path) -> None:
    run, scores = make_run("ERM"), write(tmp_path / "scores", names=("ERM", hostile))
    output = tmp_path / "report.html"
    result = CliRunner().invoke(app, ["report", str(run), str(scores), "--output", str(output)])
    assert result.exit_code == 0, result.output
    text = output.read_text(encoding="utf-8")
    assert '<a href="#benchmarks">' in text
    assert '<div class="scroll" role="region" aria-label="Benchmarks: paired differences" tabindex="0">' in text
    assert "75.0 [30.1, 95.4]" in text
    assert "<script" not in text
    assert "&lt;script" in text
    assert "/home/someone" not in text
    assert "#benchmarks" not in build_report([run], output).read_text(encoding="utf-8")


def test_folders_are_told_apart_by_what_they_hold(make_run, tmp_path: Path) -> None:
    run, scores, other = make_run("ERM"), write(tmp_path / "scores"), tmp_path / "nothing"
    both = make_run("IGA")
    (both / "results.json").write_text((scores / "results.json").read_text())
    assert split_folders([run, scores, other, both]) == ([run, other, both], [scores, both])
    assert [table.title for table in benchmark_tables([scores, both])][::2] == [
        "Benchmarks: scores",
        "Benchmarks: iga-seed0",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"scale": {}, "records": [], "lines": []}', r"results\.json: format: Field required; name a folder that"),
        ('{"format": 1, "scores": [{"benchmark": "a", "model": "b", "n": 1, "accuracy": 7}]}', "scores.0.accuracy: "),
        ("[]", r"results\.json: holds list, need a JSON object"),
    ],
)
def test_other_results_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=words):
        benchmark_tables([tmp_path])
    with pytest.raises(UserError, match=r"results\.json: no such file; name folders that isograd evaluate"):
        benchmark_tables([tmp_path / "none"])
