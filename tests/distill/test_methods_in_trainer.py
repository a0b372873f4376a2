"""Every gradient method in the trainer: what reaches the optimizer, accumulation, several processes, resuming."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from isograd.common.errors import UserError
from isograd.distill.inner_loop import walk_domains
from isograd.gradients import METHODS
from isograd.isomers import IsomerSet, to_rows
from tests.distill.conftest import MakeTrainer, gradients_of_first_step
from tests.distill.method_settings import A_FEW, ANYWHERE, EVERY, ONE_BATCH, SEVERAL_PROCESSES, Settings
from tests.distill.test_trainer import assert_same

TOLERANCES = {"irm": 1e-5, "vrex": 1e-5, "group_dro": 1e-5}
"""Factors that depend on the losses, which TRL's head sums in float32; all else agrees to 1e-11."""

needs_torchjd = pytest.mark.skipif(
    importlib.util.find_spec("torchjd") is None, reason="torchjd is not installed (the extra isograd[torchjd])"
)


def named(settings: dict[str, Settings]) -> list[Any]:
    marks = {"torchjd": [needs_torchjd]}
    return [pytest.param(value, id=name, marks=marks.get(name, [])) for name, value in settings.items()]


def factors(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.model.named_parameters() if value.requires_grad}


def stepped(trainer: Any) -> dict[str, torch.Tensor]:
    """The factors after training; the gradients of methods that retract never reach an optimizer."""
    trainer.train()
    return factors(trainer)


def test_every_method_is_here() -> None:
    assert {settings["method"] for settings in EVERY.values()} == METHODS.keys()


@pytest.mark.parametrize("settings", named(ANYWHERE))
def test_accumulation_changes_nothing(make_trainer: MakeTrainer, sets: list[IsomerSet], settings: Settings) -> None:
    measure = stepped if "retraction" in str(settings) else gradients_of_first_step
    whole = measure(make_trainer(data=sets[:4], per_device_train_batch_size=16, **settings))
    parts = measure(make_trainer(data=sets[:4], gradient_accumulation_steps=2, **settings))
    assert_same(whole, parts, TOLERANCES.get(settings["method"], 1e-8))


@pytest.mark.parametrize("name", ["erm", "erm, tokens", "vrex", "iga", "erm and consistency"])
def test_the_logged_loss_is_that_of_the_step_however_it_is_cut(
    make_trainer: MakeTrainer, sets: list[IsomerSet], name: str
) -> None:
    logged = []
    for cut in ({"per_device_train_batch_size": 16}, {"gradient_accumulation_steps": 2}):
        trainer = make_trainer(data=sets[:4], **cut, **ANYWHERE[name])
        trainer.train()
        logged.append(trainer.state.log_history[0]["loss"])
    assert logged[0] == pytest.approx(logged[1], rel=1e-5)


@pytest.mark.parametrize("settings", named(ONE_BATCH))
def test_what_needs_one_batch_says_so(make_trainer: MakeTrainer, settings: Settings) -> None:
    with pytest.raises(UserError, match="gradient_accumulation_steps to 1"):
        make_trainer(gradient_accumulation_steps=2, **settings)


def test_fish_says_that_it_cannot_accumulate_or_compare_members(make_trainer: MakeTrainer) -> None:
    with pytest.raises(UserError, match="gradient_accumulation_steps to 1"):
        make_trainer(method="fish", gradient_accumulation_steps=2)
    with pytest.raises(UserError, match="set consistency to none"):
        make_trainer(method="fish", consistency="js")


def sums_by_row(trainer: Any, rows: list[dict[str, Any]], scale: torch.Tensor) -> tuple[dict[str, Any], dict[str, int]]:
    """Summed loss of each domain with all logits multiplied by ``scale``, and its tokens, one row at a time."""
    totals: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for row in rows:
        tokenizer = trainer.processing_class
        prompt = tokenizer(row["prompt"]).input_ids
        ids = tokenizer(row["prompt"] + row["completion"] + tokenizer.eos_token).input_ids
        logits = trainer.model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1]
        loss = torch.nn.functional.cross_entropy(scale * logits, torch.tensor(ids[len(prompt) :]), reduction="sum")
        totals[row["domain"]] = totals.get(row["domain"], 0.0) + loss
        counts[row["domain"]] = counts.get(row["domain"], 0) + len(ids) - len(prompt)
    return totals, counts


@pytest.mark.parametrize("method", ["irm", "vrex", "group_dro"])
def test_loss_methods_against_autograd_row_by_row(
    make_trainer: MakeTrainer, sets: list[IsomerSet], method: str
) -> None:
    settings = ANYWHERE[method]
    trainer = make_trainer(data=sets[:2], **settings)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    totals, counts = sums_by_row(trainer, to_rows(sets[:2]), scale)
    losses = torch.stack([totals[name] / counts[name] for name in sorted(totals)])
    value = settings["method_params"].get("weight", 0.0)
    if method == "irm":
        slopes = [torch.autograd.grad(loss, scale, create_graph=True)[0] for loss in losses]
        objective = losses.mean() + value * torch.stack(slopes).square().mean()
    elif method == "vrex":
        objective = losses.mean() + value * losses.var(unbiased=False)
    else:
        objective = ((settings["method_params"]["eta"] * losses.detach()).softmax(0) * losses).sum()
    trainable = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    wanted = dict(zip(trainable, torch.autograd.grad(objective, list(trainable.values())), strict=True))
    # Not closer: the model's norms and TRL's head round to float32.
    assert_same(gradients_of_first_step(trainer), wanted, 5e-6)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(objective.item(), rel=1e-5)


