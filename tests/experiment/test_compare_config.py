"""The configuration of a comparison: defaults, paths, tuned values, and mistakes in one line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from isograd.common.errors import UserError
from isograd.experiment.compare import planned_runs
from isograd.experiment.compare_config import CompareConfig, load_compare
from isograd.experiment.config import merged
from isograd.experiment.data import EVALUATED, IsomerOptions
from isograd.gradients import METHODS as METHOD_NAMES
from isograd.isomers import create_isomers, save_isomers

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
METHODS = {"ERM": None, "IGA": {"method": "iga", "method_params": {"tau": 1.0}}}


def load(folder: Path, **fields: Any) -> CompareConfig:
    content = {"families": ["arithmetic"], "methods": METHODS, **fields}
    (folder / "compare.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load_compare(folder / "compare.yaml")


def test_defaults(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.name, config.model, config.baseline) == ("compare", "builtin", "ERM")
    assert config.seeds == [0, 1, 2, 3, 4]
    assert config.groups == ["arithmetic"]
    assert config.output == tmp_path / "compare"
    assert (config.generator.sets, config.generator.splits, config.generator.noise) == (800, EVALUATED, 0.3)
    assert config.workers is None


def test_seeds_and_baseline(tmp_path: Path) -> None:
    assert load(tmp_path, seeds=2).seeds == [0, 1]
    assert load(tmp_path, seeds=[7, 3]).seeds == [7, 3]
    assert load(tmp_path, baseline="IGA").baseline == "IGA"
    others = {"plain": None, "erm": None, "x": None}
    assert load(tmp_path, methods=others).baseline == "erm"
    del others["erm"]
    assert load(tmp_path, methods=others).baseline == "plain"


def test_a_run_has_the_common_settings_under_its_own(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        training={"learning_rate": "1e-3", "max_steps": 9, "method_params": {"svd": "none"}},
        lora={"r": 4},
        methods={"IGA": {"method": "iga", "method_params": {"tau": 2.0}, "max_steps": 5}},
    )
    run = config.run_config("IGA", Path("train.jsonl"), 3)
    assert (run.name, run.seed, run.lora, run.model) == ("IGA", 3, {"r": 4}, "builtin")
    assert run.training == {
        "learning_rate": 0.001,
        "max_steps": 5,
        "method": "iga",
        "method_params": {"svd": "none", "tau": 2.0},
    }


def test_tuned_values_lie_over_the_configured_ones(tmp_path: Path) -> None:
    tuned = {
        "methods": {"IGA": {"method_params": {"tau": 3.0}, "learning_rate": "2e-3"}, "ERM": {}, "other": {}},
        "budget": 12,
    }
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump(tuned))
    config = load(tmp_path, tuned="tuned.yaml")
    assert config.methods == {
        "ERM": {},
        "IGA": {"method": "iga", "method_params": {"tau": 3.0}, "learning_rate": 0.002},
    }


def test_merging_leaves_its_arguments_alone() -> None:
    below = {"a": {"x": 1}, "b": 1}
    assert merged(below, {"a": {"y": 2}, "b": {"z": 3}}) == {"a": {"x": 1, "y": 2}, "b": {"z": 3}}
    assert below == {"a": {"x": 1}, "b": 1}


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "configs"
    (folder / "model").mkdir(parents=True)
    save_isomers(create_isomers(size=1), folder / "train.jsonl")
    monkeypatch.chdir(tmp_path)
    own = {"families": None, "train": "train.jsonl", "splits": {"mine": "train.jsonl"}, "model": "model"}
    config = load(Path("configs"), **own, output="../out")
    assert config.train == folder / "train.jsonl"
    assert config.splits == {"mine": folder / "train.jsonl"}
    assert config.model == str(folder / "model")
    assert os.path.normpath(config.output) == str(tmp_path / "out")
    assert config.groups == ["data"]
    # A name that is no folder beside the file is one on the hub.
    assert load(folder, model="owner/model").model == "owner/model"


def test_domain_files_lie_beside_the_configuration(tmp_path: Path) -> None:
    from importlib.resources import files

    law = files("isograd.isomers.symbolic") / "domains" / "law.yaml"
    (tmp_path / "mine.yaml").write_bytes(law.read_bytes())
    config = load(tmp_path, generator={"domains": ["mine.yaml", "science"]})
    assert config.generator.domains == (str(tmp_path / "mine.yaml"), "science")
    assert config.generator.train("arithmetic", 0)[0].members[0].domain == "law"
    assert len(config.generator.evaluation("arithmetic", 0)["ood_domain"][0].members) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"famlies": 1}, "compare.yaml: famlies: no such field; did you mean 'families'?"),
        ({"generator": {"nois": 0.1}}, "compare.yaml: generator.nois: no such field; did you mean 'noise'?"),
        ({"generator": {"cue": "some"}}, "compare.yaml: generator.cue: Input should be 'none', 'member' or 'set'"),
        ({"generator": {"noise": 2.0}}, "compare.yaml: families and generator: noise is 2.0"),
        ({"generator": {"splits": ["tets"]}}, "families and generator: unknown split 'tets'"),
        ({"generator": {"splits": ["ood_depth"], "depth": 99}}, "families and generator: depth is 99"),
        ({"families": ["algebra"]}, "families and generator: unknown family 'algebra'"),
        ({"families": []}, "compare.yaml: families: "),
        ({"families": ["ordering", "ordering"]}, "families: every entry may be named once only"),
        ({"families": None}, "name families to make isomer sets of, or give train and splits"),
        ({"families": None, "train": "x.jsonl"}, "name families to make isomer sets of, or give train and splits"),
        ({"train": "x.jsonl"}, "compare.yaml: train: isomer sets are either made (families) or your own"),
        ({"families": None, "train": "x.jsonl", "splits": {"id": "y.jsonl"}}, "x.jsonl: no such file"),
        ({"seeds": 0}, "compare.yaml: seeds: "),
        ({"seeds": [1, 1]}, "seeds: every entry may be named once only"),
        ({"seeds": [-1]}, "compare.yaml: seeds.0: "),
        ({"workers": 0}, "compare.yaml: workers: "),
        ({"methods": {}}, "compare.yaml: methods: "),
        ({"methods": {"x": 3}}, "compare.yaml: methods.x: Input should be a valid dictionary"),
        ({"methods": {"a b": {}, "A-b": {}}}, "compare.yaml: methods.A-b: too like 'a b'"),
        ({"methods": {"??": {}}}, "compare.yaml: methods.??: needs a letter or digit"),
        ({"methods": {"x": {"metod": "iga"}}}, "methods.x.metod: IsomerSFTConfig has no such field; did you mean 'm"),
        ({"methods": {"x": {"method": "iag"}}}, "methods.x: unknown method 'iag'; did you mean 'iga'?"),
        ({"methods": {"x": {"method": "iga", "method_params": {"tua": 1}}}}, "has no parameter 'tua'; did you mean"),
        ({"methods": {"x": {"method": "iga", "method_params": {"tau": -1}}}}, "methods.x: "),
        ({"methods": {"x": {"seed": 1}}}, "methods.x.seed: the run sets this itself"),
        ({"training": {"max_step": 1}}, "compare.yaml: training.max_step: IsomerSFTConfig has no such field"),
        ({"lora": {"rank": 1}}, "compare.yaml: lora.rank: LoraConfig has no such field"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate: 'fast' is not a number"),
        ({"lora": {"r": "8"}}, "compare.yaml: lora.r: '8' is not a number"),
        ({"methods": {"x": {"lr_scheduler_type": "steep"}}}, "methods.x: training or lora settings: steep is not a"),
        ({"methods": {"x": {"consistency": "jss"}}}, "methods.x: unknown consistency 'jss'; there are: "),
        (
            {"methods": {"x": {"consistency_weight": -1.0}}},
            "methods.x: consistency_weight is -1.0; use a number from 0",
        ),
        ({"methods": {"x": {"method_params": [1]}}}, "methods.x.method_params: [1] is no mapping"),
        ({"generator": {"domains": ["law", "cooking"]}}, "domains that training does not see, but both name 'cooking'"),
        ({"generator": {"unseen_domains": ["law"]}}, "domains that training does not see, but both name 'law'"),
        ({"name": "???"}, "compare.yaml: name: '???' has no letter or digit"),
        ({"baseline": "ERN"}, "compare.yaml: baseline: no method 'ERN'; did you mean 'ERM'?"),
        ({"tuned": "none.yaml"}, "none.yaml: No such file"),
        ({"tuned": "compare.yaml", "methods": None}, "compare.yaml: methods: "),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as told:
        load(tmp_path, **fields)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("tuned", "message"),
    [
        ("methods: [ERM]", "needs a section methods"),
        ("methods: {ERM: 3}", "needs a section methods"),
        (
            "methods: {ERN: {}}",
            "has no values for 'ERM', which would compete untuned; tune it, or say so there: ERM: {}",
        ),
        ("methods: {ERM: {}, IGA: {method_params: {tau: -1}}}", "methods.IGA: "),
    ],
)
def test_a_file_of_tuned_values_that_does_not_fit(tmp_path: Path, tuned: str, message: str) -> None:
    (tmp_path / "tuned.yaml").write_text(tuned)
    with pytest.raises(UserError, match=message):
        load(tmp_path, tuned="tuned.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "not a mapping"),
        ("a: [", "not valid YAML"),
        ("", "not a map"),
        ("families: [arithmetic]\nmethods: {IGA: {tau: 1}, ERM: , IGA: {tau: 3}}", "'IGA' stands twice"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "compare.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_compare(tmp_path / "compare.yaml")


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_configurations_of_published_results_load(path: Path) -> None:
    if path.stem != "tuned":
        # Beside the committed tables, not over them.
        assert load_compare(path).output == path.parent / "build" / path.stem


def test_the_examples_of_the_guide(tmp_path: Path) -> None:
    pytest.importorskip("torchjd")
    guide = (Path(__file__).resolve().parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")
    rivals, own, rules = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "rivals.yaml").write_text(rivals, encoding="utf-8")
    config = load_compare(tmp_path / "rivals.yaml")
    assert {settings["method"] for settings in config.methods.values()} == set(METHOD_NAMES)
    assert config.generator == IsomerOptions()
    assert (
        f"That is {len(config.methods)} methods, {len(config.seeds)} seeds and {len(config.groups)} families: " in guide
    )
    assert f" {len(planned_runs(config, tmp_path))} runs." in guide
    for name in ("train", "id", "hard"):
        save_isomers(create_isomers(size=1), tmp_path / f"{name}.jsonl")
    (tmp_path / "own.yaml").write_text(own, encoding="utf-8")
    assert load_compare(tmp_path / "own.yaml").groups == ["data"]
    (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
    assert load_compare(tmp_path / "rules.yaml").groups[:2] == ["arithmetic-g2", "arithmetic-g4"]
