"""A student in training, probed on the way."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback, set_seed

from isograd.capture import DomainCapture
from isograd.common.models import load_causal_lm
from isograd.common.quiet import quiet_libraries
from isograd.distill.config import IsomerSFTConfig
from isograd.distill.job import TRAINING_DEFAULTS
from isograd.distill.run_config import DataSource, DistillConfig
from isograd.distill.trainer import IsomerSFTTrainer
from isograd.isomers import IsomerSet, create_isomers
from isograd.isomers.symbolic.families import FAMILIES
from isograd.isomers.views import to_rows
from isograd.lab.selectivity.probe import FORMS, KINDS, SelectivityProbe
from isograd.runs.training import lora_config, trainer_settings

__all__ = ["Setup", "Transmission", "probe", "probe_sets", "train_and_probe"]

# Far from any seed of training.
_PROBES: Final = 1_000_000


@dataclass(frozen=True)
class Setup:
    """How a student is trained and probed.

    Attributes:
        model: where it lies.
        family: of the built-in generator, whose training sets carry a shortcut.
        sets: for training.
        steps: optimizer steps of ERM.
        every: steps between probes.
        probe_sets: sets of each of the three batches.
        learning_rate, rows, rank: of training.
        agreement, noise: of the training sets.
        trust_remote_code: let the model's repository run its own code.
    """

    model: str
    family: str
    sets: int = 800
    steps: int = 120
    every: int = 10
    probe_sets: int = 16
    learning_rate: float = 7e-3
    rows: int = 32
    rank: int = 8
    agreement: float = 0.95
    noise: float = 0.3
    trust_remote_code: bool = False

    def run_config(self, seed: int) -> DistillConfig:
        """The settings of training with ERM; the data are made, not read."""
        training = {
            "method": "erm",
            "max_steps": self.steps,
            "learning_rate": self.learning_rate,
            "per_device_train_batch_size": self.rows,
            "save_strategy": "no",
        }
        source = DataSource(path=Path("generated"))
        return DistillConfig(model=self.model, data=[source], lora={"r": self.rank}, training=training, seed=seed)

    def cues(self) -> dict[str, Any]:
        """What the generator is told of the shortcut in training sets."""
        return {"cue": "member", "agreement": self.agreement, "noise": self.noise}


@dataclass(frozen=True)
class Transmission:
    """What one probe found, over all layers.

    Attributes:
        step: optimizer steps before it.
        kept: by kind (logic, cue), source of the mask (mixed, own) and form: |M g|^2 / |g|^2 in [0, 1] for masks in
            [0, 1].
        cosine: by kind, the mean cosine between the domains' gradients.
        losses: by kind of batch, mean negative log-likelihood in nats per token.
    """

    step: int
    kept: dict[tuple[str, str, str], float]
    cosine: dict[str, float]
    losses: dict[str, float]


def probe_sets(setup: Setup, seed: int) -> dict[str, list[IsomerSet]]:
    """Sets like those of training; with chance cues and right answers; and with answers of which only the cue knows."""
    labels = len(FAMILIES[setup.family].labels)
    chance = 1 / labels
    told: dict[str, dict[str, Any]] = {
        "mixed": {},
        "logic": {"agreement": chance, "noise": 0.0},
        # Uniform answers: nothing that the logic could tell.
        "cue": {"agreement": 1.0, "noise": 1 - chance},
    }
    return {
        kind: create_isomers(setup.family, seed=_PROBES + seed, size=setup.probe_sets, **{**setup.cues(), **options})[:]
        for kind, options in told.items()
    }


def train_and_probe(setup: Setup, seed: int, tick: Callable[[], None]) -> list[Transmission]:
    """Train with ERM and probe before every ``every``-th step.

    Args:
        setup: what and how.
        seed: of data and training.
        tick: called after each step.
    """
    quiet_libraries()
    found: list[Transmission] = []
    model, tokenizer = load_causal_lm(setup.model, trust_remote_code=setup.trust_remote_code)
    batches = probe_sets(setup, seed)

    class Probing(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del args, control
            if state.global_step % setup.every == 0:
                found.append(probe(trainer.model, tokenizer, batches, state.global_step))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del args, state, control
            tick()

    set_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = IsomerSFTTrainer(
            model=model,
            args=IsomerSFTConfig(**trainer_settings(setup.run_config(seed), Path(folder), TRAINING_DEFAULTS)),
            train_dataset=create_isomers(setup.family, seed=seed, size=setup.sets, **setup.cues())[:],
            processing_class=tokenizer,
            peft_config=lora_config(setup.run_config(seed)),
            callbacks=[Probing()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        found.append(probe(trainer.model, tokenizer, batches, setup.steps))
    return found


def probe(model: Any, tokenizer: Any, batches: dict[str, list[IsomerSet]], step: int) -> Transmission:
    """One backward pass over the three batches; gradients and mode of the model are left as they were."""
    domains = list(batches["mixed"][0].domains)
    rows, groups, answers = [], [], []
    for kind, sets in batches.items():
        for row in to_rows(sets):
            rows.append(row)
            groups.append(KINDS.index(kind) * len(domains) + domains.index(row["domain"]))
            # Chains of reasoning show the logic whatever the answer: of the shortcut only the answer speaks.
            answers.append(kind == "cue")
    ids, mask, supervised = _tokens(tokenizer, rows, answers)
    group = torch.tensor(groups, device=model.device)
    method = SelectivityProbe(domains=len(domains))
    capture = DomainCapture(model, method, num_domains=len(KINDS) * len(domains))
    training = model.training
    model.eval()
    try:
        with capture.micro_batch(group):
            out = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
            logps = out.logits[:, :-1].float().log_softmax(-1).gather(-1, ids[:, 1:, None].to(model.device))[..., 0]
            losses = _group_means(-logps, supervised.to(model.device), group, len(KINDS) * len(domains))
            losses.mean().backward()
        return _read(capture, losses.detach(), len(domains), step)
    finally:
        capture.remove()
        model.zero_grad(set_to_none=True)
        model.train(training)


def _tokens(tokenizer: Any, rows: Sequence[dict[str, Any]], answers: Sequence[bool]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and attention mask [R T], padded on the right, and which of the next tokens [R T-1] count."""
    prompts = [tokenizer(row["prompt"])["input_ids"] for row in rows]
    texts = [tokenizer(row["prompt"] + row["completion"])["input_ids"] for row in rows]
    before = [tokenizer(row["prompt"] + row["completion"][: row["spans"][-1][0]].rstrip())["input_ids"] for row in rows]
    width = max(map(len, texts))
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    mask, supervised = torch.zeros_like(ids), torch.zeros(len(rows), width - 1, dtype=torch.bool)
    for number, text in enumerate(texts):
        start = len(before[number]) if answers[number] else len(prompts[number])
        end = start + 1 if answers[number] else len(text)
        ids[number, : len(text)] = torch.tensor(text)
        mask[number, : len(text)] = 1
        supervised[number, start - 1 : end - 1] = True
    return ids, mask, supervised


