"""The words of the report: numbers as text, the headline, and the notices that keep readers from over-reading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from isograd.report.runs import POOLINGS, Run
from isograd.report.summary import Method, chance_level, describe_split, split_order

__all__ = [
    "SEEDS_FOR_A_CLAIM",
    "collapses",
    "few_seeds",
    "findings",
    "guessing",
    "headline",
    "listed",
    "notices",
    "number_word",
    "percent",
    "shorten",
    "span_of",
]

# Fewer seeds than this support no claim about a method.
SEEDS_FOR_A_CLAIM = 5
_NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Settings that differ between the seeds of one method without making it another method.
_PER_RUN = ("name", "label", "output", "output_dir", "run_name", "logging_dir")


def percent(rate: float) -> str:
    """A rate in [0, 1] as whole percent."""
    return f"{100 * rate:.0f}%"


def span_of(interval: tuple[float, float]) -> str:
    """An interval of rates in words."""
    return f"95% interval {100 * interval[0]:.0f} to {percent(interval[1])}"


def shorten(text: str, length: int) -> str:
    """At most ``length`` characters, with an ellipsis where some were left out."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def headline(methods: Sequence[Method]) -> str:
    """One sentence: what was compared."""
    trained = [method for method in methods if not method.base]
    if not trained:
        return "The untrained student was evaluated; no training was compared."
    names = listed([method.label for method in trained])
    if len(trained) == 1:
        text = f"One student was distilled on isomer sets with {names}"
    else:
        text = f"{number_word(len(trained)).capitalize()} ways of distilling on isomer sets were compared: {names}"
    if any(method.base for method in methods):
        text += (
            ". The untrained student stands beside them for reference"
            if len(trained) > 1
            else (" and set beside the untrained one")
        )
    return text + "."


def findings(methods: Sequence[Method]) -> list[str]:
    """What came out, one short sentence per split that says most (the familiar case and the hardest one), and what
    guessing gives there, where that is known.
    """
    splits = split_order(methods)
    hardest = next((split for split in ("cue_reversed", "ood_domain", "cue_random") if split in splits), None)
    sentences, told = [], []
    for split in dict.fromkeys(["id" if "id" in splits else None, hardest]):
        if split is None:
            continue
        scores = [
            (method.label, cell.mean)
            for method in methods
            if not method.base and (cell := method.accuracy(split)) is not None
        ]
        if scores:
            name = describe_split(split)
            sentences.append(f"{name.title.capitalize()} ({name.note}): {_scores(scores)}.")
            told.append(split)
    return sentences + guessing(methods, told)


def guessing(methods: Sequence[Method], splits: Sequence[str]) -> list[str]:
    """One sentence on the level of guessing in ``splits``; none where it is not known or differs."""
    chance = chance_level(methods, splits)
    return [] if chance is None else [f"Guessing gives {percent(chance)}."]


def repeated_problems(methods: Sequence[Method], splits: Sequence[str]) -> list[str]:
    """One sentence on how many different problems stand behind the splits in which sets share them."""
    told = []
    for split in splits:
        scores = [run.splits[split] for method in methods for run in method.scored if split in run.splits]
        counts = [(score.n_graphs, score.n_sets) for score in scores if score.n_graphs and score.n_sets]
        if any(graphs < sets for graphs, sets in counts):
            low, high = min(graphs for graphs, _ in counts), max(graphs for graphs, _ in counts)
            sets = max(sets for _, sets in counts)
            told.append(f"{describe_split(split).title} {low if low == high else f'{low} to {high}'} of {sets} sets")
    return [f"Different problems, others being the same in other words: {', '.join(told)}."] if told else []


