"""The dataset card: what a file of isomer sets holds, counted in one pass, as the hub's Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from isograd.common.errors import UserError
from isograd.common.markdown import as_text, markdown_table
from isograd.isomers.schema import IsomerSet, NodeType
from isograd.isomers.symbolic.domains import domain_names
from isograd.isomers.symbolic.generate import GENERATOR
from isograd.isomers.views import true_answer

__all__ = ["Composition", "dataset_card", "shard"]

# What the built-in generator tells in built-in domains is put together from words of this package, under its license.
BUILT_IN_LICENSE: Final = "apache-2.0"

MOST_ROWS: Final = 60
"""Longest table; what is left out is counted."""
MOST_COLUMNS: Final = 10
MOST_SEEDS: Final = 10

_SIZES: Final = {
    10**3: "n<1K",
    10**4: "1K<n<10K",
    10**5: "10K<n<100K",
    10**6: "100K<n<1M",
    10**7: "1M<n<10M",
}

_INTRODUCTION: Final = """# Logical Isomer Sets

Each row is a *Logical Isomer Set*: one reasoning graph told in several domains. The members of a set share the logic
and the values and differ in their words, so a student that reasons gives all of them the same answer.

```python
from datasets import load_dataset
from isograd.isomers import from_dataset

sets = list(from_dataset(load_dataset({repo}, split={split})))
```

| column | content |
| --- | --- |
| `id` | unique name of the set |
| `family` | the kind of logic |
| `structure` | hash of the graph's structure, equal for isomorphic graphs |
| `labels` | the possible answers |
| `noisy` | whether label noise replaced the stated answer of all members |
| `members` | one for each domain: `domain`, `problem`, `steps`, `answer` (as stated), `spans`, `cue`, `graph` |
| `graph` | the shared graph, as JSON text; the value of its GOAL is the true answer |
| `provenance` | generator, version, split, seed, index and options, as JSON text |

