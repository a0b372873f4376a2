"""The paper's predictions, over both families: ``python predictions.py RUNS.csv [BASELINE ...]`` prints Markdown.

``RUNS.csv`` is what ``isograd compare`` writes beside its table. Runs of a family and a seed begin with one student and
see the same prompts: differences are paired by family, seed and group size, and intervals resample families and seeds,
with all group sizes of each. ``distilled`` is that student; it has been through no group.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from isograd.common.markdown import markdown_table
from isograd.evaluate.statistics import bootstrap_interval, paired_difference

MEASURES = {
    "learning/reward_end": ("reward, last fifth", 3),
    "learning/reward_mean": ("mean reward", 3),
    "accuracy/id": ("accuracy, ID", 3),
    "accuracy/ood_domain": ("accuracy, OOD domain", 3),
    "learning/steps_to_threshold": ("steps to .8", 1),
    "learning/jitter": ("jitter", 4),
    "learning/entropy_end": ("entropy, last fifth", 3),
    "learning/residual": ("cancellation residual", 4),
    "learning/tax_norm": ("learning tax, norm", 4),
    "learning/tax_kl": ("learning tax, KL", 4),
    "learning/drift": ("drift of equals", 3),
    "learning/outside": ("ratios out of range", 3),
}
Place = tuple[str, str, int]
"""Family, seed, group size."""
Values = dict[str, dict[str, dict[Place, float]]]
"""By method, measure and place."""


def read(path: Path) -> Values:
    found: Values = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            family, _, size = row["family"].rpartition("-g")
            if row["status"] != "finished":
                continue
            by_measure = found.setdefault(row["method"], {})
            for measure in MEASURES:
                # What the log of a distillation says is about other texts than a group's.
                if row.get(measure) and (row["method"] != "distilled" or measure.startswith("accuracy")):
                    by_measure.setdefault(measure, {})[family, row["seed"], int(size)] = float(row[measure])
    return found


def mean(values: Mapping[Place, float], digits: int) -> str:
    if not values:
        return "-"
    low, high = bootstrap_interval([*values.values()], clusters=[f"{family} {seed}" for family, seed, _ in values])
    return f"{sum(values.values()) / len(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def difference(ours: Mapping[Place, float], theirs: Mapping[Place, float], digits: int) -> str:
    places = [place for place in ours if place in theirs]
    if not places:
        return "-"
    clusters = [f"{family} {seed}" for family, seed, _ in places]
    gap = paired_difference([ours[p] for p in places], [theirs[p] for p in places], clusters=clusters)
    return f"{gap.mean:+.{digits}f} [{gap.low:+.{digits}f}, {gap.high:+.{digits}f}]"


def main() -> None:
    values = read(Path(sys.argv[1]))
    baselines = sys.argv[2:]
    sizes = sorted({size for by in values.values() for found in by.values() for *_, size in found})
    titles = [title for title, _ in MEASURES.values()]
    rows = [
        [method, *(mean(by.get(measure, {}), digits) for measure, (_, digits) in MEASURES.items())]
        for method, by in values.items()
    ]
    print("All group sizes together\n", *markdown_table(["rule", *titles], rows), sep="\n")
    for baseline in baselines:
        rows = []
        for method, by in values.items():
            if method == baseline:
                continue
            for chosen in (sizes, *([size] for size in sizes if len(sizes) > 1)):
                cells = [method, "all" if chosen == sizes else str(chosen[0])]
                for measure, (_, digits) in MEASURES.items():
                    ours = {place: value for place, value in by.get(measure, {}).items() if place[2] in chosen}
                    cells.append(difference(ours, values[baseline].get(measure, {}), digits))
                rows.append(cells)
        print(f"\nMinus {baseline}, paired\n", *markdown_table(["rule", "group size", *titles], rows), sep="\n")


if __name__ == "__main__":
    main()