def few_seeds(methods: Sequence[Method]) -> list[str]:
    """A sentence on too few seeds for a claim; none where there are enough."""
    seeds = [len(method.scored) for method in methods if not method.base and method.scored]
    if not seeds or min(seeds) >= SEEDS_FOR_A_CLAIM:
        return []
    if max(seeds) == 1:
        return [
            "One seed is an illustration, not evidence. Intervals below tell how sure the score of this one run is, "
            "not how another run would turn out."
        ]
    return [
        f"Some methods have only {number_word(min(seeds))} {'seed' if min(seeds) == 1 else 'seeds'}. "
        f"A claim about a method needs at least {number_word(SEEDS_FOR_A_CLAIM)}; with fewer, bootstrap intervals "
        "are far too narrow."
    ]


def notices(methods: Sequence[Method]) -> list[str]:
    """Reasons not to read too much into this report."""
    found = few_seeds(methods)
    differing: dict[str, list[str]] = {}
    for method in methods:
        keys = _differing(method.scored)
        if keys:
            differing.setdefault(listed(keys[:6]), []).append(method.label)
    found += [
        f"The runs of {listed(labels)} differ in more than the seed: {keys}." for keys, labels in differing.items()
    ]
    found += collapses(methods)
    steps = {run.steps for method in methods if not method.base for run in method.scored if run.steps is not None}
    if len(steps) > 1:
        found.append(f"The students were trained for different numbers of steps: {listed(map(str, sorted(steps)))}.")
    machines = {repr(run.machine) for method in methods if not method.base for run in method.scored}
    if len(machines) > 1:
        found.append("The runs come from different machines; their training times do not compare.")
    troubled = [run for method in methods for run in method.runs if run.trouble]
    if troubled:
        verb = "run has" if len(troubled) == 1 else "runs have"
        found.append(
            f"{number_word(len(troubled)).capitalize()} {verb} no result and stay in the table with the reason."
        )
    return found


def collapses(methods: Sequence[Method]) -> list[str]:
    """Whose representation is collapsed, in at least one seed, where the LCS of the tables is taken."""
    found = []
    for pooling, title in POOLINGS.items():
        labels = [m.label for m in methods if any(getattr(run.lcs, pooling).collapsed for run in m.scored)]
        if labels:
            found.append(
                f"The representation of {listed(labels)} is collapsed ({title}): different problems have nearly the "
                "same state, so a small LCS says nothing."
            )
    return found


def _scores(scores: Sequence[tuple[str, float]]) -> str:
    """Every score where they are few, else the range."""
    if len(scores) <= 3:
        return ", ".join(f"{label} {percent(value)}" for label, value in scores)
    worst = min(scores, key=lambda score: score[1])
    best = max(scores, key=lambda score: score[1])
    return f"from {percent(worst[1])} ({worst[0]}) to {percent(best[1])} ({best[0]})"


def number_word(count: int) -> str:
    """A small number as a word."""
    return _NUMBER_WORDS[count] if count < len(_NUMBER_WORDS) else str(count)


def listed(names: Any) -> str:
    """Names with commas and an "and"; with semicolons where a name has a comma of its own."""
    items = list(names)
    if len(items) == 1:
        return str(items[0])
    return f"{('; ' if any(',' in item for item in items) else ', ').join(items[:-1])} and {items[-1]}"


def _differing(runs: Sequence[Run]) -> list[str]:
    """Dotted names of the settings that differ between runs in more than their seeds.

    What is named by the run's own seed, as generated data are (``train-seed3.jsonl``), is the same setting.
    """
    plain = [dict(_flat(run.config)) for run in runs]
    seedless = [
        {key: re.sub(rf"(?<![A-Za-z])seed{run.seed}(?!\d)", "seed", value) for key, value in config.items()}
        for run, config in zip(runs, plain, strict=True)
    ]
    keys = {key for config in plain for key in config if not _is_per_run(key.rsplit(".", 1)[-1])}
    return sorted(
        key for key in keys if all(len({config.get(key) for config in form}) > 1 for form in (plain, seedless))
    )


def _is_per_run(name: str) -> bool:
    return name in _PER_RUN or name.endswith("seed")


def _flat(config: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in config.items():
        pairs += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", repr(value))]
    return pairs
