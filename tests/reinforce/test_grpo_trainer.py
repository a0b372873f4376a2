"""The trainer's gradient is that of its rule, groups stay whole, and with its defaults it is TRL's."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file
from tests.tiny import tiny_llama
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from isograd.common.errors import UserError
from isograd.isomers import create_isomers
from isograd.isomers.views import to_prompts
from isograd.reinforce import IsomerGRPOConfig, IsomerGRPOTrainer
from isograd.reinforce.trainer import shuffle_groups
from isograd.reinforce.weights import METHODS, TokenWeights
from isograd.student import student_path

LONGEST = 6
COMMON = {
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": LONGEST,
    "num_iterations": 2,
    "steps_per_generation": 2,
    "learning_rate": 0.05,
    "max_steps": 4,
    "save_strategy": "no",
    "report_to": "none",
    "logging_steps": 1,
    "disable_tqdm": True,
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "max_grad_norm": 0.0,
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(student_path())


@pytest.fixture
def model(tokenizer: Any) -> Any:
    return tiny_llama(tokenizer)


DATASET = Dataset.from_dict({"prompt": [f"Problem {number}." for number in range(8)]})


def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [float(sum(ids) % 3 + (ids[0] % 2)) for ids in completion_ids]


class Recording(IsomerGRPOTrainer):
    """Keeps the micro-batches and the gradients that they leave."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]] = []

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        before = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        loss = super().training_step(model, inputs, num_items_in_batch)
        batch = self._buffered_inputs[(self._step - 1) % self.args.steps_per_generation]
        gradients = {
            name: parameter.grad.clone()
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None
        }
        self.seen.append((dict(batch), before, gradients))
        return loss


def config(folder: Path, **settings: Any) -> IsomerGRPOConfig:
    return IsomerGRPOConfig(output_dir=str(folder), **{**COMMON, **settings})


def make(kind: type, model: Any, tokenizer: Any, args: Any, **kwargs: Any) -> Any:
    peft = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights="gaussian")
    return kind(
        model,
        reward,
        args,
        train_dataset=DATASET,
        processing_class=tokenizer,
        peft_config=peft,
        **kwargs,
    )


def score(trainer: Any, batch: dict[str, Any], parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mask and log-probabilities of a micro-batch's completions under the parameters that it met."""
    trainer.model.load_state_dict(parameters)
    trainer.model.zero_grad()
    mask = batch["completion_mask"].bool()
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    logits = trainer.model(input_ids=ids, attention_mask=attention).logits[:, -mask.shape[1] - 1 : -1]
    return mask, logits.log_softmax(-1).gather(-1, batch["completion_ids"][..., None])[..., 0]


def same_gradients(trainer: Any, gradients: dict[str, Tensor], loss: Tensor) -> float:
    """Compare those that the trainer left with those of a loss; the largest entry."""
    loss.backward()
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    for name, parameter in trainer.model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=2e-4, atol=2e-5 * largest + 1e-9)
    return largest


@pytest.mark.parametrize("group", ["none", "min_replace", "orthogonal"])
@pytest.mark.parametrize("clip", ["asymmetric", "symmetric", "none"])
@pytest.mark.parametrize(
    ("loss_type", "level"),
    [("grpo", "token"), ("grpo", "sequence"), ("dr_grpo", "token"), ("dapo", "token"), ("bnpo", "token")],
)
def test_gradients_are_those_of_the_rule(
    model: Any, tokenizer: Any, tmp_path: Path, group: str, clip: str, loss_type: str, level: str
) -> None:
    args = config(
        tmp_path, group_weights=group, clip=clip, loss_type=loss_type, importance_sampling_level=level, epsilon=0.02
    )
    trainer = make(Recording, model, tokenizer, args)
    trainer.train()
    assert len(trainer.seen) == 4
    off_policy, pushed = 0, []
    for batch, parameters, gradients in trainer.seen:
        mask, logps = score(trainer, batch, parameters)
        width = mask.shape[1]
        log_ratio = (logps - batch["old_per_token_logps"]).detach()
        off_policy += int((log_ratio[mask].abs() > 0.05).any())
        rule = TokenWeights(
            level=level,  # type: ignore[arg-type]
            clip=clip,  # type: ignore[arg-type]
            low=0.02,
            high=0.02,
            normalization={"grpo": "completion", "dr_grpo": "constant"}.get(loss_type, "batch"),  # type: ignore[arg-type]
            group=group,  # type: ignore[arg-type]
        )
        tokens = batch["num_items_in_batch"] / 2 if loss_type == "dapo" else None
        advantages = batch["advantages"].reshape(2, 4)
        weights = rule(
            log_ratio.reshape(2, 4, width), advantages, mask.reshape(2, 4, width), tokens=tokens, longest=LONGEST
        )
        loss = -(advantages[..., None] * weights * logps.reshape(2, 4, width)).sum()
        pushed.append(same_gradients(trainer, gradients, loss))
    assert off_policy >= 2
    # Clipping may drop whole groups later: the smallest of weights of which one is zero is zero.
    assert pushed[0] > 1e-3


