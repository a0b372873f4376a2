"""``IsomerSFTTrainer``: TRL's ``SFTTrainer`` with gradients and predictions that agree across domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from datasets import Dataset
from jaxtyping import Float, Int
from torch import Tensor, nn
from trl.trainer.sft_trainer import SFTTrainer

from isograd.capture import DomainCapture
from isograd.common.errors import UserError
from isograd.distill.alignment import span_tokens
from isograd.distill.config import IsomerSFTConfig
from isograd.distill.inputs import EXTRA_COLUMNS, DomainCollator, as_dataset, as_eval_dataset, refuse_inexact
from isograd.distill.loss import OutputRecorder, head_logits, last_hidden_state, sum_by_domain
from isograd.distill.sampler import DomainBatchSampler, IsomerSampler, group_sets
from isograd.gradients import CONSISTENCY, LocalMethod, LossMethod, make_method
from isograd.isomers import IsomerSet

__all__ = ["IsomerSFTTrainer"]


class IsomerSFTTrainer(SFTTrainer):
    """Supervised fine-tuning on isomer sets, or on any dataset with a ``domain`` column.

    Used as ``SFTTrainer`` is. Datasets may also be sequences of :class:`~isograd.isomers.IsomerSet`; what is evaluated
    on during training may tell other domains than what is trained on. Each micro-batch holds whole sets (or equally
    many rows of every domain); ``per_device_train_batch_size`` counts rows and must be a multiple of the number of
    domains K. The loss of domain k is the token mean over its supervised tokens in the whole accumulation window,

        L_k = (1 / N_k) * sum over tokens of domain k of -log p(token),

    and the method decides what becomes of the K losses or gradients (see ``isograd.gradients``). Logged beside
    TRL's metrics: ``loss/<domain>`` and, where it is on, ``consistency``.

    Args:
        model, processing_class, peft_config, ...: as for ``SFTTrainer``.
        args: an :class:`IsomerSFTConfig`.
        train_dataset: isomer sets, or a ``Dataset`` with ``prompt`` and ``completion`` (or another format of TRL)
            and a domain column; a ``set_id`` column groups the rows of a set.

    Raises:
        UserError: packing, padding-free or streaming data, a batch size that breaks sets, a dataset with fewer than
            two domains for a method that compares them, or a model whose gradients cannot be had exactly.
    """

    _tag_names = ["trl", "sft", "isograd"]  # noqa: RUF012 - TRL reads a list
    args: IsomerSFTConfig
    model: nn.Module
    train_dataset: Dataset

    def __init__(
        self,
        model: Any,
        args: IsomerSFTConfig,
        train_dataset: Dataset | Sequence[IsomerSet],
        eval_dataset: Any = None,
        **kwargs: Any,
    ) -> None:
        refuse_inexact(args, kwargs)
        self.method = make_method(args.method, **(args.method_params or {}))  # type: ignore[arg-type]
        dataset = as_dataset(train_dataset, args.domain_column)
        self.domains: list[str] = sorted(set(dataset[args.domain_column]))
        self._sets = "set_id" in dataset.column_names
        if args.consistency is not None and ("spans" not in dataset.column_names or not self._sets):
            raise UserError(
                "the isomer-consistency term compares the members of isomer sets, but the dataset has no set_id and "
                "spans columns; pass isomer sets or set consistency to none"
            )
        if args.per_device_train_batch_size % len(self.domains):
            raise UserError(
                f"per_device_train_batch_size is {args.per_device_train_batch_size}, which is no multiple of the "
                f"{len(self.domains)} domains ({', '.join(self.domains)}); use "
                f"{max(1, args.per_device_train_batch_size // len(self.domains)) * len(self.domains)}"
            )
        super().__init__(
            model=model,
            args=args,
            train_dataset=dataset,
            eval_dataset=as_eval_dataset(eval_dataset),
            **kwargs,
        )
        self.data_collator = DomainCollator(self.data_collator)
        # compute_loss below normalizes by the whole accumulation window.
        self.loss_is_scaled_for_ga = True  # type: ignore[assignment]
        self._capture: DomainCapture | None = None
        if self.aux_loss_enabled:
            raise UserError(
                "the router loss of mixture-of-experts models is not supported; set router_aux_loss_coef to 0"
            )
        if isinstance(self.method, LocalMethod):
            if args.fp16:
                raise UserError(f"method {args.method!r} needs unscaled gradients: use bf16 instead of fp16")
            if self.is_deepspeed_enabled or self.is_fsdp_enabled:
                raise UserError(
                    f"method {args.method!r} writes gradients after the backward pass, which DeepSpeed and "
                    "FSDP do not allow for; train without them"
                )
            self._capture = DomainCapture(self.model, self.method, num_domains=len(self.domains), seed=args.seed)
        self._window_tokens = torch.ones(len(self.domains))
        self._window_batches = 1
        self._batch_in_window = 0

    # -- data ------------------------------------------------------------------------------------------------------

    def _prepare_dataset(
        self,
        dataset: Any,
        processing_class: Any,
        args: Any,
        packing: bool,
        formatting_func: Any,
        dataset_name: str,
    ) -> Any:
        prepared = super()._prepare_dataset(dataset, processing_class, args, packing, formatting_func, dataset_name)
        if dataset_name != "train":
            return prepared
        column = args.domain_column
        index = {name: number for number, name in enumerate(self.domains)}
        align = args.consistency is not None
        answer_only = args.consistency_at == "answer"
        # Locals, not self: datasets pickles what the function closes over to name its cache.
        tokenizer, chat_template = self._tokenizer, self.chat_template

        def add_columns(row: dict[str, Any]) -> dict[str, Any]:
            extra: dict[str, Any] = {"domain_index": index[row[column]]}
            if align:
                places = span_tokens(row, tokenizer, chat_template)
                if places[-1] >= len(row["input_ids"]):
                    raise UserError("max_length cuts off aligned spans; raise it")
                extra["aligned"] = places[-1:] if answer_only else places
            return extra

        return prepared.map(add_columns, num_proc=args.dataset_num_proc, desc="Aligning domains")

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        return super().evaluate(as_eval_dataset(eval_dataset), *args, **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = [*dict.fromkeys([*(self._signature_columns or []), *EXTRA_COLUMNS])]
        self._signature_columns = columns

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:  # noqa: ARG002 - as overridden
        # The dataset handed in has lost its set_id and domain columns; the trainer's own still has them.
        dataset = self.train_dataset
        domains = dataset[self.args.domain_column]
        per_domain = self.args.per_device_train_batch_size // len(self.domains)
        if self._sets:
            sets = group_sets(dataset["set_id"], domains)
            shuffled = self.args.train_sampling_strategy == "random"
            return IsomerSampler(sets, per_domain, self.args.seed, shuffled=shuffled)
        if self.args.train_sampling_strategy != "random":
            raise UserError("train_sampling_strategy 'sequential' is for isomer sets; these rows have no set_id")
        return DomainBatchSampler(domains, per_domain, self.args.seed)

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = torch.zeros(len(self.domains), device=device)
        for batch in batches:
            supervised = (batch["labels"][:, 1:] != -100).to(counts)
            counts += sum_by_domain(supervised, batch["domain_index"].to(device), len(self.domains))
        if self.accelerator.num_processes > 1:
            counts = self.accelerator.reduce(counts, reduction="sum")
        lacking = [name for name, count in zip(self.domains, counts.tolist(), strict=True) if not count]
        if batches and lacking:
            raise UserError(
                f"step {self.state.global_step + 1}: no supervised tokens of {', '.join(lacking)} in the batch; "
                "every step needs every domain"
            )
        self._window_tokens, self._window_batches, self._batch_in_window = counts, max(1, len(batches)), 0
        return batches, items

    # -- one step --------------------------------------------------------------------------------------------------

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        first = self._batch_in_window == 0
        self._batch_in_window += 1
        last = bool(self.accelerator.sync_gradients)
        capturing: AbstractContextManager[None] = (
            nullcontext()
            if self._capture is None
            else self._capture.micro_batch(inputs["domain_index"], first=first, last=last)
        )
        with capturing:
            loss: Tensor = super().training_step(model, inputs, *args, **kwargs)
        if self._capture is not None and last:
            # Here, and not in a callback: the trainer clips right after this returns.
            self._capture.write_gradients()
        return loss

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inputs = dict(inputs)
        domains = inputs.pop("domain_index", None)
        aligned = inputs.pop("aligned", None)
        if not self.model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        recorder = OutputRecorder(model)
        watched = self.args.consistency is not None
        base = self._base_model()
        watching: AbstractContextManager[list[Tensor]] = (
            last_hidden_state(base.base_model) if watched else nullcontext([])
        )
        with watching as states:
            super().compute_loss(recorder, inputs, False, num_items_in_batch)
        loss = self._combine(-recorder.outputs.log_probs, domains)
        if watched:
            loss = loss + self._consistency(states[0], aligned) / self._window_batches
        return loss

    def _base_model(self) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def _combine(self, nll: Float[Tensor, "rows tokens"], domains: Int[Tensor, rows]) -> Tensor:
        """The scalar to backpropagate; summed over the window's micro-batches it is the method's loss."""
        window = self._window_tokens.to(nll.device)
        losses = sum_by_domain(nll, domains, len(self.domains)) / window
        # Logged as the window's loss: each micro-batch of each process contributes a share.
        shares = self.accelerator.reduce(losses.detach(), reduction="sum") * self._window_batches
        for name, value in zip(self.domains, shares.tolist(), strict=True):
            self._metrics["train"][f"loss/{name}"].append(value)
        loss = self.method.combine(losses, window) if isinstance(self.method, LossMethod) else losses.mean()
        # DDP averages over processes what is a sum here.
        return torch.mul(loss, self.accelerator.num_processes)

    def _consistency(self, hidden: Float[Tensor, "rows tokens width"], aligned: Int[Tensor, "rows spans"]) -> Tensor:
        # [sets * K, spans] -> [places, K]; sets of fewer spans than others are padded with -1.
        members = len(self.domains)
        columns = aligned.unflatten(0, (-1, members)).transpose(1, 2).flatten(0, 1)
        rows = torch.arange(len(aligned), device=hidden.device).unflatten(0, (-1, members))
        rows = rows.repeat_interleave(aligned.shape[1], 0)
        # The hidden state before a token predicts it.
        logits = head_logits(self._base_model(), hidden[rows, columns - 1])
        assert self.args.consistency is not None
        term = CONSISTENCY[self.args.consistency](logits, columns >= 0)
        self._metrics["train"]["consistency"].append(term.item())
        return torch.mul(term, self.args.consistency_weight)
