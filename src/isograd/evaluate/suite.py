"""The whole measurement of one student: every split, and the Logical Consistency Score."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from isograd.common.errors import UserError
from isograd.common.files import write_json, write_text
from isograd.common.models import load_causal_lm
from isograd.evaluate import METRICS_FORMAT
from isograd.evaluate.accuracy import grade, summarize
from isograd.evaluate.generate import generate_greedy
from isograd.evaluate.lcs import consistency_record, four_layers, logical_consistency
from isograd.evaluate.lcs_data import ReadSet
from isograd.isomers import IsomerSet
from isograd.runs.card import update_card

__all__ = ["evaluate_student", "load_student"]

EXAMPLE_SETS = 3
"""Sets of each split whose answers are kept for the report."""


def load_student(model: str, adapter: Path | None = None, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """A model, with an adapter on it if one is given, and its tokenizer.

    In float32 the adapter is merged into the weights, which saves a quarter of a small model's time. With fewer bits
    that would round the adapter away in part, so there it stays apart.

    Raises:
        UserError: one of them cannot be loaded.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    base, tokenizer = load_causal_lm(model, trust_remote_code=trust_remote_code)
    if adapter is None:
        return base.to(device).eval(), tokenizer
    from peft import PeftModel

    if not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter}: holds no adapter (adapter_config.json is missing)")
    student: Any = PeftModel.from_pretrained(base, str(adapter))
    exact = not getattr(base, "is_quantized", False) and all(p.dtype == torch.float32 for p in base.parameters())
    return (student.merge_and_unload() if exact else student).to(device).eval(), tokenizer


def _shifted(progress: Callable[[int, int], None], before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _of_this_split: progress(before + done, total)


def _consistency(model: Any, tokenizer: Any, sets: Sequence[IsomerSet], batch_size: int) -> dict[str, Any]:
    """The LCS in both forms at four layers and the penultimate one, in every pooling that the sets allow."""
    layers = four_layers(model.config.get_text_config().num_hidden_layers)
    spans = tokenizer.is_fast and all(ReadSet.of(isomer_set).has_spans for isomer_set in sets)
    poolings = ("mean", "last", "spans") if spans else ("mean", "last")
    scores = logical_consistency(model, tokenizer, sets, layers=[-2, *layers], poolings=poolings, batch_size=batch_size)
    records = {
        layer: {pooling: consistency_record(forms) for pooling, forms in by_pooling.items()}
        for layer, by_pooling in scores.items()
    }
    return {
        "layer": "penultimate",
        "n_sets": len(sets),
        **records[-2],
        "by_layer": {str(layer): records[layer] for layer in layers},
    }


def _room(tokenizer: Any, sets: Sequence[IsomerSet]) -> int:
    """Tokens for the longest reference and half as much again, so that no right chain is cut off."""
    texts = [member.completion for isomer_set in sets for member in isomer_set.members]
    return max(len(ids) for ids in tokenizer(texts)["input_ids"]) * 3 // 2


def evaluate_student(
    model: Any,
    tokenizer: Any,
    splits: Mapping[str, Sequence[IsomerSet]],
    *,
    output: Path | None = None,
    measured: Mapping[str, str] | None = None,
    max_new_tokens: int | None = None,
    batch_size: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure a student.

    Args:
        model: a causal LM.
        tokenizer: its tokenizer.
        splits: isomer sets by split name; the LCS is taken on ``id``, or on the first split.
        output: a run folder, which gets ``metrics.json`` and ``examples.jsonl``, and results in its adapter's card.
        measured: digests of what is measured, kept in the metrics.
        max_new_tokens: longest completion, in tokens; by default the split's longest reference and half as much again.
        batch_size: texts in one forward pass.
        progress: called with (completions done, completions in all).

    Returns:
        The content of ``metrics.json``: ``splits`` and ``lcs``. Numbers that cannot be known are ``None``.

    Raises:
        UserError: there is no split, or one is empty.
    """
    if not splits:
        raise UserError("there is no split to measure a student on")
    for split, sets in splits.items():
        if not sets:
            raise UserError(f"split {split!r} has no isomer sets")
    total = sum(len(isomer_set.members) for sets in splits.values() for isomer_set in sets)
    done = 0
    metrics: dict[str, Any] = {"format": METRICS_FORMAT, "splits": {}}
    examples = []
    for split, sets in splits.items():
        prompts = [member.prompt for isomer_set in sets for member in isomer_set.members]
        report = None if progress is None else _shifted(progress, done, total)
        completions = generate_greedy(
            model,
            tokenizer,
            prompts,
            max_new_tokens=max_new_tokens or _room(tokenizer, sets),
            batch_size=batch_size,
            progress=report,
        )
        done += len(prompts)
        graded = grade(sets, completions)
        metrics["splits"][split] = summarize(graded)
        shown = {isomer_set.id for isomer_set in sets[:EXAMPLE_SETS]}
        examples += [item.record(split) for item in graded if item.set_id in shown]
    name = "id" if "id" in splits else next(iter(splits))
    metrics["lcs"] = {"split": name, **_consistency(model, tokenizer, splits[name], batch_size)}
    if measured is not None:
        metrics["measured"] = dict(measured)
    if output is not None:
        write_text(output / "examples.jsonl", "".join(json.dumps(line) + "\n" for line in examples))
        write_json(output / "metrics.json", metrics)
        update_card(output)
    return metrics
