"""One table over all families: ``python docs/results/pooled.py RUNS.csv [BASELINE ...]`` prints Markdown.

``RUNS.csv`` is what ``isograd compare`` writes beside its table; ``runs`` says how many of a method's runs have scores.
Differences are paired by family, seed and, in group RL, group size. Intervals resample the pairs of family and seed,
with all group sizes of each and without regard to the family: where families differ, that widens them. ``p`` is of the
exact sign-flip test over these pairs; five of one family can give no less than .0625, so that none is told for a single
family. ``distilled`` is the student before reinforcement.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from isograd.common.markdown import markdown_table
from isograd.evaluate.statistics import bootstrap_interval, paired_difference

MEASURES = {
    "learning/reward_end": ("reward, last fifth", 3),
    "learning/reward_mean": ("mean reward", 3),
    "accuracy/id": ("accuracy, ID", 3),
    "accuracy/ood_domain": ("accuracy, OOD domain", 3),
    "accuracy/cue_random": ("accuracy, cue random", 3),
    "accuracy/cue_reversed": ("accuracy, cue reversed", 3),
    "chain/id": ("chain, ID", 3),
    "chain/ood_domain": ("chain, OOD domain", 3),
    "learning/steps_to_threshold": ("steps to threshold", 1),
    "learning/jitter": ("jitter", 4),
    "learning/entropy_end": ("entropy, last fifth", 3),
    "learning/residual": ("cancellation residual", 4),
    "learning/tax_norm": ("learning tax, norm", 4),
    "learning/tax_kl": ("learning tax, KL", 4),
    "learning/drift": ("drift of equals", 3),
    "learning/outside": ("ratios out of range", 3),
    "learning/tokens": ("tokens", 0),
    "lcs_ratio/last/layer_3": ("LCS, last token: within / between", 3),
    "lcs_ratio/mean/layer_3": ("LCS, mean: within / between", 3),
}
MOST_SIGNS = 20
"""Pairs of family and seed whose signings are all counted; that is a million."""
Place = tuple[str, str, int]
"""Family, seed, and group size or 0."""
Values = dict[str, dict[str, dict[Place, float]]]
"""By method, measure and place."""


def read(path: Path) -> tuple[Values, dict[str, str]]:
    """The values, and how many of each method's runs have them."""
    found: Values = {}
    runs: dict[str, list[bool]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            runs.setdefault(row["method"], []).append(not row["trouble"])
            if row["trouble"]:
                continue
            group = re.search(r"-g(\d+)$", row["family"])
            family, size = (row["family"], 0) if group is None else (row["family"][: group.start()], int(group[1]))
            by_measure = found.setdefault(row["method"], {})
            for measure in MEASURES:
                if row.get(measure):
                    by_measure.setdefault(measure, {})[family, row["seed"], size] = float(row[measure])
    return found, {method: f"{sum(scored)} of {len(scored)}" for method, scored in runs.items()}


def mean(values: Mapping[Place, float], digits: int) -> str:
    if not values:
        return "-"
    told = f"{sum(values.values()) / len(values):.{digits}f}"
    low, high = bootstrap_interval([*values.values()], clusters=[f"{family} {seed}" for family, seed, _ in values])
    return told if math.isnan(low) else f"{told} [{low:.{digits}f}, {high:.{digits}f}]"


def difference(ours: Mapping[Place, float], theirs: Mapping[Place, float], digits: int) -> str:
    places = [place for place in ours if place in theirs]
    if not places:
        return "-"
    clusters = [f"{family} {seed}" for family, seed, _ in places]
    gap = paired_difference([ours[p] for p in places], [theirs[p] for p in places], clusters=clusters)
    told = f"{gap.mean:+.{digits}f}"
    if math.isnan(gap.low):
        return told
    told += f" [{gap.low:+.{digits}f}, {gap.high:+.{digits}f}]"
    if len({family for family, *_ in places}) == 1 or len({*clusters}) > MOST_SIGNS:
        return told
    by_cluster: dict[str, float] = {}
    for place, cluster in zip(places, clusters, strict=True):
        by_cluster[cluster] = by_cluster.get(cluster, 0.0) + ours[place] - theirs[place]
    return f"{told} p {sign_flip_p([*by_cluster.values()]):.3f}"


def sign_flip_p(values: Sequence[float]) -> float:
    """Two-sided: the share of all signings of the values whose sum is at least as far from zero as theirs."""
    sums = [0.0]
    for value in values:
        sums = [total + signed for total in sums for signed in (value, -value)]
    # Sums that are equal on paper may differ by rounding.
    least = abs(math.fsum(values)) * (1 - 1e-9)
    return sum(abs(total) >= least for total in sums) / len(sums)


def main() -> None:
    values, runs = read(Path(sys.argv[1]))
    baselines = sys.argv[2:]
    places = {place for by in values.values() for found in by.values() for place in found}
    parts = {"all": places}
    for family in sorted({place[0] for place in places}):
        parts[family] = {place for place in places if place[0] == family}
    sizes = sorted({place[2] for place in places})
    for size in sizes if len(sizes) > 1 else ():
        parts[f"group size {size}"] = {place for place in places if place[2] == size}
    measures = {key: how for key, how in MEASURES.items() if any(key in by for by in values.values())}
    titles = [title for title, _ in measures.values()]
    rows = [
        [method, count, *(mean(values.get(method, {}).get(measure, {}), how[1]) for measure, how in measures.items())]
        for method, count in runs.items()
    ]
    print("All runs together\n", *markdown_table(["method", "runs", *titles], rows), sep="\n")
    for baseline in baselines:
        rows = []
        for method, by in values.items():
            if method == baseline:
                continue
            for part, chosen in parts.items():
                cells = [method, part]
                for measure, (_, digits) in measures.items():
                    ours = {place: value for place, value in by.get(measure, {}).items() if place in chosen}
                    cells.append(difference(ours, values[baseline].get(measure, {}), digits))
                rows.append(cells)
        print(f"\nMinus {baseline}, paired\n", *markdown_table(["method", "runs", *titles], rows), sep="\n")


if __name__ == "__main__":
    main()
