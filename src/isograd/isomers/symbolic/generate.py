"""From a family, domains and a seed to Logical Isomer Sets, with splits, shortcut cues and label noise."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, overload

from isograd.common.errors import UserError
from isograd.common.seeding import named_random
from isograd.isomers.graph import structure_hash
from isograd.isomers.schema import ANSWER_PREFIX, Isomer, IsomerSet, Provenance, Span, Step, completion_text
from isograd.isomers.symbolic.arithmetic import Arithmetic
from isograd.isomers.symbolic.domains import Domain, domain_names, load_domain, missing_words
from isograd.isomers.symbolic.family import Family, Telling

__all__ = ["FAMILIES", "SPLITS", "IsomerDataset", "create_isomers"]

FAMILIES: Final[dict[str, Family[Any]]] = {"arithmetic": Arithmetic()}
"""The families by name."""

CueMode = Literal["none", "member", "set"]

_BUCKETS: Final = 17


@dataclass(frozen=True)
class Split:
    """A split: the buckets of problem identities that belong to it, and what its items are like.

    Attributes:
        buckets: of the :data:`_BUCKETS` hash buckets of problem identities; no two splits share one, so no two
            splits share a graph with the same values, whatever their seeds, sizes and depths.
        role: which domains tell it by default.
        agreement: how often its cues agree with the answer: as given (``None``), a fixed rate, or ``"reversed"``.
        noise: whether label noise applies.
        held_out: told by held-out templates.
        extra_depth: steps added to the depth asked for.
    """

    buckets: range
    role: str = "train"
    agreement: float | Literal["reversed"] | None = None
    noise: bool = False
    held_out: bool = False
    extra_depth: int = 0


SPLITS: Final[dict[str, Split]] = {
    "train": Split(range(8), noise=True),
    "validation": Split(range(8, 10), noise=True),
    "id": Split(range(10, 12)),
    "ood_domain": Split(range(12, 13), role="unseen", agreement=0.5),
    "cue_random": Split(range(13, 14), agreement=0.5),
    "cue_reversed": Split(range(14, 15), agreement="reversed"),
    "ood_template": Split(range(15, 16), held_out=True),
    "ood_depth": Split(range(16, 17), extra_depth=1),
}
"""The splits by name: fresh graphs in each, provably disjoint."""


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
    cue: CueMode
    agreement: float
    noise: float
    _domains: tuple[Domain, ...] = field(repr=False, compare=False, default=())

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
            if _bucket(family, problem) in split.buckets:
                break
        noisy = split.noise and rng.random() < self.noise
        answer = rng.choice([label for label in family.labels if label != truth]) if noisy else truth
        shared_cue = self._draw_cue(rng, family, answer)
        members = []
        for domain in self._domains:
            # A domain's words do not depend on which other domains are told.
            words = self._rng(index, "words", domain.name)
            telling = family.tell(problem, domain, words, held_out=split.held_out, distractors=self.distractors)
            label = self._draw_cue(words, family, answer) if self.cue == "member" else shared_cue
            members.append(_member(telling, domain, answer, None if self.cue == "none" else domain.cues[label]))
        graph = family.graph(problem)
        return IsomerSet(
            id=f"{self.family}-{self.split}-depth{self.depth}-seed{self.seed}-{index}",
            family=self.family,
            graph=graph,
            structure=structure_hash(graph),
            labels=family.labels,
            members=tuple(members),
            noisy=noisy,
            provenance=Provenance(
                generator=f"isograd.symbolic.{self.family}",
                version=family.version,
                split=self.split,
                seed=self.seed,
                index=index,
                options={
                    key: value
                    for key, value in asdict(self).items()
                    if key in ("depth", "distractors", "cue", "agreement", "noise")
                },
            ),
        )

    def _draw_cue(self, rng: random.Random, family: Family[Any], answer: str) -> str:
        """The label that a cue betrays: the stated answer with the split's probability, else another."""
        rate = SPLITS[self.split].agreement
        if rate is None:
            rate = self.agreement
        elif rate == "reversed":
            rate = 1.0 - self.agreement
        others = [label for label in family.labels if label != answer]
        return answer if rng.random() < rate else rng.choice(others)


