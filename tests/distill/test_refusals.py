"""Settings that would be silently without effect, or silently something else, are refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from isograd.common.errors import UserError
from isograd.distill import IsomerSFTConfig, IsomerSFTTrainer
from isograd.distill.inputs import refuse_inexact
from isograd.distill.refusals import refuse_method
from isograd.gradients import METHODS, make_method
from isograd.isomers import IsomerSet, to_rows
from tests.distill.conftest import SHAPE, MakeTrainer
from tests.tiny import tiny_llama

RAW: dict[str, Any] = {"method": "iga", "method_params": {"second_moment": "raw"}}


def refusal(trainer: IsomerSFTTrainer, method: str, **params: Any) -> str:
    trainer.args.method = method
    with pytest.raises(UserError) as caught:
        refuse_method(trainer, make_method(method, **params), sets=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_compares_domains_needs_two(make_trainer: MakeTrainer, sets: list[IsomerSet]) -> None:
    law = Dataset.from_list([row for row in to_rows(sets) if row["domain"] == "law"])
    for method in ("erm", "irm"):
        trainer = make_trainer(data=law, method=method)
    for method in METHODS.keys() - {"erm", "irm", "torchjd"}:
        assert f"method {method!r} compares domains, but the dataset tells only 'law'" in refusal(trainer, method)
    for setting, what in (
        ({"consistency": "js"}, "isomer-consistency term"),
        ({"log_gradients": True}, "log_gradients"),
    ):
        with pytest.raises(UserError, match=f"{what} compares domains"):
            make_trainer(data=law, **setting)
    with pytest.raises(UserError, match="'fishr' compares domains"):
        make_trainer(data=law, method="fishr")


def test_a_raw_second_moment_has_its_own_optimizer(make_trainer: MakeTrainer) -> None:
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    for options in ({"optimizers": (theirs, None)}, {"optimizer_cls_and_kwargs": (torch.optim.SGD, {"lr": 0.1})}):
        with pytest.raises(UserError, match="leave optimizers and optimizer_cls_and_kwargs out"):
            make_trainer(options=options, **RAW)
    trainer = make_trainer(**RAW)  # the default is one of those allowed
    for optim in ("sgd", "schedule_free_adamw", "galore_adamw", "adamw_bnb_8bit", "adamw_anyprecision"):
        trainer.args.optim = optim
        assert "leave optim at its default" in refusal(trainer, "iga", second_moment="raw")
    trainer.args.optim = "adamw_torch"
    refuse_method(trainer, make_method("iga", second_moment="raw"), sets=True)
    trainer.args.weight_decay = 0.1
    assert "set it to 0" in refusal(trainer, "iga", projection="retraction")


def test_small_steps_need_full_precision(tmp_path: Path, tokenizer: Any, sets: list[IsomerSet]) -> None:
    arguments = IsomerSFTConfig(
        output_dir=str(tmp_path),
        method="fish",
        use_cpu=True,
        bf16=False,
        report_to="none",
        gradient_checkpointing=False,
    )
    with pytest.raises(UserError, match=r"'fish' walks in small steps, which round away in torch\.bfloat16 \(.*weight"):
        IsomerSFTTrainer(
            model=tiny_llama(tokenizer, **SHAPE).bfloat16(),
            args=arguments,
            train_dataset=sets[:2],
            processing_class=tokenizer,
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"consistency_weight": float("nan")}, "consistency_weight is nan; use a number from 0"),
        ({"consistency_weight": "ten"}, "consistency_weight is 'ten'; use a number from 0"),
        ({"consistency_weight": True}, "consistency_weight is True; use a number from 0"),
        ({"consistency_start": "a"}, "consistency_start is 'a'; use a whole number from 0"),
        ({"consistency_start": -1}, "consistency_start is -1; use a whole number from 0"),
        ({"consistency_ramp": 2.5}, "consistency_ramp is 2.5; use a whole number from 0"),
    ],
)
def test_numbers_of_the_consistency_term(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        refuse_inexact(IsomerSFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **settings), {})
    assert str(caught.value) == message


def test_a_row_without_spans(
    make_trainer: MakeTrainer, sets: list[IsomerSet], tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = to_rows(sets[:2])
    rows[3]["spans"] = []
    with pytest.raises(UserError, match="a row has no aligned spans"):
        make_trainer(data=Dataset.from_list(rows), consistency="js")


def test_data_that_nothing_prepares_are_refused(make_trainer: MakeTrainer) -> None:
    with pytest.raises(UserError, match="do not set it in dataset_kwargs"):
        make_trainer(dataset_kwargs={"skip_prepare_dataset": True})
