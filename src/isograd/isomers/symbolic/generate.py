"""From a family, domains and a seed to Logical Isomer Sets, with splits, shortcut cues and label noise."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, overload

from isograd.common.errors import UserError
from isograd.common.seeding import named_random
from isograd.isomers.graph import structure_hash
from isograd.isomers.schema import IsomerSet, Provenance
from isograd.isomers.symbolic.domains import domain_names
from isograd.isomers.symbolic.families import FAMILIES, bucket, grammar
from isograd.isomers.symbolic.family import Family
from isograd.isomers.symbolic.telling import tell_member

__all__ = ["GENERATOR", "SPLITS", "IsomerDataset", "create_curriculum", "create_isomers"]

GENERATOR: Final = "isograd.symbolic"
"""What the provenance of generated sets names as their generator."""

CueMode = Literal["none", "member", "set"]


@dataclass(frozen=True)
class Split:
    """A split: the buckets of problem identities that belong to it, and what its items are like.

    Attributes:
        buckets: those of problem identities (see :mod:`~isograd.isomers.symbolic.families`) that belong to it; no two
            splits share one, so no two splits share a graph with the same values, whatever their seeds, sizes and
            depths.
        role: which domains tell it by default.
        agreement: how its cues go with the answer: as often as is asked for, not at all (each cue equally often), or
            as seldom as they otherwise agree.
        noise: whether label noise applies.
        held_out: told by held-out templates.
        extra_depth: steps added to the depth asked for.
    """

    buckets: range
    role: str = "train"
    agreement: Literal["as given", "random", "reversed"] = "as given"
    noise: bool = False
    held_out: bool = False
    extra_depth: int = 0


SPLITS: Final[dict[str, Split]] = {
    "train": Split(range(8), noise=True),
    "validation": Split(range(8, 10), noise=True),
    "id": Split(range(10, 12)),
    "ood_domain": Split(range(12, 13), role="unseen", agreement="random"),
    "cue_random": Split(range(13, 14), agreement="random"),
    "cue_reversed": Split(range(14, 15), agreement="reversed"),
    "ood_template": Split(range(15, 16), held_out=True),
    "ood_depth": Split(range(16, 17), extra_depth=1),
}
"""The splits by name: fresh graphs in each, provably disjoint."""


_RECORDED: Final = ("depth", "distractors", "shuffled", "cue", "agreement", "noise")


@dataclass(frozen=True)
class IsomerDataset(Sequence[IsomerSet]):
    """A sequence of isomer sets made on demand: item ``i`` depends on the options, the seed and ``i`` alone.

    Attributes: see :func:`create_isomers`.
    """

    family: str
    seed: int
    size: int
    split: str
    domains: tuple[str, ...]
    depth: int
    distractors: int
    shuffled: bool
    cue: CueMode
    agreement: float
    noise: float

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> IsomerSet: ...
    @overload
    def __getitem__(self, index: slice) -> list[IsomerSet]: ...
    def __getitem__(self, index: int | slice) -> IsomerSet | list[IsomerSet]:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self.size))]
        if not -self.size <= index < self.size:
            raise IndexError(index)
        return self._make(index % self.size)

    def _rng(self, index: int, *purpose: str) -> random.Random:
        family = FAMILIES[self.family]
        return named_random("isomers", family.name, family.version, self.split, self.seed, index, *purpose)

    def _make(self, index: int) -> IsomerSet:
        family, split = FAMILIES[self.family], SPLITS[self.split]
        rng = self._rng(index, "problem")
        truth = rng.choice(family.labels)
        while True:
            problem = family.draw(rng, self.depth + split.extra_depth, truth)
            if bucket(self.family, problem) in split.buckets:
                break
        noisy = split.noise and rng.random() < self.noise
        answer = rng.choice([label for label in family.labels if label != truth]) if noisy else truth
        shared_cue = self._draw_cue(rng, family, answer)
        members = []
        for domain in self.domains:
            language = grammar(self.family, domain)
            # A domain's words depend neither on which other domains are told nor on the cues.
            words = self._rng(index, "words", language.domain.name)
            label = shared_cue
            if self.cue == "member":
                label = self._draw_cue(self._rng(index, "cue", language.domain.name), family, answer)
            members.append(
                tell_member(
                    problem,
                    language,
                    words,
                    answer=answer,
                    cue=None if self.cue == "none" else language.domain.cues[family.labels.index(label)],
                    distractors=self.distractors,
                    shuffled=self.shuffled,
                    held_out=split.held_out,
                )
            )
        graph = family.graph(problem)
        options = asdict(self)
        return IsomerSet(
            id=f"{self.family}-{self.split}-d{self.depth}x{self.distractors}-s{self.seed}-{index}",
            family=self.family,
            graph=graph,
            structure=structure_hash(graph),
            labels=family.labels,
            members=tuple(members),
            noisy=noisy,
            provenance=Provenance(
                generator=GENERATOR,
                version=family.version,
                split=self.split,
                seed=self.seed,
                index=index,
                options={key: options[key] for key in _RECORDED},
            ),
        )

    def _draw_cue(self, rng: random.Random, family: Family[Any], answer: str) -> str:
        """The label that a cue betrays: the stated answer with the split's probability, else another."""
        mode, rate = SPLITS[self.split].agreement, self.agreement
        if mode == "random":
            return rng.choice(family.labels)
        if mode == "reversed":
            rate = 1.0 - rate
        others = [label for label in family.labels if label != answer]
        return answer if rng.random() < rate else rng.choice(others)


