"""The trainer against what its methods and terms are by definition, in float64 and row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from isograd.common.seeding import named_random
from isograd.isomers import IsomerSet, create_isomers, to_rows
from tests.distill.conftest import MakeTrainer, gradients_of_first_step, gradients_of_steps
from tests.distill.test_methods_in_trainer import sums_by_row
from tests.distill.test_trainer import assert_same

LOOSE = 5e-6
"""The model's norms and TRL's head round to float32."""
STILL = {"learning_rate": 0.0, "lr_scheduler_type": "constant"}


def trainable(trainer: Any) -> dict[str, Tensor]:
    return {name: value for name, value in trainer.model.named_parameters() if value.requires_grad}


def test_fishr_against_the_gradient_of_each_token(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    weight = 1e4
    settings = {"data": sets[:1], "per_device_train_batch_size": 4}
    trainer = make_trainer(method="fishr", method_params={"weight": weight}, **settings)
    base, tokenizer = trainer.model.get_base_model(), trainer.processing_class
    head = base.get_output_embeddings().weight.detach().clone().requires_grad_()
    losses, variances = [], []
    for row in sorted(to_rows(sets[:1]), key=lambda row: row["domain"]):  # a set tells each domain once
        prompt = tokenizer(row["prompt"]).input_ids
        ids = tokenizer(row["prompt"] + row["completion"] + tokenizer.eos_token).input_ids
        states = base.model(torch.tensor([ids])).last_hidden_state[0, len(prompt) - 1 : -1]
        tokens = [
            torch.nn.functional.cross_entropy(head @ state, torch.tensor(target))
            for state, target in zip(states, ids[len(prompt) :], strict=True)
        ]
        gradients = torch.stack([torch.autograd.grad(loss, head, create_graph=True)[0] for loss in tokens])
        losses.append(torch.stack(tokens).mean())
        variances.append(gradients.var(0, unbiased=False))
    v = torch.stack(variances)
    objective = torch.stack(losses).mean() + weight * (v - v.mean(0)).square().sum((1, 2)).mean()
    names = trainable(trainer)
    wanted = dict(zip(names, torch.autograd.grad(objective, list(names.values())), strict=True))
    found = gradients_of_first_step(trainer)
    assert_same(found, wanted, LOOSE)
    erm = gradients_of_first_step(make_trainer(**settings))
    assert max((found[name] - erm[name]).abs().max() for name in erm) > 0.1 * max(g.abs().max() for g in erm.values())


def predictions(trainer: Any, sets: Sequence[IsomerSet]) -> Tensor:
    """What the model's own logits give for the first token of each aligned span, [sets spans K V]."""
    tokenizer, by_set = trainer.processing_class, []
    for isomer_set in sets:
        members = []
        for row in sorted(to_rows([isomer_set]), key=lambda row: row["domain"]):
            ids = tokenizer(row["prompt"] + row["completion"]).input_ids
            with torch.no_grad():
                p = trainer.model(torch.tensor([ids])).logits[0].softmax(-1)
            places = []
            for start, _end in row["spans"]:
                before = tokenizer(row["prompt"] + row["completion"][:start].rstrip(" ")).input_ids
                assert ids[: len(before)] == before
                places.append(p[len(before) - 1])
            members.append(torch.stack(places))
        by_set.append(torch.stack(members, 1))
    return torch.stack(by_set)


@pytest.mark.parametrize("places", ["answer", "steps", "all"])
def test_the_consistency_term_of_several_steps(make_trainer: MakeTrainer, places: str) -> None:
    deep = create_isomers(seed=5, size=2, depth=3)[:]
    p = predictions(make_trainer(data=deep), deep)
    assert p.shape[1] >= 3
    p = {"answer": p[:, -1:], "steps": p[:, :-1], "all": p}[places]
    mean = p.mean(2)
    wanted = {
        "logit_variance": (p - mean[:, :, None]).square().sum(-1).mean(),
        "js": (torch.special.entr(mean).sum(-1) - torch.special.entr(p).sum(-1).mean(2)).mean(),
        "kl": (mean * (mean.log() - p.log().mean(2))).sum(-1).mean(),
    }
    for form, value in wanted.items():
        trainer = make_trainer(data=deep, consistency=form, consistency_at=places, consistency_weight=3.0)
        trainer.train()
        logged = trainer.state.log_history[0]
        assert logged["consistency"] == pytest.approx(value.item(), rel=1e-5), form
        task = sum(number for name, number in logged.items() if name.startswith("loss/")) / 4
        assert logged["loss"] == pytest.approx(task + 3.0 * value.item(), rel=1e-5), form


