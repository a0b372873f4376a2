"""What is logged of the domains' gradients, against gradients of each domain by itself; and that it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from isograd.capture import DomainCapture
from isograd.common.errors import UserError
from isograd.distill.watch import PEFT_PREFIX, _Watching
from isograd.gradients import LayerContext
from isograd.isomers import IsomerSet
from tests.distill.conftest import MakeTrainer, gradients_of_steps
from tests.distill.method_settings import EVERY

SETTINGS: dict[str, Any] = {"max_steps": 1, "logging_steps": 1}


def logged(trainer: Any) -> dict[str, float]:
    trainer.train()
    (line,) = [row for row in trainer.state.log_history if "loss" in row]
    return {key: float(value) for key, value in line.items() if isinstance(value, int | float)}


def dense_gradients(make_trainer: MakeTrainer, sets: list[IsomerSet], **settings: Any) -> list[dict[str, torch.Tensor]]:
    """At each step, by layer, [K m n], of a method that changes nothing."""
    trainer = make_trainer(data=sets, method="iga", method_params={"tau": 0.0, "svd": "none"}, **(SETTINGS | settings))
    trainer._capture.remove()
    capture = DomainCapture(trainer.model, trainer.method, num_domains=len(trainer.domains), seed=0, keep_dense=True)
    steps: list[dict[str, torch.Tensor]] = []
    write = capture.write_gradients
    capture.write_gradients = lambda **options: steps.append(dict(capture.dense_gradients)) or write(**options)
    trainer._capture = capture
    trainer.train()
    return steps


def test_cosines_conflicts_and_masks_are_those_of_the_dense_gradients(
    make_trainer: MakeTrainer, sets: list[IsomerSet]
) -> None:
    trainer = make_trainer(data=sets[:2], method="iga", method_params={"tau": 2.0}, log_gradients=True, **SETTINGS)
    found = logged(trainer)
    (dense,) = dense_gradients(make_trainer, sets[:2])
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


def and_mask(grads: torch.Tensor) -> torch.Tensor:
    return (grads.sign().mean(0).abs() >= 0.7 - 1e-6).double()


def sand_mask(grads: torch.Tensor) -> torch.Tensor:
    variance = grads.var(0) / grads.square().mean()
    return (10.0 * (grads.sign().mean(0).abs() - 0.3) / variance).tanh().clamp(min=0)


MASKS: dict[str, tuple[dict[str, Any], Callable[[torch.Tensor], torch.Tensor]]] = {
    "and_mask": ({"tau": 0.7}, and_mask),
    "sand_mask": ({"tau": 0.3}, sand_mask),
}


@pytest.mark.parametrize("method", MASKS)
def test_the_mask_is_that_before_rescaling(make_trainer: MakeTrainer, sets: list[IsomerSet], method: str) -> None:
    params, mask = MASKS[method]
    found = logged(make_trainer(data=sets[:2], method=method, method_params=params, log_gradients=True, **SETTINGS))
    (dense,) = dense_gradients(make_trainer, sets[:2])
    wanted = {name.removeprefix(PEFT_PREFIX): mask(grads)[grads.mean(0) != 0] for name, grads in dense.items()}
    for name, values in wanted.items():
        assert found[f"mask/{name}"] == pytest.approx(values.mean().item(), abs=1e-6), name
    mean = torch.cat(list(wanted.values())).mean().item()
    assert 0.05 < mean < 0.95
    assert found["mask/mean"] == pytest.approx(mean, abs=1e-6)


def test_the_mask_follows_schedule_and_memory(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    def masks(**params: Any) -> list[float]:
        trainer = make_trainer(data=sets[:6], method="iga", method_params=params, log_gradients=True, **settings)
        trainer.train()
        return [row["mask/mean"] for row in trainer.state.log_history if "mask/mean" in row]

    settings = {**SETTINGS, "max_steps": 3, "learning_rate": 0.0}
    steps = [
        torch.cat([grads.flatten(1) for grads in dense.values()], 1)
        for dense in dense_gradients(make_trainer, sets[:6], **settings)
    ]
    tiny = torch.finfo(torch.float64).tiny
    wanted, running = [], []
    squared, square = steps[0].mean(0).square(), steps[0].square().mean(0)
    for grads in steps:
        mean = grads.mean(0)
        now = mean.square(), grads.square().mean(0)
        wanted.append((-3.0 * (1 - now[0] / now[1].clamp(min=tiny))).exp()[mean != 0].mean().item())
        squared, square = 0.5 * squared + 0.5 * now[0], 0.5 * square + 0.5 * now[1]
        running.append((-3.0 * (1 - squared / square.clamp(min=tiny))).exp()[mean != 0].mean().item())
    assert masks(tau=3.0, variance="running", decay=0.5) == pytest.approx(running, abs=1e-6)
    assert min(abs(one - other) for one, other in zip(running[1:], wanted[1:], strict=True)) > 1e-4
    assert masks(tau=3.0, tau_start=2) == pytest.approx([1.0, 1.0, wanted[2]], abs=1e-6)


def test_a_conflict_needs_two_opposite_signs() -> None:
    """Three domains, six entries: all zero; zero and one sign; one sign; opposed; opposed beside a zero; opposed."""
    grads = torch.tensor(
        [[0.0, 0.0, 1.0, 1.0, 1.0, -1e-30], [0.0, 2.0, 2.0, -1.0, 0.0, 2.0], [0.0, 3.0, 3.0, -1.0, -1e-30, 3.0]]
    )
    context = LayerContext(rank=1)
    _Watching().merge_layer(grads[:, None, :], context)
    assert context.state["conflicts"].item() == 3
    assert context.state["entries"].item() == 6


@pytest.mark.parametrize("method", ["erm", "vrex", "pcgrad", "iga", "iga, running", "and_mask"])
def test_looking_changes_nothing(make_trainer: MakeTrainer, sets: list[IsomerSet], method: str) -> None:
    settings = {**EVERY[method], "data": sets[:4], "max_steps": 2}
    plain = gradients_of_steps(make_trainer(**settings))
    watched = gradients_of_steps(make_trainer(log_gradients=True, **settings))
    for one, other in zip(plain, watched, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert torch.equal(value, other[name]), name


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
    # A mask that is a matrix, and not one value for each entry.
    params = {"basis": "input"}
    found = logged(make_trainer(data=sets[:2], method="iga", method_params=params, log_gradients=True, **SETTINGS))
    assert not [key for key in found if key.startswith("mask/")]


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
