"""``IsomerGRPOTrainer``: TRL's ``GRPOTrainer`` with group weights that cancel on shared tokens."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import split_pixel_values_by_grid, split_tensor_dict, unsplit_pixel_values_by_grid

from isograd.common.errors import UserError
from isograd.common.seeding import named_random
from isograd.reinforce.config import IsomerGRPOConfig
from isograd.reinforce.diagnostics import cancellation, drift, learning_tax, shared_nodes
from isograd.reinforce.shared_prompts import prefilled_generation, score_completions, share_a_prompt
from isograd.reinforce.weights import importance_ratio

__all__ = ["IsomerGRPOTrainer", "shuffle_groups"]

_DIAGNOSED = ("grpo", "bnpo", "dr_grpo", "dapo")


def shuffle_groups(batch: dict[str, Any], size: int, order: list[int]) -> dict[str, Any]:
    """Permute groups of ``size`` consecutive rows in every entry of a batch; numbers and None stay.

    Args:
        batch: tensors and lists with one row a completion.
        size: completions in a group.
        order: of the groups.
    """
    rows = torch.tensor([group * size + number for group in order for number in range(size)])

    def permuted(value: Any) -> Any:
        if value is None or (isinstance(value, Tensor) and value.ndim == 0):
            return value
        return value[rows.to(value.device)] if isinstance(value, Tensor) else [value[row] for row in rows.tolist()]

    return {name: permuted(value) for name, value in batch.items()}


class IsomerGRPOTrainer(GRPOTrainer):
    """Group reinforcement learning, used as ``GRPOTrainer`` is.

    TRL shuffles completions before it splits them into micro-batches; here groups are shuffled instead, so that each
    micro-batch holds whole groups and weights can be compared within them. Where the configuration changes the weights,
    the loss of a micro-batch is -sum A_i w_it log pi(y_it) with constant w, in TRL's own normalization; the KL term,
    entropy bonus, corrections for vLLM and all else that TRL adds to its loss stay as they are. (A correction that
    differs between the completions of a group, as vLLM's does, unbalances what the weights have balanced.)

    What is logged of a step (cancellation and the like, and for changed weights ``clip_ratio``) is the mean over its
    micro-batches and processes.

    Args:
        model, reward_funcs, train_dataset, peft_config, ...: as for ``GRPOTrainer``. A ``PeftModel`` loaded with
            ``is_trainable=True`` goes on from a distilled adapter.
        args: an :class:`IsomerGRPOConfig`.

    Raises:
        UserError: a batch size that would break groups, where weights or diagnostics look at a whole group.
    """

    _tag_names = ["trl", "grpo", "isograd"]  # noqa: RUF012 - TRL reads a list
    args: IsomerGRPOConfig

    def __init__(self, model: Any, reward_funcs: Any, args: IsomerGRPOConfig, *rest: Any, **kwargs: Any) -> None:
        # GRPOConfig fills in what is None.
        size, rows, steps = args.num_generations or 0, args.per_device_train_batch_size, args.steps_per_generation or 0
        self._whole = rows % size == 0
        if (args.group_weights != "none" or args.diagnose) and not self._whole:
            raise UserError(_broken_groups(args, size, rows))
        cycle = steps * args.num_iterations
        if args.gradient_accumulation_steps % cycle == 0:
            warnings.warn(
                f"each generation is used for one optimizer step (gradient_accumulation_steps="
                f"{args.gradient_accumulation_steps}, steps_per_generation * num_iterations={cycle}): every ratio "
                "is 1, nothing is clipped, methods differ in their normalization alone; raise steps_per_generation or "
                "num_iterations to take several steps a generation",
                stacklevel=2,
            )
        super().__init__(model, reward_funcs, args, *rest, **kwargs)
        self._rule = args.token_weights()
        if args.reweighs:
            # The rule takes ratios by sequence itself; TRL is left to multiply by 1, token by token.
            self.importance_sampling_level = "token"
        self._scoring: dict[str, Any] | None = None
        self._clipped: dict[str, float] = {}

    # -- whole groups ----------------------------------------------------------------------------------------------

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if not (self._training() and self._whole):
            return super()._prepare_inputs(generation_batch)
        steps: Any = self.args.steps_per_generation
        if self._step % (steps * self.num_iterations) == 0 or self._buffered_inputs is None:
            batch: Any = split_pixel_values_by_grid(self._generate_and_score_completions(generation_batch))
            size: Any = self.num_generations
            order = list(range(len(batch["completion_ids"]) // size))
            where = ("reinforce", "order of groups", self.args.seed, self.state.global_step, self.args.process_index)
            named_random(*where).shuffle(order)
            parts: Any = split_tensor_dict(shuffle_groups(batch, size, order), steps)
            self._buffered_inputs: Any = [unsplit_pixel_values_by_grid(part) for part in parts]
        return self._buffered_inputs[self._step % steps]

    def _training(self) -> bool:
        model: Any = self.model
        return bool(model.training)

    # -- weights ---------------------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        self._scoring = dict(inputs) if self._training() else None
        try:
            loss: Tensor = super()._compute_loss(model, inputs if self._scoring is None else self._scoring)
        finally:
            self._scoring = None
        for name, value in self._clipped.items():
            # To TRL all ratios were 1, and it has logged that nothing was clipped.
            self._metrics["train"][name][-1] = value
        self._clipped = {}
        return loss

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        batch = (model, input_ids, attention_mask, logits_to_keep, *args)
        if self._shares(input_ids, attention_mask, logits_to_keep, kwargs):
            scored = self._score_groups(*batch, **kwargs)
        else:
            scored = super()._get_per_token_logps_and_entropies(*batch, **kwargs)
        if self._scoring is not None:
            # The loss reads advantages and old log-probabilities only after this.
            self._reweigh(self._scoring, scored[0])
        return scored

    # -- prompts read once -----------------------------------------------------------------------------------------

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        if not self.args.share_prompts or self.args.use_vllm:
            return super()._generate_single_turn(*args, **kwargs)
        with prefilled_generation(self.accelerator.unwrap_model(self.model_wrapped), self._group_size()):
            return super()._generate_single_turn(*args, **kwargs)

    def _group_size(self) -> int:
        size: Any = self.num_generations
        return int(size)

    def _shares(self, ids: Tensor, mask: Tensor, completion: int, kwargs: dict[str, Any]) -> bool:
        if not self.args.share_prompts:
            return False
        # What comes with images, or asks for routers, is left to TRL.
        extras = {name for name, value in kwargs.items() if value is not None and value is not False}
        prompt = ids.shape[1] - completion
        return extras <= {"batch_size", "compute_entropy"} and share_a_prompt(
            ids[:, :prompt], mask[:, :prompt], self._group_size()
        )

    def _score_groups(
        self,
        model: Any,
        ids: Tensor,
        mask: Tensor,
        completion: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **_: Any,
    ) -> Any:
        size = self._group_size()
        step = len(ids) if batch_size is None else max(batch_size // size, 1) * size
        backbone = self.accelerator.unwrap_model(model)
        parts = []
        for start in range(0, len(ids), step):
            rows = slice(start, start + step)
            with self.accelerator.autocast():
                parts.append(score_completions(model, backbone, ids[rows], mask[rows], completion, size))
        logps = torch.cat([part.log_probs[:, -completion:] for part in parts])
        entropies = torch.cat([part.entropy[:, -completion:] for part in parts]) if compute_entropy else None
        return logps, entropies, None

    # -- weights by token ------------------------------------------------------------------------------------------

    def _reweigh(self, inputs: dict[str, Any], logps: Tensor) -> None:
        size: Any = self.num_generations if self._whole else 1
        mask = inputs["completion_mask"]
        if "tool_mask" in inputs:
            mask = mask * inputs["tool_mask"]
        old = inputs.get("old_per_token_logps")
        known = logps.detach()
        old = known if old is None else old

        def grouped(values: Tensor) -> Tensor:
            parts: Tensor = values.unflatten(0, (-1, size))  # type: ignore[no-untyped-call]
            return parts

        mask, advantages = grouped(mask.bool()), grouped(inputs["advantages"])
        log_ratio = grouped(known - old)
        if not (self.args.reweighs or self.args.diagnose):
            return
        if advantages.dim() == 2 and self.loss_type in _DIAGNOSED:
            weights = self._rule(log_ratio, advantages, mask, longest=1)
            ratio = importance_ratio(log_ratio, mask, self._rule.level)
            if self.args.diagnose and self._whole:
                self._diagnose(inputs, advantages, weights, mask, grouped(known), log_ratio, ratio)
            if self.args.reweighs:
                self._clipped = self._over_processes(self._clip_ratios(advantages, mask, ratio))
                # What TRL will divide by is in the weights already.
                lengths = mask.sum(-1, keepdim=True).clamp(min=1) if self.loss_type == "grpo" else 1
                factor = weights * lengths * (mask.shape[0] * mask.shape[1])
                inputs["advantages"] = (advantages[..., None] * factor).flatten(0, 1)
                inputs["old_per_token_logps"] = known
        elif self.args.reweighs:
            raise UserError("these rewards give advantages by token; group_weights and clip need one a completion")

    def _diagnose(
        self,
        inputs: dict[str, Any],
        advantages: Tensor,
        weights: Tensor,
        mask: Tensor,
        logps: Tensor,
        log_ratio: Tensor,
        ratio: Tensor,
    ) -> None:
        nodes = shared_nodes(inputs["completion_ids"].unflatten(0, mask.shape[:2]), mask)
        values = {f"cancellation/{name}": value for name, value in cancellation(advantages, weights, nodes).items()}
        tax = learning_tax(advantages, weights, nodes, logps, log_ratio)
        values |= {f"learning_tax/{name}": value for name, value in tax.items()}
        values["drift"] = drift(advantages, log_ratio, mask)
        # Whatever becomes of them.
        count = mask.sum().clamp(min=1)
        values["outside/below"] = (((ratio < 1 - self._rule.low) & mask).sum() / count).item()
        values["outside/above"] = (((ratio > 1 + self._rule.high) & mask).sum() / count).item()
        for name, value in self._over_processes(values).items():
            if not math.isnan(value):
                self._metrics["train"][name].append(value)

    def _clip_ratios(
        self, advantages: Float[Tensor, "N G"], mask: Bool[Tensor, "N G T"], ratio: Float[Tensor, "N G T"]
    ) -> dict[str, float]:
        """Share of tokens that the rule drops for being beyond either end, under TRL's names."""
        dropped = mask & ~self._rule.keeps(ratio, advantages)
        by_side = {"low": dropped & (ratio < 1), "high": dropped & (ratio > 1), "region": dropped}
        count, lengths = mask.sum().clamp(min=1), mask.sum(-1).clamp(min=1)
        values = {f"clip_ratio/{side}_mean": (tokens.sum() / count).item() for side, tokens in by_side.items()}
        values["clip_ratio/low_min"] = (by_side["low"].sum(-1) / lengths).min().item()
        values["clip_ratio/high_max"] = (by_side["high"].sum(-1) / lengths).max().item()
        return values

    def _over_processes(self, values: dict[str, float]) -> dict[str, float]:
        """Means over the processes that know a value; all call this with the same names."""
        if self.accelerator.num_processes == 1:
            return values
        here: Any = torch.tensor([*values.values()], dtype=torch.float32, device=self.accelerator.device)
        means = self.accelerator.gather(here).unflatten(0, (-1, len(values))).nanmean(0)
        return dict(zip(values, means.tolist(), strict=True))


def _broken_groups(args: IsomerGRPOConfig, size: int, rows: int) -> str:
    who, way_out = f"group_weights={args.group_weights!r}", ""
    if args.group_weights == "none":
        who, way_out = "diagnose", ", or set diagnose to False"
    whole = math.ceil(rows / size) * size
    micro_batches, left = divmod(args.gradient_accumulation_steps * rows, whole)
    accumulation = "" if left else f" and gradient_accumulation_steps={micro_batches}"
    return (
        f"{who} compares the completions of a group, but per_device_train_batch_size is {rows}, which breaks groups of "
        f"{size}; use {whole}{accumulation}{way_out}"
    )
