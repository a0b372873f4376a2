"""Settings of the group reinforcement-learning trainer."""

from __future__ import annotations

from dataclasses import dataclass, field

from trl.trainer.grpo_config import GRPOConfig

from isograd.common.errors import UserError
from isograd.reinforce.weights import TokenWeights

__all__ = ["IsomerGRPOConfig"]

_CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo")


@dataclass
class IsomerGRPOConfig(GRPOConfig):
    """``GRPOConfig`` plus what happens to effective token weights within a group.

    ``loss_type`` keeps TRL's meaning (how a token's weight is normalized), ``importance_sampling_level`` says whether
    ratios are taken by token or by sequence, ``epsilon`` and ``epsilon_high`` are the clipping range. With the defaults
    the trainer is TRL's. DFPO (arXiv 2604.13088) is ``group_weights="min_replace"``, ``clip="none"``,
    ``importance_sampling_level="sequence"``, ``loss_type="grpo"``; GRPO-fix is ``clip="symmetric"`` with
    ``loss_type="grpo"``.

    Args:
        group_weights: ``"min_replace"`` gives every completion of a group its smallest weight, ``"orthogonal"`` takes
            from the weights what is parallel to the advantages: with either, shared tokens cancel. ``"none"``.
        clip: ``"asymmetric"`` is PPO's, which asks for the sign of the advantage; ``"symmetric"`` drops a token
            whenever its ratio leaves the range; ``"none"`` drops none.
        share_prompts: read the prompt of a group once, not once a completion, in generation and in training; the same
            numbers for less work. For text models with a key-value cache; not with gradient checkpointing.
        diagnose: log cancellation, learning tax, drift and clipping of every step (``isograd.reinforce.diagnostics``).
    """

    group_weights: str = field(default="none", metadata={"help": "none, min_replace or orthogonal."})
    clip: str = field(default="asymmetric", metadata={"help": "asymmetric, symmetric or none."})
    share_prompts: bool = field(default=False, metadata={"help": "Read the prompt of a group once."})
    diagnose: bool = field(default=True, metadata={"help": "Log cancellation, learning tax, drift and clipping."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip not in ("asymmetric", "symmetric", "none"):
            raise UserError(f"clip is {self.clip!r}; use asymmetric, symmetric or none")
        try:
            self.token_weights()
        except ValueError as error:
            raise UserError(str(error).replace("group is", "group_weights is")) from None
        if self.share_prompts and self.gradient_checkpointing:
            raise UserError("share_prompts keeps the prompts' keys and values; set gradient_checkpointing to False")
        if not self.reweighs:
            return
        asked = f"group_weights={self.group_weights!r}, clip={self.clip!r}"
        if self.loss_type not in _CLIPPED_LOSSES:
            raise UserError(
                f"{asked}: loss_type {self.loss_type!r} has weights of its own; use {', '.join(_CLIPPED_LOSSES)}"
            )
        if self.group_weights == "min_replace" and self.mask_truncated_completions:
            raise UserError(
                f"{asked}: mask_truncated_completions takes completions out of their group, and the advantages of the "
                "rest no longer sum to zero; set it to False, or use group_weights='orthogonal'"
            )
        for name in ("off_policy_mask_threshold", "delta"):
            if getattr(self, name) is not None:
                raise UserError(f"{asked}: {name} would drop tokens by the sign of the advantage again; leave it unset")
        if self.beta != 0.0 and self.use_bias_correction_kl:
            raise UserError(
                f"{asked}: beta with use_bias_correction_kl needs the ratios that these replace; set it to False"
            )

    @property
    def reweighs(self) -> bool:
        """Whether weights differ from those of TRL's loss."""
        return self.group_weights != "none" or self.clip != "asymmetric"

    def token_weights(self) -> TokenWeights:
        """The rule of this configuration's effective weights, up to a factor common to all tokens of a batch.

        Raises:
            ValueError: an unknown choice.
        """
        return TokenWeights(
            level=self.importance_sampling_level,  # type: ignore[arg-type]
            clip=self.clip,  # type: ignore[arg-type]
            low=self.epsilon,
            high=self.epsilon if self.epsilon_high is None else self.epsilon_high,
            normalization="completion" if self.loss_type == "grpo" else "constant",
            group=self.group_weights,  # type: ignore[arg-type]
        )
