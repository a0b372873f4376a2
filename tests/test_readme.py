"""What the README shows works as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from isograd.distill import load_config
from isograd.isomers import from_dataset

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_the_training_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = EXAMPLES[0]
    assert "max_steps=200" in code
    assert "size=800" in code
    monkeypatch.chdir(tmp_path)
    # The same code, in less time and on any machine.
    short = code.replace("max_steps=200", "max_steps=2, report_to='none', save_strategy='no'")
    assert run(short.replace("size=800", "size=16"))["trainer"].state.global_step == 2


def test_the_example_of_isomer_sets_runs() -> None:
    _, code = EXAMPLES
    names = run(code)
    assert list(from_dataset(names["dataset"])) == names["sets"][:]


@pytest.mark.parametrize("name", ["iga", "benchmarks"])
def test_the_example_configurations_are_valid(name: str) -> None:
    assert f"examples/{name}.yaml" in README
    assert load_config(ROOT / "examples" / f"{name}.yaml").training["method"] == "iga"


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r"(?:docs|examples|benchmarks)/[\w./-]+\.\w+|\]\(([\w./-]+)\)", README)
    paths = [path for path in named if path]
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path
