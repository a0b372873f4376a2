"""The benchmark of step times has every method, and its variants take the steps that their names say."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from isograd.gradients import METHODS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "step_time.py"
TORCHJD = importlib.util.find_spec("torchjd") is not None
OPTIONAL = {"torchjd", "torchjd_upgrad", "torchjd_pcgrad"}


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("step_time", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["step_time"] = module  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    yield module
    del sys.modules["step_time"]


@pytest.fixture(scope="module")
def bench(script: ModuleType) -> Any:
    with torch.random.fork_rng(devices=[]):  # it seeds the global generator
        return script.Bench(script.Shape(64, layers=1, vocabulary=64, rows=8, length=16, rank=2), 0)


def gradients(bench: Any, variant: str) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):  # torchjd draws from the global generator
        bench.step(variant)
    return torch.cat([factor.grad.flatten() for factor in bench.factors]).double()


def test_every_registered_method_is_timed_as_it_is_by_default(script: ModuleType) -> None:
    for name, kind in METHODS.items():
        if TORCHJD or name not in OPTIONAL:
            assert name in script.VARIANTS
            assert script.METHODS[name] == kind()
    assert "iga_consistency" in script.VARIANTS
    assert OPTIONAL.issubset(script.VARIANTS) == TORCHJD
    assert len(set(script.VARIANTS)) == len(script.VARIANTS)


def test_every_variant_leaves_gradients_that_are_its_own(script: ModuleType, bench: Any) -> None:
    found = {variant: gradients(bench, variant) for variant in script.VARIANTS}
    for variant, of in found.items():
        assert of.isfinite().all(), variant
        assert of.norm() > 0, variant
    assert (found["iga_consistency"] - found["iga"]).norm() > 1e-3 * found["iga"].norm()
    assert (found["iga_consistency"] - found["consistency_variance"]).norm() > 1e-3 * found["iga"].norm()
    if TORCHJD:  # one weighting, in our engine and in torchjd's
        torch.testing.assert_close(found["torchjd"], found["torchjd_upgrad"], rtol=1e-4, atol=1e-6)


def arguments(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["step_time.py", *words])
    return script._arguments()


def test_a_part_of_the_table(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert arguments(script, monkeypatch).methods == list(script.VARIANTS)
    words = "--methods iga mgda --hidden 64 128 --rows 4 --length 16 --skip memory breakdown"
    args = arguments(script, monkeypatch, *words.split())
    assert (args.methods, args.hidden, args.rows, args.length) == (["iga", "mgda"], [64, 128], 4, 16)
    assert args.skip == ["memory", "breakdown"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--methods igaa", "argument --methods: invalid choice: 'igaa'"),
        ("--hidden 96", "argument --hidden: use multiples of 64"),
        ("--hidden 0", "argument --hidden: use multiples of 64"),
        ("--rows 6", "argument --rows: use a multiple of 4"),
        ("--length 3", "argument --length: use 8 tokens at least"),
        ("--skip all", "argument --skip: invalid choice: 'all'"),
        ("--repeats 1", "argument --repeats: use 2 at least"),
    ],
)
def test_mistakes_are_one_line(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    line: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments(script, monkeypatch, *words.split())
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"step_time.py: {line}")