A member's completion is its steps, one a line, and `Answer: ` with the stated answer. Its spans are the places
`[start, end)` in that text, in characters, where it states the value of each step and, last, the answer; equal
positions in the lists of two members of a set are equal logical places.
"""


class Composition:
    """Counts over isomer sets, taken while they pass by."""

    def __init__(self) -> None:
        self.sets = self.noisy = 0
        self.built_in = True
        self._own_domains = frozenset(domain_names())
        self.structures: set[str] = set()
        self.sizes: Counter[int] = Counter()
        self.depths: Counter[int] = Counter()
        self.domains: Counter[tuple[str, str]] = Counter()
        self.answers: Counter[tuple[str, str, str]] = Counter()
        self.cues: Counter[tuple[str, str, str]] = Counter()
        self.sources: dict[tuple[str, str, int, str, str], Counter[int]] = {}

    def watch(self, sets: Iterable[IsomerSet]) -> Iterator[IsomerSet]:
        """Count sets and hand them on."""
        for isomer_set in sets:
            self.add(isomer_set)
            yield isomer_set

    def add(self, isomer_set: IsomerSet) -> None:
        """Count one set."""
        family, origin = isomer_set.family, isomer_set.provenance
        self.sets += 1
        self.noisy += isomer_set.noisy
        self.built_in &= origin.generator == GENERATOR and self._own_domains.issuperset(isomer_set.domains)
        self.structures.add(isomer_set.structure)
        self.sizes[len(isomer_set.members)] += 1
        self.depths[sum(node.type is not NodeType.GOAL for node in isomer_set.graph.steps)] += 1
        for member in isomer_set.members:
            self.domains[family, member.domain] += 1
            self.answers[family, true_answer(isomer_set, member), "true"] += 1
            self.answers[family, member.answer, "stated"] += 1
            if member.cue is not None:
                self.cues[member.domain, member.cue, member.answer] += 1
        options = json.dumps(origin.options, sort_keys=True, ensure_ascii=False)
        source = (origin.generator, family, origin.version, origin.split, options)
        self.sources.setdefault(source, Counter())[origin.seed] += 1

    def card(
        self, *, splits: Sequence[str] = ("train",), repo: str = "user/name", dataset_license: str | None = None
    ) -> str:
        """The card of a repository whose first split is what was counted; see :func:`dataset_card`."""
        if not self.sets:
            raise UserError("there are no isomer sets to describe")
        header = {
            "license": dataset_license or (BUILT_IN_LICENSE if self.built_in else "unknown"),
            "task_categories": ["text-generation"],
            "tags": ["isograd", "reasoning", "logical-isomers"],
            "size_categories": [next((name for most, name in _SIZES.items() if self.sets < most), "n>10M")],
            "configs": [
                {
                    "config_name": "default",
                    "data_files": [{"split": split, "path": shard(split, "*")} for split in splits],
                }
            ],
        }
        yaml_text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
        introduction = _INTRODUCTION.format(repo=json.dumps(repo), split=json.dumps(splits[0]))
        return f"---\n{yaml_text}---\n\n{introduction}\n## Composition of the split `{splits[0]}`\n\n{self._tables()}"

    def _tables(self) -> str:
        members = sum(self.domains.values())
        families, domains = ({pair[part] for pair in self.domains} for part in (0, 1))
        parts = [
            _table(
                ("sets", "members", "families", "domains", "structures", "noisy sets"),
                [
                    (
                        self.sets,
                        members,
                        len(families),
                        len(domains),
                        len(self.structures),
                        f"{self.noisy} ({self.noisy / self.sets:.1%})",
                    )
                ],
            ),
            "### Members by family and domain\n",
            _crossed("family", self.domains),
            "### Answers\n\nMembers by true answer (the graph's) and by stated answer (label noise included).\n",
            _crossed(
                ("family", "answer"),
                {((family, answer), kind): count for (family, answer, kind), count in self.answers.items()},
                ("true", "stated"),
            ),
            "### Sizes and depths\n\nSets by their number of members, and by their reasoning steps (derived nodes of "
            "the graph, the goal left out).\n",
            _table(("members", "sets"), sorted(self.sizes.items())),
            _table(("steps", "sets"), sorted(self.depths.items())),
        ]
        if self.cues:
            parts += [
                "### Shortcut cues\n\nMembers by cue and by stated answer. A cue is a word planted in a rendering that "
                "betrays an answer without being part of the reasoning.\n",
                self._cue_table(),
            ]
        rows = [
            (*origin, sum(seeds.values()), _seeds(seeds), options)
            for (*origin, options), seeds in sorted(self.sources.items())
        ]
        parts += [
            "### Provenance\n",
            _table(("generator", "family", "version", "split", "sets", "seeds", "options"), rows),
        ]
        return "\n".join(parts)

    def _cue_table(self) -> str:
        if len({answer for _, _, answer in self.cues}) > MOST_COLUMNS:
            rows = [(*key, count) for key, count in sorted(self.cues.items())]
            return _table(("domain", "cue", "stated answer", "members"), rows)
        return _crossed(
            ("domain", "cue"),
            {((domain, cue), answer): count for (domain, cue, answer), count in self.cues.items()},
        )


def dataset_card(
    sets: Iterable[IsomerSet],
    *,
    splits: Sequence[str] = ("train",),
    repo: str = "user/name",
    dataset_license: str | None = None,
) -> str:
    """The README of a dataset repository: the hub's YAML header, and tables of what the sets hold.

    Args:
        sets: any iterable; it is gone through once and not kept.
        splits: the repository's splits, each in ``data/<split>-*.parquet``; the sets are the first one's.
        repo: the repository's id, for the example.
        dataset_license: an identifier of the hub's; by default ``apache-2.0`` where all sets are the built-in
            generator's in built-in domains, else ``unknown``.

    Raises:
        UserError: there are no sets.
    """
    composition = Composition()
    for isomer_set in sets:
        composition.add(isomer_set)
    return composition.card(splits=splits, repo=repo, dataset_license=dataset_license)


def shard(split: str, number: str = "00000-of-00001") -> str:
    """Path of a split's file in a dataset repository."""
    return f"data/{split}-{number}.parquet"


def _seeds(seeds: Mapping[int, int]) -> str:
    shown = ", ".join(map(str, sorted(seeds)[:MOST_SEEDS]))
    return shown if len(seeds) <= MOST_SEEDS else f"{shown} and {len(seeds) - MOST_SEEDS} more"


def _crossed(
    corner: str | tuple[str, ...], counts: Mapping[tuple[Any, str], int], columns: Sequence[str] | None = None
) -> str:
    """A table of counts with the first part of each key down and the second across."""
    columns = columns or sorted({column for _, column in counts})
    names = (corner,) if isinstance(corner, str) else corner
    rows = [
        (*((row,) if isinstance(row, str) else row), *(counts.get((row, column), 0) for column in columns))
        for row in sorted({row for row, _ in counts})
    ]
    return _table((*names, *columns), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = "".join(f"{line}\n" for line in markdown_table(header, rows[:MOST_ROWS], cell=as_text))
    return text if len(rows) <= MOST_ROWS else f"{text}\n{len(rows) - MOST_ROWS} more rows are not shown.\n"
