"""Tuning: its configuration, its draws, its choice, and that it cannot read a test split."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from rich.console import Console

from isograd.common.errors import UserError
from isograd.common.files import write_json
from isograd.evaluate import METRICS_FORMAT
from isograd.experiment import data, running
from isograd.experiment.compare_config import load_compare
from isograd.experiment.data import TrainingOptions
from isograd.experiment.measure import resolve_model
from isograd.experiment.pool import Outcome
from isograd.experiment.tune import planned_runs, run_tune
from isograd.experiment.tune_config import TuneConfig, load_tune
from isograd.experiment.tune_results import Place, Result, Tuned
from isograd.experiment.tune_space import Trial, draw_trials, free_values
from isograd.experiment.worker import STOPPED, Job
from isograd.gradients import METHODS
from isograd.isomers import create_isomers, load_isomers, save_isomers

TINY: dict[str, Any] = {
    "families": ["arithmetic"],
    "generator": {"sets": 8, "evaluation_sets": 2, "splits": ["id", "cue_reversed"]},
    "seeds": 1,
    "training": {"max_steps": 3, "per_device_train_batch_size": 8, "save_steps": 1},
    "methods": {"ERM": None, "IGA": {"method": "iga"}},
    "tuning": {"budget": 2, "sets": 2},
}


def write(folder: Path, **fields: Any) -> Path:
    path = folder / "tiny.yaml"
    content = {name: value for name, value in {**TINY, **fields}.items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def load(folder: Path, **fields: Any) -> TuneConfig:
    return load_tune(write(folder, **fields))


def tune(config: TuneConfig, output: Path, **options: Any) -> tuple[int, str]:
    told = io.StringIO()
    status = run_tune(config, output, console=Console(file=told, width=200), **options)
    return status, told.getvalue()


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text())))


def pretend(monkeypatch: pytest.MonkeyPatch, scores: dict[str, float | None], *, stop: bool = False) -> list[Job]:
    """Workers that only write down a score, by run label (0.5 for others; None fails); returns the jobs they get."""
    given: list[Job] = []

    def run(jobs: Sequence[Job], console: Console, *, workers: int) -> list[Outcome]:
        given.extend(jobs)
        return [Outcome(job, STOPPED) for job in jobs] if stop else [end(job) for job in jobs]

    def end(job: Job) -> Outcome:
        from isograd.experiment.measure import _digests

        score = scores.get(job.config.label, 0.5)
        if score is None:
            return Outcome(job, 1, "out of luck")
        known = {"format": 1, "name": job.output.name, "label": job.config.label, "seed": job.config.seed}
        digest = job.config.digest(resolve_model("builtin"))
        write_json(job.output / "run.json", {**known, "status": "finished", "error": None, "config_hash": digest})
        splits = {split: {"n": 8, "accuracy": score} for split in job.splits}
        measured = _digests(job.output, job.splits)
        write_json(job.output / "metrics.json", {"format": METRICS_FORMAT, "splits": splits, "measured": measured})
        return Outcome(job, 0)

    monkeypatch.setattr(running, "run_jobs", run)
    return given


def test_one_file_serves_both(tmp_path: Path) -> None:
    path = write(tmp_path, tuned="not/yet.yaml", baseline="IGA")
    config = load_tune(path)
    assert (config.name, config.groups, config.folds) == ("tiny", ["arithmetic"], [None])
    assert config.tuning.output == tmp_path / "tiny" / "tuning"
    assert (config.tuning.budget, config.tuning.seeds, config.tuning.seed) == (2, [1000], 0)
    assert config.generator.sets == 8
    assert config.domains == ("law", "mathematics", "medicine", "science")
    assert load(tmp_path, tuning={"seeds": 3}).tuning.seeds == [1000, 1001, 1002]
    assert load_compare(write(tmp_path)).tuning.budget == 2


def test_no_field_for_a_test_split() -> None:
    assert not {"splits", "tuned", "baseline"} & TuneConfig.model_fields.keys()
    assert type(TuneConfig.model_fields["generator"].default) is TrainingOptions
    assert not {"splits", "evaluation_sets", "unseen_domains"} & TrainingOptions.model_fields.keys()
    assert not hasattr(TrainingOptions(), "evaluation")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tuning": {"splits": {"id": "x"}}}, "tiny.yaml: tuning.splits: no such field; tuning reads no test split"),
        ({"tuning": {"evaluation_sets": 3}}, "tuning.evaluation_sets: no such field; tuning reads no test split"),
        ({"tuning": {"budgt": 3}}, "tuning.budgt: no such field; did you mean 'budget'?"),
        ({"tuning": {"budget": 0}}, "tuning.budget: "),
        ({"tuning": {"selection": "test"}}, "tuning.selection: Input should be 'validation' or 'leave_one_domain_out'"),
        ({"tuning": {"seeds": [0]}}, "tuning.seeds: 0 is a seed of the comparison"),
        ({"tuning": {"seeds": [7, 7]}}, "tuning.seeds: every entry may be named once only"),
        ({"tuning": {"validation": "x.jsonl"}}, "tuning.validation: isomer sets are either made"),
        ({"famlies": 1}, "tiny.yaml: famlies: no such field; did you mean 'families'?"),
        ({"generator": {"nois": 1}}, "tiny.yaml: generator.nois: no such field; did you mean 'noise'?"),
        ({"generator": {"depth": 99}}, "families and generator: depth is 99"),
        ({"families": None}, "name families to make isomer sets of, or give train and tuning.validation"),
        ({"methods": {"IGA": {"method": "iag"}}}, "methods.IGA: unknown method 'iag'"),
        (
            {"generator": {"domains": ["law", "science"]}, "tuning": {"selection": "leave_one_domain_out"}},
            "tuning.selection: to leave one domain out takes at least 3 training domains; there are: law, science",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as told:
        load(tmp_path, **fields)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def own_files(folder: Path) -> dict[str, Any]:
    save_isomers(create_isomers(size=3), folder / "train.jsonl")
    save_isomers(create_isomers(size=2, split="validation"), folder / "held.jsonl")
    # The test split does not even exist.
    own = {"families": None, "generator": None, "train": "train.jsonl", "splits": {"id": "id.jsonl"}}
    return {**own, "tuning": {"validation": "held.jsonl", "budget": 1}}


def test_files_of_test_splits_are_refused(tmp_path: Path) -> None:
    own = own_files(tmp_path)
    assert load(tmp_path, **own).tuning.validation == tmp_path / "held.jsonl"
    with pytest.raises(UserError, match=r"tuning.validation: held.jsonl is a test split"):
        load(tmp_path, **{**own, "splits": {"mine": "../" + tmp_path.name + "/held.jsonl"}})
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "held.jsonl").read_bytes())
    with pytest.raises(UserError, match=r"tuning.validation: copy.jsonl is a test split"):
        load(tmp_path, **{**own, "splits": {"mine": "held.jsonl"}, "tuning": {"validation": "copy.jsonl"}})
    with pytest.raises(UserError, match=r"tuning.validation: is the training file"):
        load(tmp_path, **{**own, "tuning": {"validation": "train.jsonl"}})
    save_isomers(create_isomers(size=1, split="cue_reversed"), tmp_path / "held.jsonl")
    with pytest.raises(UserError, match=r"held.jsonl holds sets of the test split 'cue_reversed'"):
        load(tmp_path, **own)


def test_draws(tmp_path: Path) -> None:
    methods = {name: {"method": name} for name in METHODS if METHODS[name].search or name == "erm"}
    config = load(tmp_path, methods=methods, tuning={"budget": 6}, training={"learning_rate": "5e-3"})
    trials = draw_trials(config)
    assert {label: len(drawn) for label, drawn in trials.items()} == dict.fromkeys(methods, 6)
    assert trials == draw_trials(config)
    assert trials["erm"][0].values == {"learning_rate": 0.005}
    assert trials["iga"][0].values == {"learning_rate": 0.005, "method_params": {"tau": 1.0}}
    for drawn in trials.values():
        assert all(0.005 / 3 <= trial.values["learning_rate"] <= 0.015 for trial in drawn)
        assert len({trial.told for trial in drawn}) == 6
        assert all(len(str(trial.values["learning_rate"]).lstrip("0.")) <= 4 for trial in drawn)
    # Neither the other methods in the file nor the budget change a draw.
    alone = load(tmp_path, methods={"iga": {"method": "iga"}}, tuning={"budget": 3}, training={"learning_rate": 5e-3})
    assert draw_trials(alone)["iga"] == trials["iga"][:3]
    other = load(tmp_path, methods=methods, tuning={"budget": 6, "seed": 1}, training={"learning_rate": 5e-3})
    assert draw_trials(other)["iga"][1:] != trials["iga"][1:]


def test_what_is_given_under_a_method_is_kept(tmp_path: Path) -> None:
    methods: dict[str, Any] = {
        "fixed": {"method": "sand_mask", "method_params": {"tau": 0.1}, "learning_rate": 0.5},
        "term": {"consistency": "js"},
        "weighted": {"consistency": "js", "consistency_weight": 7.0},
        "nothing": {"learning_rate": 0.5},
    }
    config = load(tmp_path, methods=methods)
    assert free_values(config, "fixed").keys() == {"method_params.k"}
    assert free_values(config, "term").keys() == {"learning_rate", "consistency_weight"}
    assert free_values(config, "term")["consistency_weight"].default == 10.0
    assert free_values(config, "weighted").keys() == {"learning_rate"}
    trials = draw_trials(config)
    assert trials["nothing"] == [Trial("nothing", 0, {})]
    assert all(trial.values.keys() == {"method_params"} for trial in trials["fixed"])
    run = config.run_config("fixed", tmp_path, 0, values=trials["fixed"][1].values)
    assert (run.training["method_params"]["tau"], run.training["learning_rate"]) == (0.1, 0.5)
    # A value for all methods is a default, not fixed.
    config = load(tmp_path, methods={"term": {"consistency": "js"}}, training={"consistency_weight": 3.0})
    assert draw_trials(config)["term"][0].values["consistency_weight"] == 3.0
    with pytest.raises(UserError, match=r"training.learning_rate: 'fast' is not a number"):
        draw_trials(load(tmp_path, training={"learning_rate": "fast"}))


def result(number: int, *scores: float | None) -> Result:
    known: dict[Place, float] = {}
    troubles: dict[Place, str] = {}
    for seed, score in enumerate(scores):
        if score is None:
            troubles[Place("arithmetic", seed)] = "failed: out of luck"
        else:
            known[Place("arithmetic", seed)] = score
    return Result(Trial("x", number, {"learning_rate": 0.1}), known, troubles)


def test_the_best_mean_is_chosen_and_the_earlier_of_equals() -> None:
    def chosen(*results: Result) -> int | None:
        best = Tuned("x", {}, results).chosen
        return None if best is None else best.trial.number

    assert chosen(result(0, 0.5, 0.7), result(1, 0.6, 0.7), result(2, 0.9, 0.1)) == 1
    assert chosen(result(0, 0.5), result(1, 0.5)) == 0
    assert chosen(result(0, None), result(1, 0.0), result(2, 0.0)) == 1
    assert chosen(result(0, 0.1), result(1, 1.0, None)) == 0
    assert chosen(result(0, None), result(1, None)) is None
    curve = Tuned("x", {}, [result(0, None), result(1, 0.2), result(2, 0.1), result(3, 0.4)]).curve
    assert curve == [None, 0.2, 0.2, 0.4]


def test_no_test_split_is_made_or_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def watched(*args: Any, **options: Any) -> Any:
        made.append(options["split"])
        return create_isomers(*args, **options)

    monkeypatch.setattr(data, "create_isomers", watched)
    given = pretend(monkeypatch, {})
    for selection in get_args(type(TuneConfig.model_fields["tuning"].default).model_fields["selection"].annotation):
        config = load(tmp_path, families=["arithmetic", "ordering"], tuning={**TINY["tuning"], "selection": selection})
        assert tune(config, tmp_path / selection)[0] == 0
    assert set(made) == {"train", "validation"}
    assert {split for job in given for split in job.splits} == {"validation"}
    files = [file.name for file in tmp_path.glob("*/data/*/*.jsonl")]
    assert len(files) == 2 * 2 * (1 + 4)
    for job in given:
        (source,) = job.config.data
        assert {item.provenance.split for item in load_isomers(source.path)} == {"train"}
        assert {item.provenance.split for item in load_isomers(job.splits["validation"])} == {"validation"}
        assert not any(item.noisy for item in load_isomers(job.splits["validation"]))


def test_one_domain_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = pretend(monkeypatch, {"ERM, configuration 1, without law": 0.9, "IGA, configuration 1, without law": None})
    tuning = {**TINY["tuning"], "selection": "leave_one_domain_out", "folds": 2}
    config = load(tmp_path, tuning=tuning)
    assert config.folds == ["law", "mathematics"]
    assert tune(config, tmp_path / "out")[0] == 1
    assert len(given) == 2 * 2 * 2
    whole = create_isomers("arithmetic", seed=1000, size=8, cue="member", agreement=0.95, noise=0.3)
    for job in given:
        without = job.config.label.rpartition(" ")[2]
        rest = tuple(domain for domain in config.domains if domain != without)
        for made, full in zip(load_isomers(job.config.data[0].path), whole, strict=True):
            assert made.domains == rest
            assert made.members == tuple(member for member in full.members if member.domain != without)
        assert {item.domains for item in load_isomers(job.splits["validation"])} == {(without,)}
        # As many sets in a batch as with all four domains.
        assert job.config.training["per_device_train_batch_size"] == 6
    trials = {(row["label"], row["number"]): row for row in rows(tmp_path / "out" / "trials.csv")}
    row = trials["ERM", "1"]
    folds = (row["arithmetic/seed1000/law"], row["arithmetic/seed1000/mathematics"], row["mean"])
    assert folds == ("0.9", "0.5", "0.7")
    assert (trials["IGA", "1"]["mean"], trials["IGA", "1"]["status"]) == ("", "failed")
    # One's own files are cut alike.
    own = own_files(tmp_path)
    given.clear()
    config = load(tmp_path, **{**own, "tuning": {**own["tuning"], **tuning, "budget": 1}})
    assert tune(config, tmp_path / "own")[0] == 0
    assert len(given) == 4
    assert {item.domains for item in load_isomers(given[0].splits["validation"])} == {("law",)}


def test_the_choice_and_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = {**TINY["methods"], "broken": {"method": "vrex"}}
    scores = {"IGA, configuration 1": 0.75, "broken, configuration 0": None, "broken, configuration 1": None}
    given = pretend(monkeypatch, scores)
    path, output = write(tmp_path, methods=methods), tmp_path / "out"
    config = load_tune(path)
    status, told = tune(config, output, command=["isograd", "tune", "tiny.yaml"])
    assert status == 1
    assert "broken: every trial failed; left at its defaults" in told
    text = (output / "tuned.yaml").read_text()
    assert "# command: isograd tune tiny.yaml\n# budget: 2 configurations for each method" in text
    trials = draw_trials(config)
    chosen = {"ERM": trials["ERM"][0].values, "IGA": trials["IGA"][1].values, "broken": {}}
    assert yaml.safe_load(text) == {"methods": chosen}
    table = (output / "tuning.md").read_text()
    assert f"| IGA | 2 | 0 | 0.500 | 0.750 | 1 | {trials['IGA'][1].told} |" in table
    assert "| broken | 2 | 2 | - | - | - | none: left at its defaults |" in table
    assert "- broken, configuration 0: arithmetic/seed1000: failed: out of luck" in table
    assert "| IGA | method_params.tau | 1.0 | LogUniform(low=0.1, high=30.0) |" in table
    assert [row["best"] for row in rows(output / "curve.csv")] == ["0.5", "0.5", "0.5", "0.75", "", ""]
    assert (output / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [json.loads(row["values"]) for row in rows(output / "trials.csv") if row["label"] == "IGA"] == [
        trial.values for trial in trials["IGA"]
    ]

    # The choice feeds a comparison.
    compared = load_compare(write(tmp_path, methods=methods, tuned="out/tuned.yaml"))
    assert compared.methods["IGA"] == {"method": "iga", **trials["IGA"][1].values}
    assert compared.methods["broken"] == {"method": "vrex"}

    # Again: only the failed are tried again; a mended trial counts. A larger budget adds to what is there.
    names = ("tuned.yaml", "trials.csv", "tuning.md", "curve.csv", "curve.png")
    before = {name: (output / name).read_bytes() for name in names}
    given.clear()
    tune(config, output, command=["isograd", "tune", "tiny.yaml"])
    assert {job.config.label for job in given} == {"broken, configuration 0", "broken, configuration 1"}
    assert {name: (output / name).read_bytes() for name in names} == before
    given.clear()
    scores["broken, configuration 0"] = 0.25
    more = load(tmp_path, methods=methods, tuning={"budget": 3, "sets": 2})
    tune(more, output)
    assert len(given) == 3 + 2
    assert "| broken | 3 | 1 | 0.250 | 0.500 | 2 | " in (output / "tuning.md").read_text()
    with pytest.raises(UserError, match="other generator options"):
        tune(load(tmp_path, generator={"sets": 9}), output)


def test_an_interruption_chooses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = pretend(monkeypatch, {}, stop=True)
    config = load(tmp_path)
    status, told = tune(config, tmp_path / "out")
    assert status == STOPPED
    assert "Run the same command again" in told
    assert not list((tmp_path / "out").glob("[!.]*.*"))
    # Number by number, so that what an interruption leaves is equal.
    names = [f"{label}-{number}-seed1000" for number in (0, 1) for label in ("erm", "iga")]
    assert [job.output.name for job in given] == names
    assert [*planned_runs(config, tmp_path / "out")] == [job.output for job in given]
    with pytest.raises(UserError, match="workers is 0"):
        tune(config, tmp_path / "out", workers=0)


def test_the_example_of_the_guide(tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "tune.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "rivals.yaml").write_text(example, encoding="utf-8")
    config = load_tune(tmp_path / "rivals.yaml")
    assert load_compare(tmp_path / "rivals.yaml").tuning == config.tuning
    assert config.tuning.output == tmp_path / "rivals" / "tuning"
    planned = planned_runs(config, tmp_path)
    counts = (len(config.methods), config.tuning.budget, len(config.groups), len(planned))
    assert "That is {} methods, {} configurations and {} families: {} runs.".format(*counts) in guide


@pytest.mark.slow
def test_a_tuning(tmp_path: Path) -> None:
    output = tmp_path / "out"
    methods = {"ERM": None, "consistency": {"consistency": "logit_variance"}}
    tuning = {**TINY["tuning"], "selection": "leave_one_domain_out", "folds": 1}
    config = load(tmp_path, methods=methods, tuning=tuning)
    status, told = tune(config, output)
    assert status == 0, told
    found = rows(output / "trials.csv")
    assert [(row["label"], row["number"], row["status"]) for row in found] == [
        (label, number, "finished") for label in methods for number in ("0", "1")
    ]
    for row in found:
        assert row["arithmetic/seed1000/law"] == row["mean"]
        assert 0 <= float(row["mean"]) <= 1
    stamps = {file: file.stat().st_mtime_ns for file in output.glob("runs/*/*/adapter/*")}
    assert stamps
    status, told = tune(config, output)
    assert "4 of 4 runs were finished before and are reused" in told
    assert {file: file.stat().st_mtime_ns for file in output.glob("runs/*/*/adapter/*")} == stamps
