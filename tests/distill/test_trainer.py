from __future__ import annotations

from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from isograd.common.errors import UserError
from isograd.isomers import IsomerSet, create_isomers, to_rows
from tests.distill.conftest import MakeTrainer, gradients_of_first_step

FULL_RANK = {"tau": 0.0, "svd": "none"}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], tolerance: float = 1e-10) -> None:
    assert first.keys() == second.keys()
    scale = max(value.abs().max().item() for value in first.values())
    assert scale > 0
    for name, value in first.items():
        assert torch.allclose(value, second[name], rtol=0, atol=tolerance * scale), name


def reference_gradients(trainer: Any, rows: list[dict[str, Any]], tokenizer: Any) -> dict[str, torch.Tensor]:
    """Domain-balanced ERM by autograd, one row at a time, with the model's own logits."""
    model = trainer.model
    model.zero_grad()
    domains = sorted({row["domain"] for row in rows})
    totals = dict.fromkeys(domains, 0.0)
    counts = dict.fromkeys(domains, 0)
    for row in rows:
        prompt = tokenizer(row["prompt"]).input_ids
        ids = tokenizer(row["prompt"] + row["completion"] + tokenizer.eos_token).input_ids
        logits = model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1]
        target = torch.tensor(ids[len(prompt) :])
        totals[row["domain"]] = totals[row["domain"]] + torch.nn.functional.cross_entropy(
            logits, target, reduction="sum"
        )
        counts[row["domain"]] += len(target)
    torch.stack([totals[name] / counts[name] for name in domains]).mean().backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("method", ["erm", "iga"])
def test_without_a_mask_every_method_is_domain_balanced_erm(
    make_trainer: MakeTrainer, sets: list[IsomerSet], tokenizer: PreTrainedTokenizerBase, method: str
) -> None:
    params = {} if method == "erm" else FULL_RANK
    trainer = make_trainer(data=sets[:2], method=method, method_params=params)
    wanted = reference_gradients(trainer, to_rows(sets[:2]), tokenizer)
    trainer.model.zero_grad()
    # Not closer: the model's norms and TRL's head round to float32, and padding changes the order of sums.
    assert_same(gradients_of_first_step(trainer), wanted, tolerance=2e-6)


@pytest.mark.parametrize("method", ["erm", "iga"])
@pytest.mark.parametrize("consistency", [None, "logit_variance", "js"])
def test_accumulation_changes_nothing(
    make_trainer: MakeTrainer, sets: list[IsomerSet], method: str, consistency: str | None
) -> None:
    settings = {"data": sets[:8], "method": method, "consistency": consistency}
    if method == "iga":
        settings["method_params"] = {"svd": "exact"}
    whole = gradients_of_first_step(make_trainer(per_device_train_batch_size=32, **settings))
    parts = gradients_of_first_step(
        make_trainer(per_device_train_batch_size=8, gradient_accumulation_steps=4, **settings)
    )
    assert_same(whole, parts)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_nothing(
    make_trainer: MakeTrainer, sets: list[IsomerSet], reentrant: bool
) -> None:
    settings = {"data": sets[:2], "method": "iga", "consistency": "logit_variance"}
    plain = gradients_of_first_step(make_trainer(**settings))
    checkpointed = gradients_of_first_step(
        make_trainer(
            gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": reentrant}, **settings
        )
    )
    assert_same(plain, checkpointed)


def test_the_consistency_term_is_the_one_of_the_model_s_own_logits(
    make_trainer: MakeTrainer, sets: list[IsomerSet], tokenizer: PreTrainedTokenizerBase
) -> None:
    trainer = make_trainer(data=sets[:2], consistency="logit_variance", consistency_weight=7.0)
    predictions = []
    for isomer_set in sets[:2]:
        members = []
        for member in sorted(isomer_set.members, key=lambda item: item.domain):
            text = member.prompt + member.completion
            ids = tokenizer(text[: len(text) - len(member.answer) - 1]).input_ids
            with torch.no_grad():
                members.append(trainer.model(torch.tensor([ids])).logits[0, -1].softmax(-1))
        predictions.append(torch.stack(members))
    wanted = torch.stack(predictions).var(1, unbiased=False).sum(-1).mean()
    trainer.train()
    logged = trainer.state.log_history[0]
    assert logged["consistency"] == pytest.approx(wanted.item(), rel=1e-5)
    task = sum(value for name, value in logged.items() if name.startswith("loss/")) / 4
    assert logged["loss"] == pytest.approx(task + 7.0 * wanted.item(), rel=1e-5)