def test_fish_against_its_walk_by_hand(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    step_size, rows = 2.0, to_rows(sets[:2])
    trainer = make_trainer(data=sets[:2], method="fish", method_params={"step_size": step_size}, max_steps=2, **STILL)
    names, one = trainable(trainer), torch.ones((), dtype=torch.float64)
    start = {name: value.detach().clone() for name, value in names.items()}

    def walked(order: Sequence[int]) -> dict[str, Tensor]:
        for domain in order:
            (total,), (count,) = (
                part.values()
                for part in sums_by_row(trainer, [r for r in rows if r["domain"] == trainer.domains[domain]], one)
            )
            gradients = torch.autograd.grad(total / count, list(names.values()))
            with torch.no_grad():
                for value, gradient in zip(names.values(), gradients, strict=True):
                    value.sub_(step_size * gradient)
        way = {name: (start[name] - value.detach()) / (len(order) * step_size) for name, value in names.items()}
        with torch.no_grad():
            for name, value in names.items():
                value.copy_(start[name])
        return way

    orders = []
    for step in range(2):
        order = list(range(4))
        named_random("distill", "order of domains", trainer.args.seed, step).shuffle(order)
        orders.append(order)
    assert orders[0] != orders[1]
    wanted = [walked(order) for order in orders]
    assert not all(torch.allclose(wanted[0][name], wanted[1][name], rtol=1e-3) for name in names)
    for found, way in zip(gradients_of_steps(trainer), wanted, strict=True):
        assert_same(found, way, LOOSE)
    for name, value in trainable(trainer).items():
        assert torch.equal(value, start[name]), name


def test_tau_follows_its_schedule(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    def steps(**params: Any) -> list[dict[str, Tensor]]:
        params = {"tau": 3.0, "svd": "exact", **params}
        return gradients_of_steps(make_trainer(data=sets[:2], method="iga", method_params=params, max_steps=3, **STILL))

    # The same two sets at each step.
    (without, *_), (masked, *_) = steps(tau=0.0), steps()
    assert max((without[name] - masked[name]).abs().max() for name in masked) > 1e-3
    before, ramping, after = steps(tau_start=1, tau_ramp=1)
    assert_same(before, without, 1e-8)
    assert_same(ramping, steps(tau=1.5)[0], 1e-8)
    assert_same(after, masked, 1e-8)


def test_what_dropout_leaves_is_what_the_factors_were_taken_from(
    make_trainer: MakeTrainer, sets: list[IsomerSet]
) -> None:
    def shares(dropout: float) -> list[Tensor]:
        trainer = make_trainer(
            data=sets[:8], method="irm", gradient_accumulation_steps=4, max_steps=2, lora={"lora_dropout": dropout}
        )
        seen: list[Tensor] = []
        make = trainer._shares

        def record(*args: Any) -> Any:
            made = make(*args)
            seen.append(torch.stack([made.losses, made.scale_gradients]).detach())
            return made

        trainer._shares = record
        trainer.model.eval()  # as after an evaluation
        trainer.train()
        return seen

    seen, plain = shares(0.5), shares(0.0)
    assert len(seen) == 16
    for step in (seen[:8], seen[8:]):
        # Four batches to know the losses, and the same four to go down.
        for known, gone_down in zip(step[:4], step[4:], strict=True):
            assert torch.equal(known, gone_down)
    assert not torch.allclose(seen[0], plain[0], rtol=1e-3)