def create_isomers(
    family: str = "arithmetic",
    *,
    seed: int = 0,
    size: int = 100,
    split: str = "train",
    domains: Sequence[str] | None = None,
    depth: int = 2,
    distractors: int = 0,
    shuffled: bool = False,
    cue: CueMode = "none",
    agreement: float = 0.9,
    noise: float = 0.0,
) -> IsomerDataset:
    """Make Logical Isomer Sets from the built-in symbolic generator.

    Args:
        family: the kind of logic; one of :data:`FAMILIES`.
        seed: two seeds share no random draw.
        size: how many sets.
        split: one of :data:`SPLITS`; no two splits share a problem with the same values. ``cue_random`` and
            ``cue_reversed`` differ from ``id`` in their cues only, so they say nothing without one.
        domains: which domains tell each set, by name or by the path of a domain file; by default the training
            domains, or the unseen ones where the split asks for them.
        depth: how long the chain of reasoning is (one more in ``ood_depth``): changes in ``arithmetic``, rules in
            ``deduction``, relations in ``ordering``, conditions in ``eligibility``.
        distractors: irrelevant sentences in each problem.
        shuffled: tell each story in random order, where the logic allows it (``deduction`` and ``ordering``).
        cue: plant a domain-specific register word in every sentence and step that betrays the answer: drawn for each
            ``member``, once for the whole ``set``, or ``none``.
        agreement: probability that a cue agrees with the stated answer (``1 - agreement`` in ``cue_reversed``; in
            ``cue_random`` and ``ood_domain`` every cue is equally likely, whatever the answer).
        noise: probability that the stated answer of a whole set is wrong (``train`` and ``validation`` only).

    Returns:
        A sequence of :class:`~isograd.isomers.schema.IsomerSet`, made on demand.

    Raises:
        UserError: an unknown family, split or domain, a number out of range, or more distractors than a domain has
            words for.
    """
    if family not in FAMILIES:
        raise UserError(f"unknown family {family!r}; there are: {', '.join(FAMILIES)}")
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
    if cue not in ("none", "member", "set"):
        raise UserError(f"unknown cue mode {cue!r}; there are: none, member, set")
    if size < 0:
        raise UserError(f"size is {size}, it must not be negative")
    depths, extra = FAMILIES[family].depths, SPLITS[split].extra_depth
    if depth not in depths or depth + extra not in depths:
        most = max(depths) - extra
        raise UserError(f"depth is {depth}; {family} in the split {split} goes from {min(depths)} to {most}")
    if not 0 <= distractors <= 12:
        raise UserError(f"distractors is {distractors}, it must be from 0 to 12")
    for name, rate in (("agreement", agreement), ("noise", noise)):
        if not 0.0 <= rate <= 1.0:
            raise UserError(f"{name} is {rate}, it must be from 0 to 1")
    names = tuple(domains) if domains is not None else domain_names(SPLITS[split].role)
    if not names or len(set(names)) != len(names):
        raise UserError(f"domains must be different and at least one, not: {', '.join(names) or 'none'}")
    told = [grammar(family, name).domain.name for name in names]
    if len(set(told)) != len(told):
        raise UserError(f"two of the domains have one name: {', '.join(told)}")
    # How many of the words that distractors use up a problem takes itself depends on its depth alone.
    rng = named_random("isomers", "fits")
    needs = FAMILIES[family].needs(FAMILIES[family].draw(rng, depth + extra, FAMILIES[family].labels[0]))
    for name in names:
        grammar(family, name).cast(needs, distractors, rng)
    return IsomerDataset(
        family=family,
        seed=seed,
        size=size,
        split=split,
        domains=names,
        depth=depth,
        distractors=distractors,
        shuffled=shuffled,
        cue=cue,
        agreement=agreement,
        noise=noise,
    )


def create_curriculum(
    family: str = "arithmetic", *, size: int = 100, levels: int = 4, **options: Any
) -> list[IsomerDataset]:
    """Isomer sets from easy to hard, in equal parts.

    Level 1 has the family's least depth and no distractors; every further level has one more of both.

    Args:
        family: the kind of logic.
        size: how many sets in all.
        levels: how many levels.
        options: as for :func:`create_isomers`, but for ``depth`` and ``distractors``.

    Returns:
        One dataset a level, easiest first.

    Raises:
        UserError: as :func:`create_isomers`, and if the family has not so many levels.
    """
    if family not in FAMILIES:
        raise UserError(f"unknown family {family!r}; there are: {', '.join(FAMILIES)}")
    if levels < 1:
        raise UserError(f"levels is {levels}, it must be at least 1")
    parts = [size * (level + 1) // levels - size * level // levels for level in range(levels)]
    least = min(FAMILIES[family].depths)
    return [
        create_isomers(family, size=part, depth=least + level, distractors=level, **options)
        for level, part in enumerate(parts)
    ]
