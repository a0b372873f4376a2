"""What goes into the isomer trainer: datasets, collated batches, and settings that are refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset, DatasetDict

from isograd.common.errors import UserError
from isograd.distill.alignment import span_tokens
from isograd.distill.config import IsomerSFTConfig
from isograd.distill.consistency import PLACES, choose_places
from isograd.gradients import CONSISTENCY, HIDDEN_CONSISTENCY
from isograd.isomers import IsomerSet, to_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "EXTRA_COLUMNS",
    "DomainCollator",
    "as_dataset",
    "as_eval_dataset",
    "domain_columns",
    "refuse_data",
    "refuse_inexact",
]

EXTRA_COLUMNS = ("domain_index", "aligned")
"""Columns that the trainer adds to what TRL prepares."""


class DomainCollator:
    """Adds the domain index and the aligned places to what the wrapped collator makes."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = self.collator(examples)
        if "domain_index" in examples[0]:
            batch["domain_index"] = torch.tensor([example["domain_index"] for example in examples])
        if "aligned" in examples[0]:
            places = [torch.tensor(example["aligned"], dtype=torch.long) for example in examples]
            batch["aligned"] = torch.nn.utils.rnn.pad_sequence(places, batch_first=True, padding_value=-1)
        return batch


def as_dataset(data: Any, column: str) -> Dataset:
    if not isinstance(data, Dataset):
        if not isinstance(data, Sequence) or not all(isinstance(item, IsomerSet) for item in data[:1]):
            raise UserError(
                f"train_dataset is a {type(data).__name__}; pass isomer sets or a datasets.Dataset (streaming cannot "
                "keep sets whole)"
            )
        data = Dataset.from_list(to_rows(data))
        if column != "domain":
            data = data.rename_column("domain", column)
    if not len(data):
        raise UserError("the dataset is empty")
    if column not in data.column_names:
        raise UserError(f"the dataset has no column {column!r}; it has: {', '.join(data.column_names)}")
    return data


def as_eval_dataset(data: Any) -> Any:
    """Isomer sets as rows, alone or in a dict of several; anything else as it is."""
    if isinstance(data, dict) and not isinstance(data, DatasetDict):
        return {name: as_eval_dataset(part) for name, part in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str) and len(data) and isinstance(data[0], IsomerSet):
        return Dataset.from_list(to_rows(data))
    return data


def domain_columns(
    row: dict[str, Any],
    *,
    column: str,
    domains: Sequence[str],
    compared: str | None,
    tokenizer: PreTrainedTokenizerBase,
    chat_template: str | None,
) -> dict[str, Any]:
    """What the trainer adds to a row that TRL has tokenized: its domain's number, and the aligned places.

    Args:
        row: with ``input_ids``.
        column: names the row's domain.
        domains: all of them, in the order of their numbers.
        compared: one of ``PLACES``; None where nothing is compared.
        tokenizer, chat_template: those with which the row was tokenized.

    Raises:
        UserError: as :func:`~isograd.distill.alignment.span_tokens`, or nothing of what is to be compared is there.
    """
    extra: dict[str, Any] = {"domain_index": domains.index(row[column])}
    if compared is not None:
        extra["aligned"] = choose_places(span_tokens(row, tokenizer, chat_template), compared)
        if not extra["aligned"]:
            raise UserError("consistency_at is 'steps', but a row has no step before its answer; use 'answer'")
    return extra


def refuse_data(args: IsomerSFTConfig, dataset: Dataset, domains: Sequence[str]) -> None:
    """Refuse a dataset that the settings do not go with.

    Raises:
        UserError: nothing to compare for the consistency term, or a batch size that breaks sets.
    """
    if args.consistency is not None and not {"set_id", "spans"} <= set(dataset.column_names):
        raise UserError(
            "the isomer-consistency term compares the members of isomer sets, but the dataset has no set_id and "
            "spans columns; pass isomer sets or set consistency to none"
        )
    rows = args.per_device_train_batch_size
    if rows % len(domains):
        raise UserError(
            f"per_device_train_batch_size is {rows}, which is no multiple of the {len(domains)} domains "
            f"({', '.join(domains)}); use {max(1, rows // len(domains)) * len(domains)}"
        )


def refuse_inexact(args: Any, others: dict[str, Any]) -> None:
    """Refuse settings under which per-domain losses or gradients would be silently wrong."""
    if not isinstance(args, IsomerSFTConfig):
        raise UserError(f"args is a {type(args).__name__}; pass an IsomerSFTConfig")
    if others.get("compute_loss_func") is not None:
        raise UserError("compute_loss_func would replace the per-domain losses; leave it out")
    for name in ("packing", "padding_free", "eval_packing"):
        if getattr(args, name):
            raise UserError(f"{name} mixes rows of different domains in one sequence; set {name} to false")
    if isinstance(args.dataset_kwargs, dict) and args.dataset_kwargs.get("skip_prepare_dataset"):
        raise UserError(
            "skip_prepare_dataset would leave out which row is of which domain; do not set it in dataset_kwargs"
        )
    if args.train_sampling_strategy not in ("random", "sequential"):
        raise UserError(
            f"train_sampling_strategy {args.train_sampling_strategy!r} would tear sets apart; "
            "use 'random', or 'sequential' for a curriculum"
        )
    if args.consistency is not None and args.truncation_mode == "keep_end":
        raise UserError("truncation_mode 'keep_end' moves the aligned spans; use 'keep_start'")
    if args.label_smoothing_factor:
        raise UserError("label smoothing needs full logits, which this trainer does not make; set it to 0")
    if args.loss_type != "nll":
        raise UserError(f"loss_type {args.loss_type!r} is not supported by this trainer; use 'nll'")
    forms = [*CONSISTENCY, *HIDDEN_CONSISTENCY]
    if args.consistency is not None and args.consistency not in forms:
        raise UserError(f"unknown consistency {args.consistency!r}; there are: {', '.join(forms)}")
    if args.consistency_at not in PLACES:
        raise UserError(f"consistency_at is {args.consistency_at!r}; there are: {', '.join(PLACES)}")
    for name, kinds in (("consistency_weight", (int, float)), ("consistency_start", int), ("consistency_ramp", int)):
        value = getattr(args, name)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value) or value < 0:
            raise UserError(f"{name} is {value!r}; use a {'whole ' if kinds is int else ''}number from 0")
