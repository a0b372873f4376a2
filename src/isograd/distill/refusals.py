"""Combinations of method and trainer under which a gradient would be silently wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from isograd.common.errors import UserError
from isograd.gradients import Erm, InnerLoopMethod, Irm, LocalMethod, LossMethod, Method

__all__ = ["refuse_method"]

_ADAMW = ("adamw_torch", "adamw_torch_fused")
"""What ``RawSecondMomentAdamW`` may stand in for; others with these letters in their names do other things."""


def refuse_method(trainer: Any, method: Method, *, sets: bool) -> None:
    """Refuse what the method cannot do exactly in this trainer.

    Args:
        trainer: an ``IsomerSFTTrainer`` after TRL's own construction.
        method: its gradient method.
        sets: whether the dataset's rows belong to isomer sets.

    Raises:
        UserError: names the method, the reason and the mend.
    """
    args, name = trainer.args, f"method {trainer.args.method!r}"
    _refuse_one_domain(trainer.domains, args, None if isinstance(method, Erm | Irm) else name)
    if trainer.aux_loss_enabled:
        raise UserError("the router loss of mixture-of-experts models is not supported; set router_aux_loss_coef to 0")
    if not isinstance(method, LossMethod):
        if args.fp16:
            raise UserError(f"{name} needs unscaled gradients: use bf16 instead of fp16")
        if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
            raise UserError(
                f"{name} writes gradients after the backward pass, which DeepSpeed and FSDP do not allow for; train "
                "without them"
            )
    elif not method.linear and (trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
        raise UserError(f"{name} was never tried with DeepSpeed or FSDP; train without them, or use method 'erm'")
    inner = isinstance(method, InnerLoopMethod)
    if args.log_gradients and (inner or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
        reason = f"{name} visits the domains one by one" if inner else "DeepSpeed and FSDP scatter them"
        raise UserError(f"log_gradients compares the domains' gradients within a step, but {reason}; set it to False")
    if inner and args.consistency is not None:
        raise UserError(f"{name} sees one domain at a time, so its members cannot be compared; set consistency to none")
    paired = isinstance(method, LocalMethod) and method.paired
    if paired and not sets:
        raise UserError(f"{name} with variance within sets needs isomer sets: rows with a set_id")
    if inner or paired or (isinstance(method, LossMethod) and method.needs_head):
        reason = "takes a step from one batch" if not inner else "takes its inner steps from one batch"
        if args.gradient_accumulation_steps > 1:
            raise UserError(f"{name} {reason}: set gradient_accumulation_steps to 1 and raise the batch size")
        if trainer.accelerator.num_processes > 1 and not inner:
            raise UserError(f"{name} {reason} of one process: train in one process")
    if inner:
        _refuse_half_precision(trainer.model, name)
    if isinstance(method, LocalMethod):
        _refuse_optimizer(trainer, method, name)


def _refuse_one_domain(domains: Sequence[str], args: Any, name: str | None) -> None:
    comparing = [name, args.consistency and "the isomer-consistency term", args.log_gradients and "log_gradients"]
    for what in filter(None, comparing):
        if len(domains) < 2:
            raise UserError(
                f"{what} compares domains, but the dataset tells only {domains[0]!r}; add rows of another, or train "
                "with method 'erm' alone"
            )


def _refuse_half_precision(model: nn.Module, name: str) -> None:
    for parameter, value in model.named_parameters():
        if value.requires_grad and value.dtype.itemsize < 4:
            raise UserError(
                f"{name} walks in small steps, which round away in {value.dtype} ({parameter}); train float32 "
                "parameters (TRL makes the adapters of a quantized model bfloat16)"
            )


def _refuse_optimizer(trainer: Any, method: LocalMethod, name: str) -> None:
    if method.retracts and trainer.args.weight_decay:
        raise UserError(f"{name} with a retraction steps without the optimizer and its weight_decay; set it to 0")
    if not method.keeps_raw_second_moment:
        return
    if trainer.optimizer is not None or trainer.optimizer_cls_and_kwargs is not None:
        raise UserError(
            f"{name} with a raw second moment is a form of AdamW; leave optimizers and optimizer_cls_and_kwargs out"
        )
    if str(getattr(trainer.args.optim, "value", trainer.args.optim)) not in _ADAMW:
        raise UserError(
            f"{name} with a raw second moment is a form of AdamW; leave optim at its default or use 'adamw_torch'"
        )
