"""What the log of a reinforcement-learning run says."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from isograd.cli.app import app
from isograd.common.errors import UserError
from isograd.report import build_report
from isograd.report.comparison import Group, read_comparison
from isograd.report.comparison_files import save_comparison
from isograd.report.comparison_tables import group_tables
from isograd.report.learning import learning_values
from isograd.report.runs import Run, _Metrics

REWARDS = [0.1, 0.2, 0.6, 0.7, 0.8, 0.9, 0.9, 0.8, 1.0, 1.0]


def run(rows: list[dict[str, float]], **fields: Any) -> Run:
    base = {"format": 1, "name": "a", "label": "GRPO", "seed": 0, "status": "finished"}
    return Run.model_validate({**base, **fields}).model_copy(
        update={"training": tuple(rows), "metrics": _Metrics(format=3, splits={})}
    )


def logged() -> list[dict[str, float]]:
    """A generation every second step; rewards are logged there alone."""
    rows: list[dict[str, float]] = []
    for number, reward in enumerate(REWARDS):
        rows.append({"step": 2 * number + 1, "reward": reward, "entropy": 1 - number / 10, "outside/below": 0.25})
        rows.append({"step": 2 * number + 2, "entropy": 1 - number / 10, "outside/above": 0.5})
    return rows


def value(key: str, rows: list[dict[str, float]], threshold: float = 0.75, **fields: Any) -> float | None:
    return learning_values(threshold)[key][1](run(rows, **fields))


def test_the_end_is_the_last_fifth() -> None:
    assert value("reward_end", logged()) == 1.0
    assert value("entropy_end", logged()) == pytest.approx((0.2 + 0.2 + 0.1 + 0.1) / 4)
    assert value("reward_mean", logged()) == pytest.approx(sum(REWARDS) / 10)


def test_the_threshold_is_held_against_three_generations() -> None:
    # Means of three: .1 .15 .3 .5 .7 .8: the sixth generation, which began at step 11.
    assert value("steps_to_threshold", logged()) == 11
    assert value("steps_to_threshold", logged(), threshold=1.0) == 20


def test_ratios_out_of_range_are_added() -> None:
    assert value("outside", logged()) == 0.75


def test_what_was_not_logged_is_unknown() -> None:
    for key, (_, read) in learning_values(0.5).items():
        assert read(run([{"step": 1, "loss": 0.5}])) is None, key
    assert value("jitter", logged()[:3]) is None
    assert value("reward_end", logged(), status="failed") is None


def test_a_log_without_rewards_says_nothing() -> None:
    # A distillation logs both, of texts that it was given.
    rows = [{"step": 1, "entropy": 0.5, "num_tokens": 100.0}]
    assert {read(run(rows)) for _, read in learning_values(0.5).values()} == {None}
    assert value("entropy_end", [{"reward": 0.0, **rows[0]}]) == 0.5


def test_tokens_are_the_most_that_was_logged() -> None:
    rows = [
        {"step": 1, "reward": 0.5, "num_tokens": 900.0},
        {"step": 2, "reward": 0.5, "num_tokens": 1200.0},
        {"step": 2, "reward": 0.5, "num_tokens": 1100.0},
        {"step": 3},
    ]
    assert value("tokens", rows) == 1200
    assert value("tokens", logged()) is None


def test_without_a_threshold_no_steps_are_counted() -> None:
    without, with_it = learning_values(None), learning_values(0.5)
    assert with_it.keys() - without.keys() == {"steps_to_threshold"}
    assert without.keys() <= with_it.keys()


def reinforce(folder: Path, *, tokens: int, last: float = 1.0) -> Path:
    """Write the log of five generations, two steps each.

    Second differences -1, 1.5, -1; means of three generations 0, .25, 1/6, .5, 2/3.
    """
    rewards = (0.0, 0.5, 0.0, 1.0, last)
    rows = [
        row
        for number, reward in enumerate(rewards)
        for row in (
            {"step": 2 * number + 1, "reward": reward, "num_tokens": tokens * (number + 1) / 5},
            {"step": 2 * number + 2, "loss": 0.5},
        )
    ]
    (folder / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def table(group: Group, key: str) -> dict[str, dict[str, str]]:
    """The texts of one of a group's tables, by method and column."""
    (found,) = [table for table in group_tables(group) if table.key == key]
    return {row[0]: dict(zip(found.head, row, strict=True)) for row in found.rows}


