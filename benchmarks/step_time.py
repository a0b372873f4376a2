"""Time and memory of one training step of every method, beside ERM's.

    python benchmarks/step_time.py [--methods erm iga ...] [--hidden 128 256 512] [--rows 8] [--length 128] [--rank 8]
                                   [--repeats 7] [--threads 2] [--clock wall] [--seed 0] [--skip memory breakdown]

All ways go to the gradients of the LoRA factors of a Llama (all linear layers adapted), from the same batch of K = 4
domains with right padding and prompts without labels, through the trainer's loss head (TRL's fused one, which
computes log-probabilities and entropies for every method, ERM too):

* loss-level methods (``erm``, ``irm``, ``vrex``, ``group_dro``, ``fishr``): forward and backward of the objective;
* local and global methods (``and_mask`` ... ``iga_sets``; ``torchjd`` is its UPGrad weighting): the same pass inside
  ``DomainCapture.micro_batch``, then ``write_gradients``;
* ``fish``: K small forward and backward passes, one after the other;
* ``consistency_js`` ... ``consistency_variance``, ``iga_consistency``: ERM or IGA and the term (for IGA that of
  ``consistency_variance``), at one aligned token of each row;
* ``torchjd_upgrad``, ``torchjd_pcgrad``: torchjd's own engine on the K losses, where it is installed: a Jacobian of K
  rows by K backward passes through one graph (``parallel_chunk_size=1``: the fused head has no vmap), then its
  aggregator;
* ``naive``: IGA by K forward and backward passes, one for the rows of each domain (as many tokens in all), with the
  base weights' gradients kept for every domain, then mask, full SVD and chain rule per layer.

None includes the optimizer, which is the same for all. The variants are interleaved within one process, and each step
comes right after one of ``erm``, so that what else the machine does falls on both: medians of the times, and of the
ratios of such pairs, with the quartiles of these. On a machine that others use too, ``--threads 1 --clock cpu`` is
steadier: waiting threads do not count. Peak memory: each variant in a fresh process in which freed blocks go back to
the system at once (a low mmap threshold), the highest resident set during a step (VmHWM, reset after a warm-up step)
above that before it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

import isograd.capture._dense as dense_module
import isograd.capture.domain_capture as capture_module
from isograd import gradients
from isograd.capture import DomainCapture
from isograd.capture._layers import find_layers
from isograd.common.seeding import derive_seed
from isograd.distill.consistency import ConsistencyTerm
from isograd.distill.hidden import final_states
from isograd.distill.inner_loop import walk_domains
from isograd.distill.loss import head_tokens, sum_by_domain
from isograd.distill.objective import Shares, StepObjective
from isograd.gradients import Iga, InnerLoopMethod, LossMethod, Method, chain_rule, make_method, truncated_svd

try:
    from torchjd import aggregation, autojac
except ImportError:
    autojac = None

K = 4
METHODS: dict[str, Method] = {
    **{name: make_method(name) for name in gradients.METHODS if name != "torchjd" or autojac is not None},
    "iga_factor": Iga(space="factor"),
    "iga_running": Iga(variance="running"),
    "iga_singular": Iga(basis="singular"),
    "iga_input": Iga(basis="input"),
    "iga_tangent": Iga(projection="tangent"),
    "iga_raw": Iga(second_moment="raw"),
    "iga_sets": Iga(variance="set"),
}
CONSISTENCY = {
    "consistency_js": ("erm", "js"),
    "consistency_kl": ("erm", "kl"),
    "consistency_hidden": ("erm", "hidden_cosine"),
    "consistency_variance": ("erm", "logit_variance"),
    "iga_consistency": ("iga", "logit_variance"),
}
TORCHJD = {} if autojac is None else {"torchjd_upgrad": "UPGrad", "torchjd_pcgrad": "PCGrad"}
VARIANTS = (*METHODS, *CONSISTENCY, *TORCHJD, "naive")


@dataclass(frozen=True)
class Shape:
    """Model and batch of one row of the table."""

    hidden: int
    layers: int = 4
    vocabulary: int = 2048
    rows: int = 8
    length: int = 128
    rank: int = 8


class Bench:
    """A model, a batch, and one step per variant that leaves gradients in the LoRA factors."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape, self.seed = shape, seed
        self.model = _model(shape, seed)
        generator = torch.Generator().manual_seed(derive_seed("benchmarks", "batch", seed))
        self.ids = torch.randint(3, shape.vocabulary, (shape.rows, shape.length), generator=generator)
        self.labels = self.ids.clone()
        self.labels[:, : shape.length * 3 // 8] = -100  # the prompt
        self.mask = torch.ones_like(self.ids)
        lengths = torch.randint(shape.length * 3 // 4, shape.length + 1, (shape.rows,), generator=generator)
        for row, end in enumerate(lengths.tolist()):
            self.ids[row, end:], self.mask[row, end:], self.labels[row, end:] = 0, 0, -100
        self.domains = torch.arange(shape.rows) % K  # whole sets, one member of each domain after the other
        self.aligned = lengths[:, None] - 2  # the answer, shortly before the end
        self.tokens = sum_by_domain((self.labels[:, 1:] != -100).float(), self.domains, K)
        self.layers = find_layers(self.model, None)
        self.factors = [p for p in self.model.parameters() if p.requires_grad]
        self._captures: dict[str, DomainCapture] = {}
        self._objectives: dict[str, StepObjective] = {}

    def step(self, variant: str) -> None:
        """Gradients of one optimizer step."""
        self.zero()
        if variant == "naive":
            self._naive()
        elif variant in TORCHJD:
            self._torchjd(getattr(aggregation, TORCHJD[variant])())
        elif variant in CONSISTENCY:
            self._consistency(*CONSISTENCY[variant])
        elif isinstance(method := METHODS[variant], LossMethod):
            self._objective_backward(variant, method)
        elif isinstance(method, InnerLoopMethod):
            walk_domains(self.factors, range(K), self._one_domain, method.step_size)
        else:
            with self._captured(variant):
                self.shares().losses.mean().backward()

    def shares(self, rows: Tensor | slice = slice(None)) -> Shares:
        """What these rows contribute to the losses of the domains."""
        labels, domains = self.labels[rows], self.domains[rows]
        outputs = self.model(
            input_ids=self.ids[rows], attention_mask=self.mask[rows], labels=labels, use_cache=False, fused_lm_head=True
        )

        def by_domain(values: Tensor) -> Tensor:
            return sum_by_domain(values, domains, K) / self.tokens

        return Shares(by_domain(-outputs.log_probs), by_domain(-outputs.log_probs - outputs.entropy))

    def _objective_backward(self, variant: str, method: LossMethod) -> None:
        if variant not in self._objectives:
            self._objectives[variant] = StepObjective(lambda values: values, 1)
        objective = self._objectives[variant]
        objective.begin(1)
        if method.needs_head:
            base: Any = self.model.get_base_model()
            with final_states(base) as states:
                shares = self.shares()
            head = head_tokens(base, states[0], self.labels, self.domains)
            loss = objective.loss_with_head(method, self.tokens, shares, head)
        else:
            loss = objective.loss(method, self.tokens, self.shares())
        loss.backward()

    def _consistency(self, method: str, form: str) -> None:
        term, base = ConsistencyTerm(form, 1.0), self.model.get_base_model()
        with self._captured(method) if method != "erm" else nullcontext():
            with term.watching(base) as states:
                loss = self.shares().losses.mean()
            (loss + term(base, states[0], self.aligned, K)).backward()

    def _one_domain(self, domain: int) -> Tensor:
        loss = self.shares(self.domains == domain).losses.sum()
        loss.backward()
        return loss.detach()

    def _torchjd(self, aggregator: Any) -> None:
        autojac.backward(self.shares().losses, inputs=self.factors, parallel_chunk_size=1)
        autojac.jac_to_grad(self.factors, aggregator)

    def _naive(self) -> None:
        method = METHODS["iga"]
        assert isinstance(method, Iga)
        weights = [layer.module.base_layer.weight for layer in self.layers]
        for weight in weights:
            weight.requires_grad_(True)
        per_domain = [torch.autograd.grad(self.shares(self.domains == k).losses.sum(), weights) for k in range(K)]
        for weight in weights:
            weight.requires_grad_(False)
        for index, layer in enumerate(self.layers):
            direction = method.merge(torch.stack([grads[index] for grads in per_domain]))
            low_rank = truncated_svd(direction, self.shape.rank, method="exact")
            layer.A.grad, layer.B.grad = chain_rule(low_rank, layer.A.detach(), layer.B.detach(), layer.scaling)

    @contextmanager
    def _captured(self, variant: str) -> Iterator[None]:
        # Kept between steps, as in training. The hooks of those that wait cost every variant the same microseconds.
        if variant not in self._captures:
            method: Any = METHODS[variant]
            self._captures[variant] = DomainCapture(self.model, method, num_domains=K, seed=self.seed)
        with self._captures[variant].micro_batch(self.domains):
            yield
        self._captures[variant].write_gradients()

    def zero(self) -> None:
        for factor in self.factors:
            factor.grad = None


def _model(shape: Shape, seed: int) -> nn.Module:
    torch.manual_seed(derive_seed("benchmarks", "model", seed))
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.hidden * 11 // 4,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.hidden // 32,
        num_key_value_heads=shape.hidden // 64,
        max_position_embeddings=shape.length,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = LoraConfig(r=shape.rank, lora_alpha=2 * shape.rank, target_modules=targets, task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        base = LlamaForCausalLM(config)
        add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))  # what the trainer asks for
        model = get_peft_model(base, lora)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return model.train()


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock: Callable[[], float] = time.perf_counter


def time_variants(bench: Bench, variants: tuple[str, ...], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each step and of ERM's just before it, variants interleaved, after one unrecorded round."""
    times: dict[str, list[tuple[float, float]]] = {variant: [] for variant in variants}
    for repeat in range(repeats + 1):
        for variant in variants:
            start = clock()
            bench.step("erm")
            between = clock()
            bench.step(variant)
            end = clock()
            if repeat:
                times[variant].append((end - between, between - start))
    return times


def breakdown(bench: Bench, repeats: int) -> dict[str, float]:
    """Median seconds per step in the parts of IGA's extra work."""
    spent: dict[str, float] = {}

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = clock()
            result = function(*args, **kwargs)
            spent[part] = spent.get(part, 0.0) + clock() - start
            return result

        return wrapper

    patches: list[tuple[Any, str, str]] = [
        (dense_module, "_products", "products"),
        (capture_module, "token_segments", "zero rows"),
        (Iga, "factor_gradients", "chain rule"),
        (Iga, "merge", "mask"),
        (Iga, "project", "svd"),
        (DomainCapture, "_record", "all"),
    ]
    originals = [getattr(owner, name) for owner, name, _ in patches]
    rounds = []
    try:
        for (owner, name, part), original in zip(patches, originals, strict=True):
            setattr(owner, name, timed(part, original))
        for _ in range(repeats):
            spent.clear()
            bench.step("iga")
            rounds.append(dict(spent))
    finally:
        for (owner, name, _), original in zip(patches, originals, strict=True):
            setattr(owner, name, original)
    parts = {part: statistics.median(one[part] for one in rounds) for *_, part in patches}
    total = parts.pop("all")
    parts["other"] = total - sum(parts.values())
    return parts


def peak_memory(variant: str, shape: Shape, args: argparse.Namespace) -> float:
    """MiB by which a step of this variant raises the resident set, measured in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", variant]
    for name, value in {**asdict(shape), "threads": args.threads, "seed": args.seed}.items():
        command += [f"--{name}", str(value)]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def _measure_memory(variant: str, bench: Bench) -> float:
    bench.step(variant)
    bench.zero()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = _status("VmRSS")
    bench.step(variant)
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"no {field} in /proc/self/status")


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _arguments() -> argparse.Namespace:
    parser = _Parser(description="Step time and peak memory of every method.")
    parser.add_argument("--hidden", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--layers", type=int, default=Shape.layers)
    parser.add_argument("--rows", type=int, default=Shape.rows)
    parser.add_argument("--length", type=int, default=Shape.length)
    parser.add_argument("--vocabulary", type=int, default=Shape.vocabulary)
    parser.add_argument("--rank", type=int, default=Shape.rank)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", default=list(VARIANTS), choices=VARIANTS, help="erm is always there")
    parser.add_argument("--skip", nargs="*", default=[], choices=["memory", "breakdown"])
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if any(hidden < 64 or hidden % 64 for hidden in args.hidden):
        parser.error("argument --hidden: use multiples of 64, the width of two heads that share keys and values")
    if args.rows < K or args.rows % K:
        parser.error(f"argument --rows: use a multiple of {K}, whole sets of {K} domains")
    if args.length < 8:
        parser.error("argument --length: use 8 tokens at least")
    for name, smallest in (("layers", 1), ("rank", 1), ("vocabulary", 4), ("repeats", 2), ("threads", 1)):
        if getattr(args, name) < smallest:
            parser.error(f"argument --{name}: use {smallest} at least")
    return args


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    global clock
    clock = CLOCKS[args.clock]
    sizes = {name: getattr(args, name) for name in ("layers", "rows", "length", "vocabulary", "rank")}
    if args.memory_of:
        print(json.dumps(_measure_memory(args.memory_of, Bench(Shape(args.hidden[0], **sizes), args.seed))))
        return
    variants = ("erm", *(variant for variant in VARIANTS if variant in args.methods and variant != "erm"))
    settings = {"threads": args.threads, "clock": args.clock, "repeats": args.repeats, "seed": args.seed} | sizes
    print(f"torch {torch.__version__}, {', '.join(f'{name} {value}' for name, value in settings.items())}")
    for hidden in args.hidden:
        shape = Shape(hidden, **sizes)
        bench = Bench(shape, args.seed)
        times = time_variants(bench, variants, args.repeats)
        largest = max(layer.A.shape[1] * layer.B.shape[0] for layer in bench.layers) * 4 / 2**20
        print(f"\nhidden {hidden}: largest adapted layer {largest:.2f} MiB, {K} dense gradients {K * largest:.2f} MiB")
        peaks: dict[str, float] = {}
        for variant in variants:
            milliseconds = 1e3 * statistics.median(own for own, _ in times[variant])
            low, ratio, high = statistics.quantiles((own / erm for own, erm in times[variant]), method="inclusive")
            line = f"  {variant:20} {milliseconds:8.1f} ms  {ratio:5.2f} [{low:.2f}, {high:.2f}] x erm"
            if "memory" not in args.skip:
                peaks[variant] = peak_memory(variant, shape, args)
                share = peaks[variant] / peaks["erm"] if peaks["erm"] else float("nan")
                line += f"  peak {peaks[variant]:7.1f} MiB  {share:5.2f} x erm"
            print(line, flush=True)
        if "iga" in variants and "breakdown" not in args.skip:
            parts = breakdown(bench, args.repeats)
            print("  iga spends  " + ", ".join(f"{part} {1e3 * seconds:.1f} ms" for part, seconds in parts.items()))


if __name__ == "__main__":
    main()
