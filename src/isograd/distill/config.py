"""Settings of the isomer trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trl.trainer.sft_config import SFTConfig

__all__ = ["IsomerSFTConfig"]


@dataclass
class IsomerSFTConfig(SFTConfig):
    """``SFTConfig`` plus a gradient method and the isomer-consistency term.

    ``packing`` and ``padding_free`` are refused: the rows of a micro-batch must stay rows.
    ``train_sampling_strategy="sequential"`` keeps isomer sets in their order, easy to hard in a curriculum.

    Args:
        method: name of the gradient method, a key of ``isograd.gradients.METHODS``.
        method_params: its parameters, for example ``{"tau": 3.0}``. With IGA's ``projection: retraction`` the step is
            taken without the optimizer: ``max_grad_norm`` has no effect, and a ``weight_decay`` is refused.
        consistency: ``"logit_variance"``, ``"js"`` or ``"kl"`` adds the isomer-consistency term (isograd's own, not
            part of IGA) on predictions to the loss, ``"hidden_cosine"`` one on the penultimate layer's states (the
            Logical Consistency Score itself, which it makes meaningless as a measure); ``None`` adds nothing.
        consistency_weight: the term's factor (lambda).
        consistency_at: which aligned places it compares: the ``"answer"`` alone, the ``"steps"`` values before it, or
            ``"all"``.
        consistency_start: optimizer steps before the term begins to act.
        consistency_ramp: optimizer steps over which its factor then rises, linearly, to lambda.
        log_gradients: at the steps that are logged, also log ``cosine/A/B`` between the gradients of each two domains,
            the share of weights on whose sign they conflict, and the mean of the mask, by layer too. For LoRA models;
            not with Fish, which visits the domains one by one. The gradients are of what is minimized, penalties and
            terms included.
        domain_column: the dataset column that names each row's domain.
    """

    method: str = field(default="erm", metadata={"help": "Gradient method."})
    method_params: dict[str, Any] | str = field(
        default_factory=dict, metadata={"help": "Parameters of the gradient method, as a JSON object."}
    )
    consistency: str | None = field(default=None, metadata={"help": "Isomer-consistency term."})
    consistency_weight: float = field(default=10.0, metadata={"help": "Factor of the isomer-consistency term."})
    consistency_at: str = field(default="answer", metadata={"help": "Places compared: answer, steps or all."})
    consistency_start: int = field(default=0, metadata={"help": "Optimizer steps before the term begins to act."})
    consistency_ramp: int = field(default=0, metadata={"help": "Optimizer steps over which the factor then rises."})
    log_gradients: bool = field(default=False, metadata={"help": "Log how the domains' gradients agree."})
    domain_column: str = field(default="domain", metadata={"help": "Column that names each row's domain."})

    _VALID_DICT_FIELDS = [*SFTConfig._VALID_DICT_FIELDS, "method_params"]  # noqa: RUF012 - transformers reads a list