def test_the_tables_of_a_comparison(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [
        make_run("distilled", 0),
        reinforce(make_run("GRPO", 0), tokens=10_000),
        reinforce(make_run("GRPO", 1), tokens=10_001),
        reinforce(make_run("DFPO", 0), tokens=12_345, last=0.0),
    ]
    comparison = read_comparison({"x": runs}, "GRPO", threshold=0.6)
    learning = table(comparison.groups[0], "learning")
    # Tokens have no decimals, not even where the mean over seeds has.
    assert learning["GRPO"]["tokens read and written"] == "10000 ± 1 [10000, 10001]"
    assert learning["GRPO"]["jitter of the reward"] == "1.417 ± .000 [1.417, 1.417]"
    assert learning["DFPO"]["tokens read and written"] == "12345"
    assert (learning["GRPO"]["steps to threshold"][:5], learning["DFPO"]["steps to threshold"]) == ("9.000", "10.000")
    assert set([*learning["distilled"].values()][1:]) == {"-"}
    gaps = table(comparison.groups[0], "learning_difference")
    assert gaps["DFPO"]["tokens read and written"] == "+2345; of 1"
    assert gaps["DFPO"]["steps to threshold"] == "+1.000; of 1"
    files = {file.name: file for file in save_comparison(comparison, tmp_path, title="x")}
    with files["runs.csv"].open(encoding="utf-8", newline="") as file:
        tokens = [row["learning/tokens"] for row in csv.DictReader(file)]
    assert tokens == ["", "10000.0", "10001.0", "12345.0"]


def test_only_runs_with_rewards_and_scores_bring_a_table(make_run: Callable[..., Path]) -> None:
    erm, failed = make_run("ERM"), reinforce(make_run("GRPO", status="failed"), tokens=10)
    for runs in ([erm], [erm, failed]):
        (group,) = read_comparison({"x": runs}, "ERM", threshold=0.5).groups
        assert group.learning() == []
        assert "learning" not in {table.key for table in group_tables(group)}
    (group,) = read_comparison({"x": [erm, reinforce(make_run("DFPO"), tokens=10)]}, "ERM").groups
    found = table(group, "learning")["DFPO"]
    assert (found["jitter of the reward"], "steps to threshold" in found) == ("1.417", False)


def test_the_report_shows_jitter_always_and_steps_when_asked(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run, output = reinforce(make_run("DFPO"), tokens=12_345), tmp_path / "report.html"

    def page(*arguments: str, folders: tuple[Path, ...] = (run,)) -> str:
        result = CliRunner().invoke(app, ["report", *map(str, folders), "--output", str(output), *arguments])
        assert result.exit_code == 0, result.output
        return output.read_text(encoding="utf-8")

    # One run alone: there is no baseline, and no table that needs one.
    text = page()
    for words in ("<h2>Reinforcement learning</h2>", "jitter of the reward", "<td>1.417</td>", "<td>12345</td>"):
        assert text.count(words) == 1, words
    assert "threshold" not in text
    assert "Paired difference" not in text
    text = page("--threshold", "0.5")
    assert "The threshold is a reward of .500, the mean of 3 generations" in text
    assert "<td>7.000</td>" in text
    assert "<td>9.000</td>" in page("--threshold", "0.6")
    both = (make_run("ERM"), run)
    assert "Paired difference to ERM: reinforcement" not in page(folders=both)
    text = page("--baseline", "ERM", folders=both)
    assert "Paired difference to ERM: reinforcement" in text
    assert text.count("<h2>Reinforcement learning</h2>") == 1
    assert "jitter of the reward" not in page(folders=(both[0],))


@pytest.mark.parametrize("threshold", [-0.1, 1.5, 80, float("nan")])
def test_a_threshold_is_a_mean_reward(make_run: Callable[..., Path], tmp_path: Path, threshold: float) -> None:
    with pytest.raises(UserError, match=r"^threshold is \S+; it must be a mean reward from 0 to 1$"):
        build_report([make_run("GRPO")], tmp_path / "report.html", threshold=threshold)
    assert not (tmp_path / "report.html").exists()
