"""The recipe of the built-in student: pretrain a small Llama on CPU, from a seed, resumable."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json
from isograd.common.seeding import derive_seed
from isograd.student.corpus import documents, vocabulary_text
from isograd.student.tokenizer import build_tokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["Recipe", "build_student"]


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the student's weights on one machine.

    Attributes:
        seed: of initialization and corpus.
        steps: optimizer steps.
        rows: packed sequences in a batch.
        length: tokens in a packed sequence.
        learning_rate: peak; linear warm-up over 3% of the steps, then a cosine to 2% of the peak.
        hidden: width; the feed-forward layer is three times as wide.
        layers: transformer blocks.
        heads: attention heads.
        context: longest sequence in tokens.
        threads: of torch; another number rounds sums differently and gives other weights.
    """

    seed: int = 0
    steps: int = 3600
    rows: int = 36
    length: int = 112
    learning_rate: float = 2e-3
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    context: int = 512
    threads: int = 2


Progress = Callable[[int, float], None]
SAVE_EVERY = 250


def _new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=3 * recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("student", "initialization", recipe.seed))
        return LlamaForCausalLM(config)


def _batch(recipe: Recipe, step: int, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Packed documents of one step, [rows, length]; a row's last document is cut where the row ends."""
    rows = []
    stream = documents(recipe.seed, step)
    for _ in range(recipe.rows):
        row: list[int] = []
        while len(row) < recipe.length:
            row += [*tokenizer(next(stream)).input_ids, tokenizer.eos_token_id]
        rows.append(row[: recipe.length])
    return torch.tensor(rows)


def _rate(recipe: Recipe, step: int) -> float:
    done = step / recipe.steps
    return (
        recipe.learning_rate
        * min(1.0, (step + 1) / (0.03 * recipe.steps))
        * (0.49 * (1 + math.cos(math.pi * done)) + 0.02)
    )


def build_student(output: Path, recipe: Recipe, progress: Progress | None = None) -> Path:
    """Pretrain the student and write it as an ordinary checkpoint folder.

    Interrupted at any moment it resumes from its last saved step (kept in ``output/.partial``) and ends with the
    same weights as an uninterrupted run.

    Args:
        output: the folder for the checkpoint.
        recipe: what to build.
        progress: called after each step with the number of steps done and the loss in nats per token.

    Returns:
        ``output``, loadable by ``AutoModelForCausalLM`` and ``AutoTokenizer``.

    Raises:
        UserError: ``output`` holds the unfinished work of another recipe.
    """
    torch.set_num_threads(recipe.threads)
    partial = output / ".partial"
    words = "\n".join(vocabulary_text())
    identity = {**asdict(recipe), "words": hashlib.blake2b(words.encode(), digest_size=8).hexdigest()}
    tokenizer = build_tokenizer(recipe.context)
    model = _new_model(recipe, tokenizer)
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    first = 0
    if (partial / "state.json").is_file():
        state = read_json(partial / "state.json")
        if state["recipe"] != identity:
            raise UserError(f"{output}: holds the unfinished work of another recipe; delete {partial} first")
        first = state["step"]
        _restore(partial / f"{first}.safetensors", first, parameters, optimizer)
    model.train()
    for step in range(first, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(recipe, step)
        batch = _batch(recipe, step, tokenizer)
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if progress is not None:
            progress(step + 1, loss.item())
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < recipe.steps:
            _save(partial, step + 1, identity, parameters, optimizer)
    model.eval()
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    write_json(output / "recipe.json", asdict(recipe))
    for file in partial.glob("*"):
        file.unlink()
    if partial.is_dir():
        partial.rmdir()
    return output


def _save(
    partial: Path,
    step: int,
    identity: dict[str, Any],
    parameters: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write weights and moments first and the state that names them last, so a kill leaves a usable pair."""
    partial.mkdir(parents=True, exist_ok=True)
    tensors = {f"weight/{name}": value.detach() for name, value in parameters.items()}
    for name, value in parameters.items():
        for moment in ("exp_avg", "exp_avg_sq"):
            tensors[f"{moment}/{name}"] = optimizer.state[value][moment]
    save_file(tensors, partial / f"{step}.safetensors")
    write_json(partial / "state.json", {"step": step, "recipe": identity})
    for old in partial.glob("*.safetensors"):
        if old.name != f"{step}.safetensors":
            old.unlink()


def _restore(
    path: Path, step: int, parameters: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> None:
    tensors = load_file(path)
    for name, value in parameters.items():
        with torch.no_grad():
            value.copy_(tensors[f"weight/{name}"])
        optimizer.state[value] = {
            "step": torch.tensor(float(step)),
            "exp_avg": tensors[f"exp_avg/{name}"],
            "exp_avg_sq": tensors[f"exp_avg_sq/{name}"],
        }