def test_a_pass_that_fails_leaves_fish_where_it_began() -> None:
    weight = torch.nn.Parameter(torch.ones(3))

    def backward(domain: int) -> torch.Tensor:
        if domain == 2:
            raise KeyboardInterrupt
        loss = (weight * (domain + 1)).sum()
        loss.backward()
        return loss.detach()

    with pytest.raises(KeyboardInterrupt):
        walk_domains([weight], [0, 1, 2], backward, 0.5)
    assert torch.equal(weight.detach(), torch.ones(3))


def test_fish_is_the_way_of_its_inner_steps(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    erm = gradients_of_first_step(make_trainer(data=sets[:2]))
    before = make_trainer(data=sets[:2])
    tiny = make_trainer(data=sets[:2], method="fish", method_params={"step_size": 1e-7})
    assert_same(gradients_of_first_step(tiny), erm, 1e-5)
    large = make_trainer(data=sets[:2], method="fish", method_params={"step_size": 2.0})
    found = gradients_of_first_step(large)
    assert max((found[name] - erm[name]).abs().max().item() for name in erm) > 1e-4
    # The inner steps themselves are taken back (the learning rate of the first step is zero or tiny).
    for name, value in factors(before).items():
        assert torch.allclose(value, factors(large)[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["group_dro", "iga, running", "iga, shuffled", "iga, raw second moment", "fish", "pcgrad"]
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(make_trainer: MakeTrainer, tmp_path: Path, name: str) -> None:
    settings = {**EVERY[name], "max_steps": 4, "learning_rate": 1e-2, "lr_scheduler_type": "constant"}
    whole = stepped(make_trainer(**settings))
    folder = tmp_path / "resumed"
    saving = {"output_dir": str(folder), "save_strategy": "steps", "save_steps": 2}
    make_trainer(**{**settings, **saving}).train()
    again = make_trainer(**{**settings, **saving})
    again.train(resume_from_checkpoint=str(folder / "checkpoint-2"))
    resumed = factors(again)
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key


def test_a_mask_of_ones_with_a_raw_second_moment_is_none_when_gradients_are_clipped(make_trainer: MakeTrainer) -> None:
    settings = {"method": "iga", "max_steps": 3, "max_grad_norm": 1e-3}
    params = {"tau": 0.0, "svd": "none"}
    raw = stepped(make_trainer(method_params={**params, "second_moment": "raw"}, **settings))
    assert_same(raw, stepped(make_trainer(method_params=params, **settings)), 1e-8)


def test_a_raw_second_moment_differs_where_masks_are_constant(make_trainer: MakeTrainer) -> None:
    both = [
        stepped(make_trainer(**EVERY[name], max_steps=3, learning_rate=1e-2))
        for name in ("iga", "iga, raw second moment")
    ]
    assert any(not torch.equal(both[0][name], both[1][name]) for name in both[0])


@pytest.mark.parametrize("form", ["kl", "hidden_cosine"])
def test_every_form_of_consistency_trains(make_trainer: MakeTrainer, form: str) -> None:
    trainer = make_trainer(consistency=form, consistency_at="steps", max_steps=8, learning_rate=1e-2)
    trainer.train()
    logged = [entry["consistency"] for entry in trainer.state.log_history if "consistency" in entry]
    assert len(logged) == 8
    assert logged[0] > 0


def test_the_weight_of_consistency_follows_its_schedule(make_trainer: MakeTrainer) -> None:
    late = gradients_of_first_step(make_trainer(consistency="js", consistency_start=1))
    assert_same(late, gradients_of_first_step(make_trainer()), 1e-12)
    ramped = gradients_of_first_step(make_trainer(consistency="js", consistency_ramp=1, consistency_weight=8.0))
    assert_same(ramped, gradients_of_first_step(make_trainer(consistency="js", consistency_weight=4.0)), 1e-12)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("processes", "names"),
    [
        (2, [*A_FEW, *ONE_BATCH]),
        pytest.param(2, [*EVERY], marks=pytest.mark.long),
        pytest.param(4, [*EVERY], marks=pytest.mark.long),
    ],
)
def test_several_processes_equal_one(tmp_path: Path, processes: int, names: list[str]) -> None:
    for world in (1, processes):
        torchrun(world, "run_methods.py", tmp_path / f"of-{world}", *names)
    for name in SEVERAL_PROCESSES.keys() & names:
        if name == "torchjd" and importlib.util.find_spec("torchjd") is None:
            continue
        one = load_file(tmp_path / "of-1" / f"{name}.0.safetensors")
        several = [load_file(tmp_path / f"of-{processes}" / f"{name}.{rank}.safetensors") for rank in range(processes)]
        assert_same(one, several[0], TOLERANCES.get(name, 1e-10))
        for other in several[1:]:
            assert_same(several[0], other, 0.0)  # so that no process drifts from the others
    for name in ONE_BATCH:
        assert "train in one process" in (tmp_path / f"of-{processes}" / f"{name}.txt").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_several_processes_that_stop_within_an_epoch_go_on_with_the_same_rows(tmp_path: Path) -> None:
    torchrun(2, "run_resumed.py", tmp_path)
    for rank in range(2):
        whole, resumed = (load_file(tmp_path / f"{name}.{rank}") for name in ("whole", "resumed"))
        assert_same(whole, resumed)


def torchrun(processes: int, script: str, *arguments: Any) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name(script)), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
