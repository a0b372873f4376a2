"""``IsomerSFTTrainer``: TRL's ``SFTTrainer`` with gradients and predictions that agree across domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from trl.trainer.sft_trainer import SFTTrainer

from isograd.capture import DomainCapture
from isograd.common.errors import UserError
from isograd.common.seeding import named_random
from isograd.distill.config import IsomerSFTConfig
from isograd.distill.consistency import ConsistencyTerm, comparable_places
from isograd.distill.hidden import final_states
from isograd.distill.inner_loop import rows_of, walk_domains
from isograd.distill.inputs import (
    EXTRA_COLUMNS,
    DomainCollator,
    as_dataset,
    as_eval_dataset,
    domain_columns,
    refuse_data,
    refuse_inexact,
)
from isograd.distill.loss import OutputRecorder, head_tokens, sum_by_domain
from isograd.distill.method_state import load_states, save_states
from isograd.distill.objective import Shares, StepObjective, drawing_again
from isograd.distill.optimizer import RawSecondMomentAdamW
from isograd.distill.refusals import refuse_method
from isograd.distill.sampler import TellEpoch, train_sampler
from isograd.distill.supervised_head import score_supervised_only
from isograd.distill.watch import GradientWatch
from isograd.gradients import GlobalMethod, InnerLoopMethod, LocalMethod, LossMethod, Method, make_method
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
    TRL's metrics: ``loss/<domain>`` and, where they are on, ``consistency`` and what the domains' gradients have to do
    with each other (:class:`~isograd.distill.watch.GradientWatch`).

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
        refuse_data(args, dataset, self.domains)
        super().__init__(
            model=model,
            args=args,
            train_dataset=dataset,
            eval_dataset=as_eval_dataset(eval_dataset),
            **kwargs,
        )
        score_supervised_only(self._base_model())
        self.data_collator = DomainCollator(self.data_collator)
        # compute_loss below normalizes by the whole accumulation window.
        self.loss_is_scaled_for_ga = True  # type: ignore[assignment]
        refuse_method(self, self.method, sets="set_id" in dataset.column_names)
        self._capture: DomainCapture | None = None
        if isinstance(self.method, LocalMethod | GlobalMethod):
            self._capture = DomainCapture(self.model, self.method, num_domains=len(self.domains), seed=args.seed)
        self._watch: GradientWatch | None = None
        if args.log_gradients:
            self._watch = GradientWatch(self.model, self.method, self.domains, args.seed)
        self._objective = StepObjective(self._sum_over_processes, self.accelerator.num_processes)
        self._term: ConsistencyTerm | None = None
        if args.consistency is not None:
            start, ramp = args.consistency_start, args.consistency_ramp
            self._term = ConsistencyTerm(args.consistency, args.consistency_weight, start=start, ramp=ramp)
        self._window_tokens = torch.ones(len(self.domains))
        self._window_places = 1.0
        self._window: list[Any] = []
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
        extra = {
            "column": args.domain_column,
            "domains": self.domains,
            "compared": None if args.consistency is None else args.consistency_at,
            "tokenizer": self._tokenizer,
            "chat_template": self.chat_template,
        }
        return prepared.map(domain_columns, fn_kwargs=extra, num_proc=args.dataset_num_proc, desc="Aligning domains")

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        return super().evaluate(as_eval_dataset(eval_dataset), *args, **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = [*dict.fromkeys([*(self._signature_columns or []), *EXTRA_COLUMNS])]
        self._signature_columns = columns

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:  # noqa: ARG002 - as overridden
        # The dataset handed in has lost its set_id and domain columns; the trainer's own still has them.
        sampler = train_sampler(self.train_dataset, self.args, len(self.domains))
        self.remove_callback(TellEpoch)
        self.add_callback(TellEpoch(sampler))
        return sampler

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = torch.zeros(len(self.domains) + 1, device=device)
        for batch in batches:
            supervised = (batch["labels"][:, 1:] != -100).to(counts)
            counts[:-1] += sum_by_domain(supervised, batch["domain_index"].to(device), len(self.domains))
            if self._term is not None:
                counts[-1] += comparable_places(batch["aligned"], len(self.domains))
        counts = self._sum_over_processes(counts)
        tokens = counts[:-1]
        lacking = [name for name, count in zip(self.domains, tokens.tolist(), strict=True) if not count]
        if batches and lacking:
            raise UserError(
                f"step {self.state.global_step + 1}: no supervised tokens of {', '.join(lacking)} in the batch; "
                "every step needs every domain"
            )
        self._window_tokens, self._window_places = tokens, max(1.0, counts[-1].item())
        self._window, self._batch_in_window = batches, 0
        return batches, items

    # -- one step --------------------------------------------------------------------------------------------------

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        first = self._batch_in_window == 0
        self._batch_in_window += 1
        last = bool(self.accelerator.sync_gradients)
        ordinary = super().training_step
        if isinstance(self.method, InnerLoopMethod):
            order = list(range(len(self.domains)))
            named_random("distill", "order of domains", self.args.seed, self.state.global_step).shuffle(order)
            return walk_domains(
                [parameter for parameter in self.model.parameters() if parameter.requires_grad],
                order,
                lambda domain: ordinary(model, rows_of(inputs, domain), *args, **kwargs),
                self.method.step_size,
            )
        if first:
            self._begin_step(model)
        watch = self._watch_now()
        with ExitStack() as capturing:
            for capture in (self._capture, None if watch is None else watch.capture):
                if capture is not None:
                    capturing.enter_context(capture.micro_batch(inputs["domain_index"], first=first, last=last))
            loss: Tensor = ordinary(model, inputs, *args, **kwargs)
        if watch is not None and last:
            for name, value in watch.read().items():
                self._metrics["train"][name].append(value)
        if self._capture is not None and last:
            # Here, and not in a callback: the trainer clips right after this returns.
            self._capture.write_gradients(learning_rate=self._get_learning_rate())
        return loss

    def _begin_step(self, model: nn.Module) -> None:
        now = self.state.global_step, self.state.max_steps
        if self._capture is not None:
            self._capture.set_step(*now)
        if (watch := self._watch_now()) is not None:
            watch.begin(*now, {} if self._capture is None else self._capture.states)
        self._objective.begin(len(self._window))
        method = self._method_now()
        if isinstance(method, LossMethod) and not method.linear and len(self._window) > 1:
            # Its factors depend on the means over the whole step, which the backward passes need from the first on.
            shares = []
            # As in the steps themselves: evaluation, or loading, leaves a model without dropout.
            model.train()
            with torch.no_grad(), self.compute_loss_context_manager(), drawing_again(model):
                for batch in self._window:
                    inputs = dict(self._prepare_inputs(batch))
                    domains = inputs.pop("domain_index")
                    inputs.pop("aligned", None)
                    shares.append(self._shares(model(**inputs, use_cache=False, fused_lm_head=True), domains))
            self._objective.know(method, self._window_tokens, shares)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        inputs = dict(inputs)
        domains = inputs.pop("domain_index", None)
        aligned = inputs.pop("aligned", None)
        if not self.model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        recorder = OutputRecorder(model)
        base = self._base_model()
        method = self._method_now()
        needs_head = isinstance(method, LossMethod) and method.needs_head
        nothing: AbstractContextManager[list[Tensor]] = nullcontext([])
        watching = nothing if self._term is None else self._term.watching(base)
        with watching as states, final_states(base) if needs_head else nothing as final:
            super().compute_loss(recorder, inputs, False, num_items_in_batch)
        shares = self._shares(recorder.outputs, domains)
        self._log_losses(shares.losses, domains)
        if isinstance(method, LossMethod) and needs_head:
            head = head_tokens(base, final[0], inputs["labels"], domains)
            loss = self._objective.loss_with_head(method, self._window_tokens, shares, head)
        elif isinstance(method, LossMethod):
            loss = self._objective.loss(method, self._window_tokens, shares)
        else:
            # One domain's loss where a step visits them one by one. DDP averages over processes what is a sum here.
            one = isinstance(method, InnerLoopMethod)
            loss = torch.mul(shares.losses.sum() if one else shares.losses.mean(), self.accelerator.num_processes)
        if self._term is not None:
            loss = loss + self._consistency(base, states[0], aligned)
        return loss

    def _watch_now(self) -> GradientWatch | None:
        if self._watch is None or (self.state.global_step + 1) % self.state.logging_steps:
            return None
        return self._watch

    def _method_now(self) -> Method:
        return self.method.at(self.state.global_step, self.state.max_steps)

    def _base_model(self) -> Any:
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def _shares(self, outputs: Any, domains: Tensor) -> Shares:
        window = self._window_tokens.to(outputs.log_probs.device)

        def by_domain(values: Tensor) -> Tensor:
            return sum_by_domain(values, domains, len(self.domains)) / window

        return Shares(by_domain(-outputs.log_probs), by_domain(-outputs.log_probs - outputs.entropy))

    def _log_losses(self, shares: Tensor, domains: Tensor) -> None:
        # As the step's losses: each micro-batch of each process contributes a share.
        values = (self._sum_over_processes(shares.detach()) * len(self._window)).tolist()
        for domain in sorted(set(domains.tolist())):
            self._metrics["train"][f"loss/{self.domains[domain]}"].append(values[domain])

    def _consistency(self, base: Any, hidden: Tensor, aligned: Tensor) -> Tensor:
        assert self._term is not None
        value = self._term(base, hidden, aligned, len(self.domains))
        self._metrics["train"]["consistency"].append(value.item())
        # A mean over the places of the whole step, of which this batch holds some.
        share = comparable_places(aligned, len(self.domains)) / self._window_places * self.accelerator.num_processes
        return torch.mul(value, self._term.weight(self.state.global_step) * share)

    def _sum_over_processes(self, values: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return values
        total: Tensor = self.accelerator.reduce(values, reduction="sum")
        return total

    # -- what a method remembers -----------------------------------------------------------------------------------

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if isinstance(self.method, LocalMethod) and self.method.keeps_raw_second_moment and self.optimizer is None:
            _, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer_cls_and_kwargs = (
                RawSecondMomentAdamW,
                {name: options[name] for name in ("lr", "betas", "eps") if name in options},
            )
        return super().create_optimizer(model)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            states = {} if self._capture is None else self._capture.states
            save_states({**states, "": self._objective.state}, Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            states = load_states(Path(checkpoint), self.args.device)
            self._objective.state = states.pop("", {})
            if self._capture is not None:
                self._capture.states = states
