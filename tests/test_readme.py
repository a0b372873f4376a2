"""What the README shows works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isograd.distill import load_config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "max_steps=200" in code
    monkeypatch.chdir(tmp_path)
    # The same code, in less time and on any machine.
    short = code.replace("max_steps=200", "max_steps=2, report_to='none', save_strategy='no'")
    names: dict[str, object] = {}
    exec(compile(short.replace("size=800", "size=16"), "README.md", "exec"), names)
    assert names["trainer"].state.global_step == 2  # type: ignore[attr-defined]


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
