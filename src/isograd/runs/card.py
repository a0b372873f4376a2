"""The model card of an adapter: what it was trained on and how, what was measured, and how to use it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Final

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from isograd.common.files import read_json, write_text
from isograd.common.markdown import as_text, markdown_table

__all__ = ["adapter_card", "card_facts", "update_card", "write_card"]

BUILT_IN: Final = "builtin"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

_SHOWN: Final = (
    "method",
    "method_params",
    "loss_type",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
)
"""Settings told of every run, beside those that its configuration gives."""
_CONSISTENCY: Final = ("consistency", "consistency_weight", "consistency_at", "consistency_start", "consistency_ramp")
"""Those of a run with the isomer-consistency term."""
_WORDS: Final = frozenset(
    {
        "method",
        "method_params",
        "consistency",
        "consistency_at",
        "lr_scheduler_type",
        "optim",
        "train_sampling_strategy",
        "loss_type",
        "clip",
        "group_weights",
        "importance_sampling_level",
        "scale_rewards",
    }
)
"""Settings whose texts are told. Of all others numbers alone are: a text may be a path, a host or a token."""

_LIMITS: Final = """- Nothing but what the tables show was measured; safety was not.
- The table is of one seed. Differences between methods need several.
"""
_LIMITS_OF_SETS: Final = """- Isomer sets are short problems of one form. They say little about other tasks, and \
nothing about other languages.
"""
_LIMITS_OF_LCS: Final = """- A low distance within sets says nothing by itself: read it beside the distance between \
sets and beside accuracy.
"""


def card_facts(config: Mapping[str, Any], arguments: Any, dataset: Any, method: Any = None) -> dict[str, Any]:
    """What a card tells that no other part of ``run.json`` holds; free of paths.

    Args:
        config: the run's.
        arguments: the trainer's.
        dataset: the rows that it trained on, with the columns ``domain``, ``set_id`` and ``family`` if there are.
        method: the gradient method that was built, a dataclass, if there is one: its fields are all told, defaults too.
    """
    model = config["model"]
    hub = model != BUILT_IN and _HUB_ID.fullmatch(model) and not Path(model).exists()
    shown = [*_SHOWN, *(_CONSISTENCY if getattr(arguments, "consistency", None) else ())]
    names = dict.fromkeys([*(name for name in shown if hasattr(arguments, name)), *config["training"]])
    settings = {name: getattr(arguments, name) for name in names}
    if method is not None:
        settings["method_params"] = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    counts = {name: Counter(dataset[name]) for name in ("domain", "family", "set_id") if name in dataset.column_names}
    sources = [source if isinstance(source, Mapping) else {"path": source} for source in config["data"]]
    return {
        "base": model if hub or model == BUILT_IN else PurePath(model).name,
        "base_is_on_hub": bool(hub),
        "files": [PurePath(source["path"]).name for source in sources],
        "rows": len(dataset),
        "sets": len(counts["set_id"]) if "set_id" in counts else None,
        "domains": dict(sorted(counts.get("domain", {}).items())),
        "families": dict(sorted(counts.get("family", {}).items())),
        "settings": {name: _plain(value) for name, value in settings.items() if _may_be_told(name, value)},
    }


def _may_be_told(name: str, value: Any) -> bool:
    return isinstance(value, int | float) or (name in _WORDS and value not in (None, {}))


def _plain(value: Any) -> Any:
    """An enumeration's own text; whatever else is JSON already."""
    return getattr(value, "value", value)


def write_card(output: Path, record: Mapping[str, Any], metrics: Mapping[str, Any] | None = None) -> None:
    """Write ``adapter/README.md`` of a run folder.

    Args:
        output: the run folder, with its adapter.
        record: of ``run.json``, with ``card`` (:func:`card_facts`).
        metrics: of ``metrics.json``, once there are any.
    """
    adapter = read_json(output / "adapter" / "adapter_config.json")
    write_text(output / "adapter" / "README.md", adapter_card(record, adapter, metrics))


def update_card(output: Path) -> None:
    """Fill in the results of a run folder that holds ``metrics.json``; a folder without an adapter has no card."""
    run, metrics = output / "run.json", output / "metrics.json"
    if run.is_file() and (output / "adapter" / "adapter_config.json").is_file():
        record = read_json(run)
        if "card" in record:
            write_card(output, record, read_json(metrics))