def test_losses_are_logged_by_domain(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.train()
    names = {name for name in trainer.state.log_history[0] if name.startswith("loss/")}
    assert names == {"loss/law", "loss/mathematics", "loss/medicine", "loss/science"}


def test_training_lowers_the_loss(make_trainer: MakeTrainer) -> None:
    for method in ("erm", "iga"):
        trainer = make_trainer(method=method, max_steps=30, learning_rate=1e-2, per_device_train_batch_size=16)
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        # A random model whose embeddings stay frozen can do no more in 30 steps.
        assert losses[-1] < losses[0] - 0.2, method


def test_any_dataset_with_a_domain_column(make_trainer: MakeTrainer) -> None:
    rows = [
        {"text": f"{word} {number} {word}", "topic": topic}
        for topic, word, count in (("x", "law", 9), ("y", "proof", 5))
        for number in range(count)
    ]
    trainer = make_trainer(
        data=Dataset.from_list(rows), domain_column="topic", per_device_train_batch_size=4, max_steps=3, method="iga"
    )
    trainer.train()
    assert {"loss/x", "loss/y"} <= trainer.state.log_history[0].keys()


def test_evaluation_during_training(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    trainer = make_trainer(method="iga", consistency="js")
    trainer.train()
    held_out = create_isomers(seed=9, size=2, split="validation")[:]
    unseen = create_isomers(seed=9, size=2, split="ood_domain")
    assert trainer.evaluate(Dataset.from_list(to_rows(held_out)))["eval_loss"] > 0
    losses = trainer.evaluate({"same": held_out, "unseen": unseen})
    assert losses["eval_same_loss"] != losses["eval_unseen_loss"]


def test_sets_of_different_depths_share_a_batch(make_trainer: MakeTrainer) -> None:
    mixed = [*create_isomers(size=4, depth=1), *create_isomers(size=4, depth=3)]
    logged = []
    for places in ("answer", "all"):
        trainer = make_trainer(
            data=mixed, consistency="js", consistency_at=places, per_device_train_batch_size=32, max_steps=1
        )
        trainer.train()
        logged.append(trainer.state.log_history[0]["consistency"])
    assert 0 < logged[0] != logged[1] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"packing": True}, "packing mixes rows"),
        ({"padding_free": True}, "padding_free mixes rows"),
        ({"per_device_train_batch_size": 6}, r"no multiple of the 4 domains .*; use 4$"),
        ({"per_device_train_batch_size": 64}, "12 isomer sets but one micro-batch takes 16"),
        ({"method": "egra"}, "unknown method 'egra'"),
        ({"method": "iga", "method_params": {"tua": 1}}, "tua"),
        ({"consistency": "l3"}, "unknown consistency 'l3'"),
        ({"consistency_at": "end"}, "there are: answer, steps, all"),
        ({"consistency_start": -1}, "consistency_start is -1"),
        ({"label_smoothing_factor": 0.1}, "label smoothing"),
        ({"loss_type": "dft"}, "'dft' is not supported"),
        ({"eval_packing": True}, "eval_packing mixes rows"),
        ({"method": "iga", "lora": {"lora_dropout": 0.1}}, "dropout"),
        ({"method": "iga", "lora": {"use_dora": True}}, "DoRA"),
        ({"max_length": 78, "consistency": "js"}, "max_length"),
        ({"data": []}, "empty"),
        ({"data": ["text"]}, "pass isomer sets or a datasets.Dataset"),
        ({"data": Dataset.from_list([{"text": "a"}])}, "no column 'domain'"),
        (
            {"data": Dataset.from_list([{"text": "a", "domain": "x"}]), "consistency": "js"},
            "no set_id and spans columns",
        ),
    ],
)
def test_what_is_refused(make_trainer: MakeTrainer, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_trainer(**settings).train()


def test_a_set_cut_short_is_refused(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    rows = to_rows(sets)[:-1]
    with pytest.raises(UserError, match="lacks science"):
        make_trainer(data=Dataset.from_list(rows)).train()
