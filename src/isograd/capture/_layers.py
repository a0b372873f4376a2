"""Which modules of a PEFT model are captured, and what makes a model refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peft.tuners.lora.layer import Embedding, LoraLayer, MultiheadAttention, ParamWrapper, _ConvNd
from peft.tuners.lora.tp_layer import LoraParallelLinear
from torch import Tensor, nn

from isograd.common.errors import UserError

__all__ = ["Layer", "check_layer", "find_layers", "refuse_half_precision"]

# A and B of these do not act as y += s * x A' B' on the last dimension of their input.
_OTHER_SHAPES = (Embedding, _ConvNd, MultiheadAttention, ParamWrapper)


@dataclass(eq=False)
class Layer:
    """One LoRA layer with its active adapter: ``W = W0 + scaling * B @ A``, W [m n], A [r n], B [m r]."""

    name: str
    module: Any  # a LoraLayer, which is a mixin of nn.Module that does not say so
    adapter: str

    @property
    def A(self) -> nn.Parameter:  # noqa: N802
        """The lora_A weight, [r n], whether the base layer stores its weight transposed or not."""
        weight: nn.Parameter = self.module.lora_A[self.adapter].weight
        return weight

    @property
    def B(self) -> nn.Parameter:  # noqa: N802
        """The lora_B weight, [m r]."""
        weight: nn.Parameter = self.module.lora_B[self.adapter].weight
        return weight

    @property
    def scaling(self) -> float:
        """s: alpha / r, or alpha / sqrt(r) for rank-stabilized LoRA; rank and alpha patterns are in it."""
        return float(self.module.scaling[self.adapter])


def find_layers(model: nn.Module, adapter: str | None) -> list[Layer]:
    """All LoRA layers of the active adapter, in module order, after every check that can be made before a pass.

    Raises:
        UserError: the model has no such layer, or one whose gradient could not be exact, or parameters that train
            beside A and B.
    """
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    if not found:
        raise UserError("the model has no LoRA layers; wrap it with peft.get_peft_model(model, LoraConfig(...)) first")
    layers = []
    for name, module in found:
        active = [one for one in module.active_adapters if one in _adapters(module)]
        wanted = adapter or (active[0] if active else None)
        if wanted is not None and (active or wanted in _adapters(module)):
            layer = Layer(name, module, wanted)
            check_layer(layer)
            layers.append(layer)
    if not layers:
        raise UserError(f"no LoRA layer has an active adapter{f' {adapter!r}' if adapter else ''}; use set_adapter")
    _check_parameters(model, layers)
    return layers


def check_layer(layer: Layer) -> None:
    """Refuse a layer whose captured gradient would not be the gradient of its A and B.

    Raises:
        UserError: names the layer, the reason and the mend.
    """
    for reason in _refusals(layer):
        raise UserError(f"layer {layer.name}: {reason}")


def refuse_half_precision(layers: list[Layer]) -> None:
    """Refuse factors in which a small step of plain descent rounds away, for methods that take such steps.

    Raises:
        UserError: names the first layer with such factors, and the mend.
    """
    for layer in layers:
        if layer.A.dtype.itemsize < 4 or layer.B.dtype.itemsize < 4:
            raise UserError(
                f"layer {layer.name}: its factors are {layer.A.dtype}, in which the steps of a method that retracts "
                "round away; train float32 factors (TRL makes those of a quantized model bfloat16)"
            )


def _refusals(layer: Layer) -> Iterator[str]:
    module, adapter = layer.module, layer.adapter
    if isinstance(module, _OTHER_SHAPES):
        kind = type(module).__name__
        yield f"LoRA on a {kind} cannot be captured; leave it out of target_modules (or target_parameters)"
    if isinstance(module, LoraParallelLinear):
        yield "a tensor-parallel layer holds only part of its weight; train without tensor parallelism"
    active = [one for one in module.active_adapters if one in _adapters(module)]
    if len(active) > 1:
        yield f"adapters {active} are active at once; activate one with model.set_adapter(...)"
    if active != [adapter]:
        yield f"adapter {adapter!r} is not the active one ({active or None}); call model.set_adapter({adapter!r})"
    if module.merged:
        yield "its adapter is merged into the base weight; call model.unmerge_adapter() first"
    if module.use_dora.get(adapter):
        yield "DoRA's gradient is not that of W0 + s*B*A; set use_dora=False"
    if (variant := module.lora_variant.get(adapter)) is not None:
        yield f"the LoRA variant {type(variant).__name__} changes the forward pass; use plain LoRA"
    if getattr(module.lora_dropout[adapter], "p", 0.0) > 0:
        yield "LoRA dropout makes the adapter see another input than the layer; set lora_dropout=0"
    if module.lora_bias.get(adapter):
        yield "a bias on lora_B is not part of W0 + s*B*A; set lora_bias=False"


def _adapters(module: LoraLayer) -> list[str]:
    return [*module.lora_A, *module.lora_embedding_A]


def _check_parameters(model: nn.Module, layers: list[Layer]) -> None:
    owner: dict[int, str] = {}
    for layer in layers:
        factors: tuple[Tensor, Tensor] = (layer.A, layer.B)
        for factor in factors:
            if id(factor) in owner:
                raise UserError(
                    f"layer {layer.name}: shares its factors with {owner[id(factor)]}; adapt only one of them"
                )
            owner[id(factor)] = layer.name
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in owner:
            raise UserError(
                f"parameter {name} trains but is no LoRA factor of the active adapter, so no method would merge its "
                "gradient; freeze it (modules_to_save=None, bias='none', one adapter)"
            )
