"""Tiny random PEFT models in float64, and the fast and the slow way to per-domain gradients."""

from __future__ import annotations

import contextlib
import warnings

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from isograd.capture import DomainCapture
from isograd.gradients import GlobalMethod, LocalMethod

# Four domains: dividing by 4 is exact, so that the float32 steps inside the models' norms round alike in all passes.
K = 4
ORDERS = {
    "sorted": [0, 0, 1, 1, 2, 2, 3, 3],
    "interleaved": [0, 1, 2, 3, 0, 1, 2, 3],
    "unequal": [2, 0, 3, 0, 1, 3, 3],
}
VOCABULARY = 23
SEQUENCE = 7
LLAMA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GPT2_TARGETS = ["c_attn", "c_proj", "c_fc"]
ARCHITECTURES = ["llama", "qwen3", "gemma", "gpt2"]


def base_model(architecture: str) -> nn.Module:
    torch.manual_seed(0)
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,  # k and v are narrower than q
        "max_position_embeddings": 32,
        "pad_token_id": 0,
    }
    # The ids inside the vocabulary: the defaults are not, and transformers warns.
    ids = {"bos_token_id": 1, "eos_token_id": 2}
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape, **ids))
    if architecture == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**shape, **ids, head_dim=4))
    if architecture == "gemma":
        return GemmaForCausalLM(GemmaConfig(**shape, **ids, head_dim=4))
    small = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**small, **ids, **dropout))


def lora_model(architecture: str = "llama", *, dtype: torch.dtype = torch.float64, **lora: object) -> nn.Module:
    """A PEFT model whose B is not zero, so that both factors have a gradient."""
    gpt2 = architecture == "gpt2"
    options: dict[str, object] = {
        "r": 3,
        "lora_alpha": 5,
        "target_modules": GPT2_TARGETS if gpt2 else LLAMA_TARGETS,
        "fan_in_fan_out": gpt2,
        "task_type": "CAUSAL_LM",
    }
    with warnings.catch_warnings():
        # PEFT still asks transformers by the old name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        model = get_peft_model(base_model(architecture).double(), LoraConfig(**(options | lora)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.to(dtype).train()


def checkpointing(model: nn.Module, use_reentrant: bool) -> None:
    model.enable_input_require_grads()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`gradient_checkpointing_enable` is deprecated", FutureWarning)
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": use_reentrant})
    assert model.base_model.model.model.gradient_checkpointing or model.is_activation_checkpointing


def batch(domains: list[int], *, seed: int = 2, padding: bool = True) -> dict[str, Tensor]:
    """Random token ids with unequal lengths (right padding) and a prompt without labels, and their domains."""
    generator = torch.Generator().manual_seed(seed)
    rows = len(domains)
    ids = torch.randint(3, VOCABULARY, (rows, SEQUENCE), generator=generator)
    labels = ids.clone()
    labels[:, :2] = -100
    mask = torch.ones_like(ids)
    if padding:
        for row in range(rows):
            length = SEQUENCE - row % 3
            ids[row, length:], mask[row, length:], labels[row, length:] = 0, 0, -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "domains": torch.tensor(domains)}


def domain_losses(model: nn.Module, data: dict[str, Tensor], num_domains: int, totals: Tensor | None = None) -> Tensor:
    """Token-mean loss of each domain, [K]; ``totals`` are the token counts of the whole window, if it is longer."""
    logits = model(input_ids=data["input_ids"], attention_mask=data["attention_mask"]).logits[:, :-1]
    labels = data["labels"][:, 1:]
    nats = nn.functional.cross_entropy(logits.mT, labels, ignore_index=-100, reduction="none").sum(1)
    sums = nats.new_zeros(num_domains).index_add(0, data["domains"], nats)
    return sums / (token_counts(data, num_domains) if totals is None else totals)


def token_counts(data: dict[str, Tensor], num_domains: int) -> Tensor:
    counts = (data["labels"][:, 1:] != -100).sum(1)
    return counts.new_zeros(num_domains).index_add(0, data["domains"], counts)


def factors(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad.clone() for name, parameter in factors(model).items()}


def dense_by_autograd(model: nn.Module, data: dict[str, Tensor], num_domains: int) -> dict[str, Tensor]:
    """Per-domain gradients [K m n] of every adapted base weight, from K separate backward passes.

    The gradient of W0 is that of W = W0 + s*B*A. GPT-2 stores W0 transposed.
    """
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    weights = [module.base_layer.weight for module in layers.values()]
    transposed = [type(module.base_layer).__name__ == "Conv1D" for module in layers.values()]
    for weight in weights:
        weight.requires_grad_(True)
    per_domain = []
    for k in range(num_domains):
        loss = domain_losses(model, data, num_domains)[k]
        grads = torch.autograd.grad(loss, weights)
        per_domain.append([grad.mT if flip else grad for grad, flip in zip(grads, transposed, strict=True)])
    for weight in weights:
        weight.requires_grad_(False)
    return {name: torch.stack(grads) for name, grads in zip(layers, zip(*per_domain, strict=True), strict=True)}


def factors_by_autograd(model: nn.Module, data: dict[str, Tensor], num_domains: int = K) -> dict[str, Tensor]:
    """Per-domain gradients of every A [K r n] and B [K m r], from K separate backward passes."""
    parameters = factors(model)
    passes = [
        torch.autograd.grad(domain_losses(model, data, num_domains)[k], list(parameters.values()))
        for k in range(num_domains)
    ]
    return {name: torch.stack(grads) for name, grads in zip(parameters, zip(*passes, strict=True), strict=True)}


def autograd(model: nn.Module, data: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gradients of the mean of the domains' losses."""
    model.zero_grad()
    domain_losses(model, data, K).mean().backward()
    return gradients(model)


def step(
    model: nn.Module,
    capture: DomainCapture,
    data: dict[str, Tensor],
    *,
    autocast: bool = False,
    learning_rate: float | None = None,
) -> None:
    """One window of one micro-batch; leaves the method's gradients in the model."""
    model.zero_grad()
    with capture.micro_batch(data["domains"]):
        with torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext():
            loss = domain_losses(model, data, K).mean()
        loss.backward()
    capture.write_gradients(learning_rate=learning_rate)


def run(
    model: nn.Module,
    method: LocalMethod | GlobalMethod,
    data: dict[str, Tensor],
    *,
    autocast: bool = False,
    **options: object,
) -> dict[str, Tensor]:
    """One step of a capture of its own; returns the dense gradients, if kept."""
    capture = DomainCapture(model, method, num_domains=K, **options)
    step(model, capture, data, autocast=autocast)
    dense = capture.dense_gradients
    capture.remove()
    return dense


def accumulate(model: nn.Module, capture: DomainCapture, data: dict[str, Tensor], parts: int) -> None:
    """The window in several micro-batches, some without rows of some domains."""
    totals = token_counts(data, K)
    chunks = torch.arange(len(data["domains"])).chunk(parts)
    for number, rows in enumerate(chunks):
        part = {name: value[rows] for name, value in data.items()}
        with capture.micro_batch(part["domains"], first=number == 0, last=number == len(chunks) - 1):
            domain_losses(model, part, K, totals).mean().backward()
    capture.write_gradients()


def assert_same(one: dict[str, Tensor], two: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    """Equal names and nearly equal tensors."""
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], two[name], rtol=0, atol=tolerance, msg=lambda text, n=name: f"{n}: {text}"
        )