def _bucket(family: Family[Any], problem: Hashable) -> int:
    text = f"{family.name}:{family.identity(problem)}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") % _BUCKETS


def _member(telling: Telling, domain: Domain, answer: str, cue: str | None) -> Isomer:
    """Plant the cue in every sentence and every step, and note where values and answer stand."""
    suffix = f" {cue}" if cue else ""
    steps = tuple(Step(text=step.text + suffix, node=step.node, value=step.value) for step in telling.steps)
    spans, offset = [], 0
    for plain, step in zip(telling.steps, steps, strict=True):
        end = offset + len(plain.text)
        spans.append(Span(node=step.node, start=end - len(step.value), end=end))
        offset += len(step.text) + 1
    start = offset + len(ANSWER_PREFIX)
    spans.append(Span(node="goal", start=start, end=start + len(answer)))
    assert len(completion_text([step.text for step in steps], answer)) == start + len(answer)
    story = " ".join(f"{sentence}{suffix}." for sentence in telling.sentences)
    return Isomer(
        domain=domain.name,
        problem=f"{story} {telling.question}",
        steps=steps,
        answer=answer,
        spans=tuple(spans),
        cue=cue,
    )


@lru_cache
def _complete_domain(name: str, family: str) -> Domain:
    domain = load_domain(name)
    faults = missing_words(domain, family, FAMILIES[family].slots, FAMILIES[family].labels)
    if faults:
        raise UserError(f"domain {name!r} cannot tell {family!r}: {'; '.join(faults)}")
    return domain


def create_isomers(
    family: str = "arithmetic",
    *,
    seed: int = 0,
    size: int = 100,
    split: str = "train",
    domains: Sequence[str] | None = None,
    depth: int = 2,
    distractors: int = 0,
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
        domains: which domains tell each set; by default the training domains, or the unseen ones where the split
            asks for them.
        depth: reasoning steps before the final decision (one more in ``ood_depth``).
        distractors: irrelevant sentences in each problem.
        cue: plant a domain-specific register word in every sentence and step that betrays the answer: drawn for each
            ``member``, once for the whole ``set``, or ``none``.
        agreement: probability that a cue agrees with the stated answer (0.5 in ``cue_random`` and ``ood_domain``,
            ``1 - agreement`` in ``cue_reversed``).
        noise: probability that the stated answer of a whole set is wrong (``train`` and ``validation`` only).

    Returns:
        A sequence of :class:`~isograd.isomers.schema.IsomerSet`, made on demand.

    Raises:
        UserError: an unknown family, split or domain, or a number out of range.
    """
    if family not in FAMILIES:
        raise UserError(f"unknown family {family!r}; there are: {', '.join(FAMILIES)}")
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
    if cue not in ("none", "member", "set"):
        raise UserError(f"unknown cue mode {cue!r}; there are: none, member, set")
    if size < 0:
        raise UserError(f"size is {size}, it must not be negative")
    if not 1 <= depth <= 12:
        raise UserError(f"depth is {depth}, it must be from 1 to 12")
    if not 0 <= distractors <= 12:
        raise UserError(f"distractors is {distractors}, it must be from 0 to 12")
    for name, rate in (("agreement", agreement), ("noise", noise)):
        if not 0.0 <= rate <= 1.0:
            raise UserError(f"{name} is {rate}, it must be from 0 to 1")
    names = tuple(domains) if domains is not None else domain_names(SPLITS[split].role)
    if not names or len(set(names)) != len(names):
        raise UserError(f"domains must be different and at least one, not: {', '.join(names) or 'none'}")
    return IsomerDataset(
        family=family,
        seed=seed,
        size=size,
        split=split,
        domains=names,
        depth=depth,
        distractors=distractors,
        cue=cue,
        agreement=agreement,
        noise=noise,
        _domains=tuple(_complete_domain(name, family) for name in names),
    )