def test_groups_stay_whole(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    trainer = make(Recording, model, tokenizer, config(tmp_path, steps_per_generation=4, num_iterations=1))
    trainer.train()
    orders = []
    for batch, _, _ in trainer.seen:
        prompts = [tuple(row) for row in batch["prompt_ids"].tolist()]
        assert prompts == [prompt for prompt in prompts[::4] for _ in range(4)]
        assert batch["advantages"].reshape(2, 4).sum(1).abs().max() < 1e-5
        orders += prompts[::4]
    assert len(set(orders)) == 8


def test_shuffling_groups() -> None:
    batch = {"ids": torch.arange(6).reshape(6, 1), "text": list("abcdef"), "count": torch.tensor(7), "none": None}
    shuffled = shuffle_groups(batch, 2, [2, 0, 1])
    assert shuffled["ids"][:, 0].tolist() == [4, 5, 0, 1, 2, 3]
    assert shuffled["text"] == list("efabcd")
    assert shuffled["count"] == 7
    assert shuffled["none"] is None


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "cispo", "sapo"])
def test_with_its_defaults_it_is_trl(model: Any, tokenizer: Any, tmp_path: Path, loss_type: str) -> None:
    """The first generation's two steps, of .05 for each entry; the order of rows within a batch differs."""
    settings = {"num_iterations": 2, "steps_per_generation": 1, "max_steps": 2, "loss_type": loss_type}
    states = []
    start = {name: value.clone() for name, value in model.state_dict().items()}
    for kind, args in (
        (GRPOTrainer, GRPOConfig(output_dir=str(tmp_path / "a"), **{**COMMON, **settings})),
        (IsomerGRPOTrainer, config(tmp_path / "b", **settings)),
    ):
        fresh = LlamaForCausalLM(model.config)
        fresh.load_state_dict(start)
        torch.manual_seed(0)
        trainer = make(kind, fresh, tokenizer, args)
        trainer.train()
        states.append({name: value for name, value in trainer.model.state_dict().items() if "lora" in name})
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=5e-4)


class Corrected(Recording):
    """With the corrections that TRL takes from vLLM, here one a completion, told from its tokens."""

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        batch = super()._generate_and_score_completions(inputs)
        batch["importance_sampling_ratio"] = self.ratio(batch["completion_ids"])
        return batch

    @staticmethod
    def ratio(ids: Tensor) -> Tensor:
        return 0.5 + (ids.sum(1, keepdim=True) % 7) / 7

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        self.use_vllm = True
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self.use_vllm = False


