"""Public benchmarks through lm-evaluation-harness: several models on the same documents, resumable."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from isograd.common.errors import UserError
from isograd.common.files import write_json, write_lines, write_text
from isograd.evaluate.harness.backends import Backend, Subject, UnreadableReplyError, fingerprint, open_model
from isograd.evaluate.harness.registry import BENCHMARKS, Benchmark, chosen, load_tasks, require_harness
from isograd.evaluate.harness.results import Sample, as_csv, as_markdown, differences, score

__all__ = ["FORMAT", "Plan", "check_plan", "evaluate_benchmarks", "measure"]

FORMAT: Final = 1
_PACKAGES = ("isograd", "lm_eval", "math-verify", "torch", "transformers", "peft")

Progress = Callable[[str, int, int], None]
"""Called with (what is measured, requests answered, requests in all)."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        tasks: names of benchmarks and groups.
        folder: local files, in the columns of the original datasets; by default rows come from the hub.
        limit: documents of each of lm-eval's tasks, the first ones; by default all.
        max_new_tokens: longest completion, in tokens; by default the task's own.
        instructions: whether prompts say what is asked for; without, they are as ``isograd distill`` writes them.
    """

    tasks: tuple[str, ...]
    folder: Path | None = None
    limit: int | None = None
    max_new_tokens: int | None = None
    instructions: bool = True

    def __post_init__(self) -> None:
        for name in ("limit", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1")
        if self.folder is not None and not self.folder.is_dir():
            raise UserError(f"{self.folder}: no such folder")


def evaluate_benchmarks(
    subjects: Sequence[Subject],
    plan: Plan,
    output: Path,
    *,
    backend: Backend | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure models on benchmarks and compare them on the same documents.

    Responses are kept in ``responses.sqlite`` of the output folder, batch by batch: an evaluation that was killed goes
    on with the next batch and ends with the same results, and more models or benchmarks cost only what is new.

    Args:
        subjects: the models.
        plan: what is measured.
        output: a folder, which gets ``results.json``, ``results.md``, ``scores.csv``, ``differences.csv`` and
            ``samples.jsonl``.
        backend: what runs the models; by default transformers and PEFT.
        progress: called after each batch.

    Returns:
        The content of ``results.json``.

    Raises:
        UserError: lm-evaluation-harness is not installed; an unknown task; data, a model or a server that is not there.
    """
    backend = backend or Backend()
    labels = [subject.label for subject in subjects]
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"give models with different names, not {', '.join(labels) or 'none'}")
    if backend.kind == "vllm" and len(subjects) > 1:
        raise UserError(
            "backend vllm measures one model a call, since vLLM may keep its GPU memory; for several, and for --base, "
            "serve them (vllm serve) and use backend openai or completions"
        )
    benchmarks, left_out = check_plan(plan, backend)
    tasks, not_loaded = _loaded(benchmarks, plan)
    left_out |= not_loaded
    benchmarks = [benchmark for benchmark in benchmarks if benchmark.name in tasks]
    prints = {subject.label: fingerprint(subject, backend) for subject in subjects}
    from isograd.evaluate.harness.store import ResponseStore

    found: dict[str, dict[str, list[Sample]]] = {benchmark.name: {} for benchmark in benchmarks}
    models, empty = [], []
    store = ResponseStore(output / "responses.sqlite")
    try:
        for subject in subjects:
            placed, answers = _one_model(subject, prints[subject.label], tasks, plan, backend, store, progress)
            models.append(_model(subject, prints[subject.label]) | placed)
            for name, (samples, without) in answers.items():
                found[name][subject.label] = samples
                if without:
                    empty.append({"benchmark": name, "model": subject.label, "n": without})
            # One model at a time is in memory.
            gc.collect()
    finally:
        store.close()
    results = {
        "format": FORMAT,
        "models": models,
        "settings": _settings(plan, backend),
        "packages": {package: version(package) for package in _PACKAGES},
        "benchmarks": [_benchmark(benchmark, tasks[benchmark.name]) for benchmark in benchmarks],
        "left_out": [f"{name}: {why}" for name, why in left_out.items()],
        "empty": empty,
        **_statistics(benchmarks, found),
    }
    _write(output, results, found)
    return results


def check_plan(plan: Plan, backend: Backend) -> tuple[list[Benchmark], dict[str, str]]:
    """The benchmarks of a plan, and why others of its groups are left out: for want of a local file.

    Raises:
        UserError: lm-evaluation-harness is not installed; an unknown task; one that this backend cannot run.
    """
    require_harness()
    benchmarks, left_out = chosen(plan.tasks, plan.folder)
    for benchmark in benchmarks:
        if benchmark.likelihood and backend.kind == "openai":
            raise UserError(
                f"{benchmark.name} compares log-likelihoods, which chat completions do not give; leave it out, or use "
                "backend hf, vllm or completions"
            )
    return benchmarks, left_out


def measure(model: Any, benchmark: Benchmark, tasks: Mapping[str, Any], **settings: Any) -> list[Sample]:
    """Ask a model of lm-eval's all documents of a benchmark's tasks and judge what it answers.

    Args:
        model: lm-eval's object.
        benchmark: the benchmark.
        tasks: its tasks, from :func:`isograd.evaluate.harness.registry.load_tasks`.
        settings: ``limit`` and ``apply_chat_template`` of lm-eval's ``evaluate``.
    """
    from lm_eval.evaluator import evaluate

    results = evaluate(lm=model, task_dict={"tasks": dict(tasks)}, bootstrap_iters=0, log_samples=True, **settings)
    samples = []
    for name in tasks:
        for line in results["samples"][name]:
            document = line["doc"]
            samples.append(
                Sample(
                    task=name,
                    document=line["doc_hash"],
                    cluster=str(document.get("cluster", line["doc_id"])) if benchmark.ours else str(line["doc_id"]),
                    gold=document["gold"] if benchmark.ours else str(line["target"]),
                    response=line["filtered_resps"][0] if benchmark.ours else line["filtered_resps"],
                    correct=float(line[benchmark.metric]),
                )
            )
    return samples