def _group_means(losses: Tensor, supervised: Tensor, group: Tensor, groups: int) -> Float[Tensor, " groups"]:
    counted = torch.where(supervised, losses, 0).sum(1)
    sums = losses.new_zeros(groups).index_add(0, group, counted)
    tokens = losses.new_zeros(groups).index_add(0, group, supervised.sum(1).to(losses))
    return sums / tokens


def _read(capture: DomainCapture, losses: Tensor, domains: int, step: int) -> Transmission:
    states = list(capture.states.values())
    total = {key: torch.stack([state[key] for state in states]).sum(0) for key in states[0]}
    kept = {
        (kind, source, form): (total[f"{kind}/{source}/{form}"] / total[f"{kind}/norm"]).item()
        for kind in KINDS[1:]
        for source in ("mixed", "own")
        for form in FORMS
    }
    by_kind = losses.view(len(KINDS), domains).mean(1).tolist()
    return Transmission(
        step,
        kept,
        {kind: _mean_cosine(total[f"{kind}/agreement"]) for kind in KINDS[1:]},
        dict(zip(KINDS, by_kind, strict=True)),
    )


def _mean_cosine(gram: Float[Tensor, "K K"]) -> float:
    norms = gram.diagonal().sqrt()
    cosines = gram / (norms[:, None] * norms)
    K = len(gram)
    return ((cosines.sum() - K) / (K * (K - 1))).item()