@pytest.mark.parametrize("settings", [{}, {"clip": "symmetric"}, {"group_weights": "orthogonal"}])
def test_corrections_for_vllm_pass_through(
    model: Any, tokenizer: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    trainer = make(Corrected, model, tokenizer, config(tmp_path, loss_type="dr_grpo", **settings))
    trainer.train()
    differ = 0
    for batch, parameters, gradients in trainer.seen:
        mask, logps = score(trainer, batch, parameters)
        grouped = (2, 4, mask.shape[1])
        weights = trainer.args.token_weights()(
            (logps - batch["old_per_token_logps"]).detach().reshape(grouped),
            batch["advantages"].reshape(2, 4),
            mask.reshape(grouped),
            longest=LONGEST,
        )
        ratio = Corrected.ratio(batch["completion_ids"])
        differ += int(ratio.unique().numel() > 1)
        pushes = batch["advantages"][:, None] * weights.flatten(0, 1) * ratio
        assert same_gradients(trainer, gradients, -(pushes * logps).sum()) > 1e-3
    assert differ


@pytest.fixture(scope="module")
def prompts() -> Dataset:
    """Of a task that the built-in student begins alike every time."""
    return Dataset.from_list(to_prompts(create_isomers("arithmetic", seed=0, size=4, depth=2)))


def student_log(tokenizer: Any, prompts: Dataset, folder: Path, **settings: Any) -> list[dict[str, float]]:
    trainer = IsomerGRPOTrainer(
        AutoModelForCausalLM.from_pretrained(student_path()),
        reward,
        config(folder, **settings),
        train_dataset=prompts,
        processing_class=tokenizer,
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"),
    )
    trainer.train()
    return [line for line in trainer.state.log_history if "loss" in line]


def test_diagnostics_are_logged(tokenizer: Any, prompts: Dataset, tmp_path: Path) -> None:
    # So warm that its answers differ, and still begin alike.
    dfpo = {"clip": "none", "importance_sampling_level": "sequence", "loss_type": "grpo", "temperature": 2.0}
    residuals = {}
    for group in ("none", "min_replace", "orthogonal"):
        lines = student_log(tokenizer, prompts, tmp_path / group, group_weights=group, max_completion_length=8, **dfpo)
        assert {"drift", "outside/above", "outside/below", "cancellation/shared"} <= set(lines[-1])
        residuals[group] = [line["cancellation/residual"] for line in lines if "cancellation/residual" in line]
        assert len(residuals[group]) >= 2
    assert max(residuals["none"]) > 0.01
    assert max(residuals["min_replace"]) < 1e-5
    assert max(residuals["orthogonal"]) < 1e-5


@pytest.mark.parametrize("diagnose", [True, False])
def test_clip_ratios_are_those_of_the_rule(
    model: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, diagnose: bool
) -> None:
    """Counted by hand from what the trainer's rule was given; TRL, to which all ratios are 1, would log zeros."""
    wanted: list[dict[str, float]] = []
    original = TokenWeights.__call__

    def counting(self: TokenWeights, log_ratio: Tensor, advantages: Tensor, mask: Tensor, **kwargs: Any) -> Tensor:
        ratio, tokens = log_ratio.exp(), mask.sum()
        low, high = (ratio < 0.98) & mask, (ratio > 1.02) & mask
        wanted.append(
            {
                "clip_ratio/low_mean": (low.sum() / tokens).item(),
                "clip_ratio/high_mean": (high.sum() / tokens).item(),
                "clip_ratio/region_mean": ((low | high).sum() / tokens).item(),
                "clip_ratio/low_min": (low.sum(-1) / mask.sum(-1)).min().item(),
                "clip_ratio/high_max": (high.sum(-1) / mask.sum(-1)).max().item(),
            }
        )
        return original(self, log_ratio, advantages, mask, **kwargs)

    monkeypatch.setattr(TokenWeights, "__call__", counting)
    args = config(tmp_path, clip="symmetric", epsilon=0.02, diagnose=diagnose)
    trainer = make(IsomerGRPOTrainer, model, tokenizer, args)
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    assert len(lines) == len(wanted) == 4
    for line, values in zip(lines, wanted, strict=True):
        assert {name: line[name] for name in values} == pytest.approx(values, abs=1e-6)
    assert max(line["clip_ratio/low_mean"] for line in lines) > 0
    assert max(line["clip_ratio/high_mean"] for line in lines) > 0


def test_clip_ratios_ask_for_the_sign_where_the_rule_does(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    args = config(tmp_path, epsilon=0.02, group_weights="orthogonal")
    trainer = make(Recording, model, tokenizer, args)
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    for (batch, parameters, _), line in zip(trainer.seen, lines, strict=True):
        mask, logps = score(trainer, batch, parameters)
        ratio, advantages = (logps - batch["old_per_token_logps"]).exp(), batch["advantages"][:, None]
        # Rounding may carry one token over the edge.
        one = 1.01 / mask.sum().item()
        low = ((ratio < 0.98) & (advantages < 0) & mask).sum() / mask.sum()
        high = ((ratio > 1.02) & (advantages > 0) & mask).sum() / mask.sum()
        assert line["clip_ratio/low_mean"] == pytest.approx(low.item(), abs=one)
        assert line["clip_ratio/high_mean"] == pytest.approx(high.item(), abs=one)
        assert line["clip_ratio/region_mean"] < line["outside/below"] + line["outside/above"] or not low + high
    assert sum(line["clip_ratio/region_mean"] for line in lines) > 0.1


def test_nothing_is_clipped_without_clipping(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    trainer = make(IsomerGRPOTrainer, model, tokenizer, config(tmp_path, epsilon=0.02, clip="none"))
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    assert sum(line["outside/below"] + line["outside/above"] for line in lines) > 0.1
    assert all(line["clip_ratio/region_mean"] == 0 for line in lines)


def test_it_can_be_silent(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    trainer = make(IsomerGRPOTrainer, model, tokenizer, config(tmp_path, diagnose=False, max_steps=1))
    trainer.train()
    assert not any("drift" in line or "cancellation/shared" in line for line in trainer.state.log_history)


def test_groups_that_a_batch_would_break_are_refused(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    args = config(tmp_path, per_device_train_batch_size=2, group_weights="min_replace")
    with pytest.raises(
        UserError, match=r"^group_weights='min_replace' compares .* is 2, which breaks groups of 4; use 4$"
    ):
        make(IsomerGRPOTrainer, model, tokenizer, args)
    args = config(tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    with pytest.raises(
        UserError, match=r"^diagnose compares .* use 4 and gradient_accumulation_steps=2, or set diagnose to False$"
    ):
        make(IsomerGRPOTrainer, model, tokenizer, args)
    # Where nothing looks at the group they may be broken, as in TRL.
    args = config(tmp_path, per_device_train_batch_size=2, clip="symmetric", diagnose=False)
    trainer = make(IsomerGRPOTrainer, model, tokenizer, args)
    trainer.train()
    assert all("drift" not in line for line in trainer.state.log_history)


def test_a_warning_where_all_ratios_are_one(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    once = config(tmp_path, num_iterations=1, steps_per_generation=1)
    with pytest.warns(UserWarning, match="every ratio is 1"):
        make(IsomerGRPOTrainer, model, tokenizer, once)
    # Under vLLM TRL scores again with the weights that the step begins with: its ratios are 1 as well.
    once.use_vllm = True
    with pytest.warns(UserWarning, match="every ratio is 1"), contextlib.suppress(ImportError):
        make(IsomerGRPOTrainer, LlamaForCausalLM(model.config), tokenizer, once)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make(IsomerGRPOTrainer, LlamaForCausalLM(model.config), tokenizer, config(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_weights": "max"}, "group_weights is 'max'; use one of none, min_replace, orthogonal"),
        ({"clip": "saturate"}, "clip is 'saturate'; use asymmetric, symmetric or none"),
        ({"clip": "none", "loss_type": "cispo"}, "loss_type 'cispo' has weights of its own"),
        ({"group_weights": "min_replace", "off_policy_mask_threshold": 0.1}, "off_policy_mask_threshold would drop"),
        ({"clip": "symmetric", "delta": 4.0}, "delta would drop"),
        ({"clip": "none", "beta": 0.1}, "use_bias_correction_kl needs the ratios"),
        ({"group_weights": "min_replace", "mask_truncated_completions": True}, "no longer sum to zero"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        config(tmp_path, **settings)


def test_the_published_methods_by_configuration(tmp_path: Path) -> None:
    """The docstring's settings give the rules of the table, up to the normalizer that TRL applies itself."""
    dfpo = config(
        tmp_path, group_weights="min_replace", clip="none", importance_sampling_level="sequence", loss_type="grpo"
    )
    assert dfpo.token_weights() == METHODS["dfpo_min"]
    assert config(tmp_path, clip="symmetric", loss_type="grpo").token_weights() == METHODS["grpo_fix"]
    assert config(tmp_path, loss_type="grpo").token_weights() == METHODS["grpo"]
    assert config(tmp_path, loss_type="dr_grpo").token_weights() == METHODS["dr_grpo"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_accumulation_and_two_processes_equal_one_batch(tmp_path: Path) -> None:
    script = Path(__file__).with_name("run_grpo.py")
    # Rows for each process and micro-batch, and micro-batches, by number of processes.
    for world, layouts in ((1, ["8:1", "4:2"]), (2, ["4:1"])):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
        done = subprocess.run(
            [*command, str(script), str(tmp_path / str(world)), *layouts],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    places = {"one": "1/8x1", "accumulated": "1/4x2", "two": "2/4x1"}
    adapters = {
        name: {path.name: load_file(path) for path in (tmp_path / place).glob("*.safetensors")}
        for name, place in places.items()
    }
    assert len(adapters["one"]) == 5
    first = adapters["one"]["dfpo.safetensors"]
    for key, value in adapters["one"]["shared.safetensors"].items():
        torch.testing.assert_close(first[key], value, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(first[key], value) for key, value in adapters["one"]["grpo.safetensors"].items())
    assert (len(adapters["accumulated"]), len(adapters["two"])) == (2, 5)
    for name in ("accumulated", "two"):
        for file, found in adapters[name].items():
            for key, value in adapters["one"][file].items():
                # Norms and TRL's head round to float32 in a float64 model.
                torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6)