def _loaded(benchmarks: Sequence[Benchmark], plan: Plan) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The tasks of each benchmark, and why those of groups are left out that the hub does not give."""
    load = partial(load_tasks, folder=plan.folder, instructions=plan.instructions, max_new_tokens=plan.max_new_tokens)
    tasks, left_out = {}, {}
    for benchmark in benchmarks:
        try:
            tasks[benchmark.name] = load(benchmark)
        except UserError as error:
            # What a file holds, and what is asked for by its name, the user can mend.
            if plan.folder is not None or benchmark.name in plan.tasks:
                raise
            left_out[benchmark.name] = str(error).removeprefix(f"{benchmark.name}: ")
    if not tasks:
        name, why = next(iter(left_out.items()))
        raise UserError(f"none of {', '.join(left_out)} can be had from the hub; {name}: {why}")
    return tasks, left_out


def _one_model(
    subject: Subject,
    digest: str,
    tasks: Mapping[str, Mapping[str, Any]],
    plan: Plan,
    backend: Backend,
    store: Any,
    progress: Progress | None,
) -> tuple[dict[str, Any], dict[str, tuple[list[Sample], int]]]:
    """Its dtype and device, and by benchmark its samples and how many empty answers were not kept."""
    import aiohttp
    import requests

    from isograd.evaluate.harness.store import StoredModel

    model = open_model(subject, backend)
    if backend.chat_template and not backend.served and not getattr(model.tokenizer, "chat_template", None):
        raise UserError(f"{subject.label}: its tokenizer has no chat template; leave out --chat-template")
    chat = backend.chat_template or backend.kind == "openai"
    answers = {}
    for name, loaded in tasks.items():
        stored = StoredModel(
            model,
            store,
            fingerprint=digest,
            versions={task: str(loaded[task].VERSION) for task in loaded},
            chunk=backend.chunk,
            keep_empty=not backend.served,
            progress=None if progress is None else partial(progress, f"{subject.label}: {name}"),
        )
        try:
            samples = measure(stored, BENCHMARKS[name], loaded, limit=plan.limit, apply_chat_template=chat)
        except (
            requests.RequestException,
            aiohttp.ClientError,
            TimeoutError,
            json.JSONDecodeError,
            UnreadableReplyError,
        ) as error:
            what = " ".join(str(error).split()) or type(error).__name__
            message = f"no answer for {name}; what came is kept, run again to go on: {what}"
            raise UserError(f"{backend.url}: {message}") from None
        except AssertionError as error:
            # How the harness says that a model's context is too short for the completion.
            if "maximum sequence length" not in str(error):
                raise
            raise UserError(f"{name}: {' '.join(str(error).split())}; give --max-new-tokens") from error
        answers[name] = (samples, stored.empty)
    return _placed(model, backend), answers


def _placed(model: Any, backend: Backend) -> dict[str, str]:
    """What else may change a bit of an answer, as far as it is known on this side."""
    if backend.kind != "hf":
        return {}
    return {"dtype": str(model.model.dtype).removeprefix("torch."), "device": str(model.model.device)}


def _model(subject: Subject, digest: str) -> dict[str, Any]:
    adapter = None if subject.adapter is None else str(subject.adapter)
    return {"label": subject.label, "model": subject.model, "adapter": adapter, "fingerprint": digest}


def _settings(plan: Plan, backend: Backend) -> dict[str, Any]:
    return {
        "backend": backend.kind,
        "batch_size": backend.batch_size,
        "chat_template": backend.chat_template or backend.kind == "openai",
        "instructions": plan.instructions,
        "limit": plan.limit,
        "max_new_tokens": plan.max_new_tokens,
        "data": "hub" if plan.folder is None else str(plan.folder),
    }


def _benchmark(benchmark: Benchmark, tasks: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": benchmark.name,
        "source": "isograd" if benchmark.ours else "lm-eval",
        "metric": benchmark.metric,
        "versions": {name: str(task.VERSION) for name, task in tasks.items()},
    }


def _statistics(
    benchmarks: Sequence[Benchmark], found: Mapping[str, Mapping[str, list[Sample]]]
) -> dict[str, list[dict[str, Any]]]:
    scores, gaps = [], []
    for benchmark in benchmarks:
        chance = None if benchmark.options is None else 1 / benchmark.options
        for label, samples in found[benchmark.name].items():
            scores.append({"benchmark": benchmark.name, "model": label, **score(samples), "chance": chance})
        gaps += [{"benchmark": benchmark.name, **gap} for gap in differences(found[benchmark.name])]
    return {"scores": scores, "differences": gaps}


def _write(output: Path, results: Mapping[str, Any], found: Mapping[str, Mapping[str, list[Sample]]]) -> None:
    write_json(output / "results.json", results)
    write_text(output / "results.md", as_markdown(results))
    write_text(output / "scores.csv", as_csv(results["scores"]))
    write_text(output / "differences.csv", as_csv(results["differences"]))
    lines = (
        json.dumps(sample.record(label, benchmark))
        for benchmark, by_model in found.items()
        for label, samples in by_model.items()
        for sample in samples
    )
    write_lines(lines, output / "samples.jsonl")
