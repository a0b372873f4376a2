"""Two real processes write what one would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from capture_models import assert_same, batch, gradients, lora_model, run
from process_worker import METHODS, ORDER, work
from torch import distributed, multiprocessing

from isograd.capture._sum import ProcessMean

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="no gloo in this torch"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(work, args=(folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_means_come_back_in_place_and_in_order(found: list[dict[str, Any]]) -> None:
    expected = {
        "one": [torch.full((2, 3), 0.5)],
        "several": [torch.arange(6.0).view(2, 3) * 1.5, torch.tensor(5.0), torch.tensor([0.5, 2.5])],
        "double": [torch.tensor([1.5, 5.0], dtype=torch.float64)],
        "strided": [torch.full((2, 3), 0.5)],
    }
    for rank in range(2):
        torch.testing.assert_close(found[rank]["means"], expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", METHODS)
def test_gradients_equal_those_of_one_process(found: list[dict[str, Any]], name: str) -> None:
    model, data = lora_model(), batch(ORDER)
    run(model, METHODS[name], data)
    one, two = (found[rank]["gradients"][name] for rank in range(2))
    assert_same(one, two, 0.0)  # so that no parameter drifts apart
    assert_same(one, gradients(model), 1e-6)


def test_a_capture_may_be_older_than_the_processes(found: list[dict[str, Any]]) -> None:
    model, data = lora_model(), batch(ORDER)
    run(model, METHODS["iga"], data)
    for rank in range(2):
        assert_same(found[rank]["early"], gradients(model), 1e-6)


def test_sets_in_several_processes_are_refused(found: list[dict[str, Any]]) -> None:
    for rank in range(2):
        assert "one batch of one process" in found[rank]["refusal"]


def test_one_process_leaves_tensors_alone() -> None:
    mean, tensor = ProcessMean(), torch.arange(3.0)
    assert mean.processes == 1
    mean([tensor])
    assert torch.equal(tensor, torch.arange(3.0))