def adapter_card(record: Mapping[str, Any], adapter: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> str:
    """The card's text: the hub's YAML header and Markdown. The same arguments give the same bytes.

    Args:
        record: of ``run.json``, with ``card`` (:func:`card_facts`).
        adapter: of ``adapter_config.json``.
        metrics: of ``metrics.json``, if there are any.

    Raises:
        ValueError: the header is none that ``huggingface_hub`` can read. The hub's own check needs the network and is
            made when a card is pushed.
    """
    facts, splits = record["card"], {} if metrics is None else metrics["splits"]
    data = ModelCardData(
        base_model=facts["base"] if facts["base_is_on_hub"] else None,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["isograd", "lora", "reasoning", "logical-isomers"],
        metrics=["accuracy"] if splits else None,
        model_name=record["label"] if splits else None,
        eval_results=[_eval_result(name, split) for name, split in splits.items()] or None,
    )
    seed, steps = record["seed"], record["steps"]
    body = f"""# {as_text(record["label"])}

A LoRA adapter for {_base_in_words(facts)}{_begun(record["config"])}, trained with isograd
{as_text(record["versions"]["isograd"])}: {steps} optimizer steps, seed {seed}.

## Data

{_composition(facts)}
## Method and values

{_values(facts, adapter, record["config"])}
Versions: {", ".join(f"{as_text(name)} {as_text(number)}" for name, number in record["versions"].items())}.

## Results

{_results(metrics)}
## Limits

{_limits(facts, metrics)}
## How to load and merge

```python
{_loading(facts)}
```
"""
    # Reading it back is the check.
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}"))


def _limits(facts: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> str:
    """What holds of this adapter: not every one was trained on isomer sets, or measured on them."""
    if metrics is None:
        return _LIMITS + (_LIMITS_OF_SETS if facts["sets"] is not None else "")
    return _LIMITS + _LIMITS_OF_SETS + _LIMITS_OF_LCS


def _eval_result(name: str, split: Mapping[str, Any]) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        task_name="Reasoning",
        dataset_type="logical-isomer-sets",
        dataset_name=f"Logical Isomer Sets ({name})",
        dataset_split=name,
        metric_type="accuracy",
        metric_value=round(split["accuracy"], 4),
    )


def _base_in_words(facts: Mapping[str, Any]) -> str:
    if facts["base"] == BUILT_IN:
        return "isograd's built-in student"
    return as_text(facts["base"]) if facts["base_is_on_hub"] else f"the local model {as_text(facts['base'])}"


def _begun(config: Mapping[str, Any]) -> str:
    adapter = config.get("adapter")
    return "" if adapter is None else f", begun from the adapter of {as_text(PurePath(adapter).name)}"


def _composition(facts: Mapping[str, Any]) -> str:
    sets = "" if facts["sets"] is None else f" in {facts['sets']} isomer sets"
    told = f"{facts['rows']} rows{sets}, from {', '.join(map(as_text, facts['files']))}.\n"
    for title in ("domain", "family"):
        counts = facts["domains" if title == "domain" else "families"]
        if counts:
            told += f"\n{_table((title, 'rows'), list(counts.items()))}"
    return told


def _values(facts: Mapping[str, Any], adapter: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    modules = adapter["target_modules"]
    rows = [
        *((name, value if isinstance(value, str) else json.dumps(value)) for name, value in facts["settings"].items()),
        *(("reward", name) for name in config.get("rewards", ())),
        ("LoRA rank", adapter["r"]),
        ("LoRA alpha", adapter["lora_alpha"]),
        ("LoRA modules", modules if isinstance(modules, str) else ", ".join(sorted(modules))),
    ]
    return _table(("setting", "value"), [(name, value) for name, value in rows])


def _results(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return "Not measured yet.\n"
    rows = [
        (name, split["n"], _share(split, "accuracy"), _share(split, "chain_accuracy"), _number(split.get("chance")))
        for name, split in metrics["splits"].items()
    ]
    told = _table(("split", "problems", "accuracy", "chain accuracy", "chance"), rows)
    lcs = metrics["lcs"]
    distances = [
        (pooling, _number(lcs[pooling]["within"]), _number(lcs[pooling]["between"]))
        for pooling in ("mean", "last", "spans")
        if pooling in lcs
    ]
    return (
        f"Greedy answers; 95% intervals, reasoning graphs resampled.\n\n{told}\n"
        f"Cosine distances of states at the penultimate layer on {as_text(lcs['split'])} (within sets: the Logical "
        f"Consistency Score):\n\n{_table(('pooling', 'within sets', 'between sets'), distances)}"
    )


def _share(split: Mapping[str, Any], name: str) -> str:
    low, high = split.get(f"{name}_ci") or (None, None)
    return f"{_number(split.get(name))} [{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _loading(facts: Mapping[str, Any]) -> str:
    if facts["base"] == BUILT_IN:
        lines = ["from isograd import student_path", "", "base = str(student_path())"]
    elif facts["base_is_on_hub"]:
        lines = [f"base = {json.dumps(facts['base'])}"]
    else:
        lines = [f"base = {json.dumps('path/to/' + facts['base'])}"]
    return "\n".join(
        [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            *lines,
            'adapter = "path/to/this/folder"',
            "tokenizer = AutoTokenizer.from_pretrained(adapter)",
            'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="auto"), adapter)',
            "",
            "merged = model.merge_and_unload()",
            'merged.save_pretrained("merged")',
            'tokenizer.save_pretrained("merged")',
        ]
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return "".join(f"{line}\n" for line in markdown_table(header, rows, cell=as_text))
