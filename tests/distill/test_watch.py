"""What is logged of the domains' gradients, against gradients of each domain by itself; and that it changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from isograd.common.errors import UserError
from isograd.distill.watch import _Watching
from isograd.gradients import LayerContext
from isograd.isomers import IsomerSet
from tests.distill.conftest import MakeTrainer, gradients_of_first_step

SETTINGS: dict[str, Any] = {"max_steps": 1, "logging_steps": 1}


def logged(trainer: Any) -> dict[str, float]:
    trainer.train()
    (line,) = [row for row in trainer.state.log_history if "loss" in row]
    return {key: float(value) for key, value in line.items() if isinstance(value, int | float)}


def dense_gradients(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> dict[str, torch.Tensor]:
    """By layer, [K m n], of a method that changes nothing."""
    trainer = make_trainer(data=sets[:2], method="iga", method_params={"tau": 0.0, "svd": "none"}, **SETTINGS)
    trainer._capture.remove()
    from isograd.capture import DomainCapture

    trainer._capture = DomainCapture(
        trainer.model, trainer.method, num_domains=len(trainer.domains), seed=0, keep_dense=True
    )
    trainer.train()
    return dict(trainer._capture.dense_gradients)


def test_cosines_conflicts_and_masks_are_those_of_the_dense_gradients(
    make_trainer: MakeTrainer, sets: list[IsomerSet]
) -> None:
    trainer = make_trainer(data=sets[:2], method="iga", method_params={"tau": 2.0}, log_gradients=True, **SETTINGS)
    found = logged(trainer)
    dense = dense_gradients(make_trainer, sets)
    flat = torch.cat([grads.flatten(1) for grads in dense.values()], 1).double()
    names = trainer.domains
    for place, first in enumerate(names):
        for other in range(place + 1, len(names)):
            wanted = torch.cosine_similarity(flat[place], flat[other], dim=0).item()
            assert found[f"cosine/{first}/{names[other]}"] == pytest.approx(wanted, abs=1e-5)
    opposed = (flat.max(0).values > 0) & (flat.min(0).values < 0)
    assert found["conflict"] == pytest.approx(opposed.double().mean().item(), abs=1e-4)
    mean, square = flat.mean(0), flat.square().mean(0)
    mask = (-2.0 * (1 - mean.square() / square.clamp(min=1e-300))).exp()[mean != 0]
    assert found["mask/mean"] == pytest.approx(mask.mean().item(), abs=1e-4)
    layers = [key for key in found if key.startswith("mask/") and key != "mask/mean"]
    base = trainer.model.get_base_model()
    inner = [name for name, module in base.named_modules() if hasattr(module, "lora_A")]
    # In the model's order and by its own names: the report numbers layers so.
    assert layers == [f"mask/{name}" for name in inner]
    assert len(layers) == len(dense)
    assert min(found[key] for key in layers) <= found["mask/mean"] <= max(found[key] for key in layers)


def test_a_conflict_needs_two_opposite_signs() -> None:
    """Three domains, six entries: all zero; zero and one sign; one sign; opposed; opposed beside a zero; opposed."""
    grads = torch.tensor(
        [[0.0, 0.0, 1.0, 1.0, 1.0, -1e-30], [0.0, 2.0, 2.0, -1.0, 0.0, 2.0], [0.0, 3.0, 3.0, -1.0, -1e-30, 3.0]]
    )
    context = LayerContext(rank=1)
    _Watching().merge_layer(grads[:, None, :], context)
    assert context.state["conflicts"].item() == 3
    assert context.state["entries"].item() == 6


@pytest.mark.parametrize("method", ["erm", "vrex", "pcgrad", "iga", "and_mask"])
def test_looking_changes_nothing(make_trainer: MakeTrainer, sets: list[IsomerSet], method: str) -> None:
    plain = gradients_of_first_step(make_trainer(data=sets[:2], method=method))
    watched = gradients_of_first_step(make_trainer(data=sets[:2], method=method, log_gradients=True, logging_steps=1))
    assert plain.keys() == watched.keys()
    for name, value in plain.items():
        assert torch.equal(value, watched[name]), name


def test_accumulated_micro_batches_are_one_step(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    settings = {"data": sets[:4], "method": "iga", "log_gradients": True, **SETTINGS}
    whole = logged(make_trainer(per_device_train_batch_size=16, **settings))
    parts = logged(make_trainer(per_device_train_batch_size=8, gradient_accumulation_steps=2, **settings))
    chosen = [key for key in whole if key.startswith(("cosine/", "mask/", "conflict"))]
    assert chosen
    for key in chosen:
        assert parts[key] == pytest.approx(whole[key], abs=1e-4), key


def test_methods_without_a_mask_log_none(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    found = logged(make_trainer(data=sets[:2], method="erm", log_gradients=True, **SETTINGS))
    assert 0 <= found["conflict"] <= 1
    assert not [key for key in found if key.startswith("mask/")]
    assert not [key for key in logged(make_trainer(data=sets[:2], **SETTINGS)) if key.startswith("cosine/")]


def test_only_logged_steps_are_looked_at(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    trainer = make_trainer(data=sets[:4], method="erm", log_gradients=True, max_steps=4, logging_steps=2)
    looked: list[int] = []
    read = trainer._watch.read
    trainer._watch.read = lambda: looked.append(trainer.state.global_step) or read()
    trainer.train()
    assert looked == [1, 3]


def test_fish_is_refused(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    with pytest.raises(UserError, match=r"log_gradients .* visits the domains one by one; set it to False$"):
        make_trainer(data=sets[:2], method="fish", log_gradients=True)
