"""Verifying whole files: every set's verdict, and what the file is made of."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from isograd.common.errors import UserError
from isograd.common.files import atomic_writer
from isograd.isomers.parsing import Fault
from isograd.isomers.reading import JSON_LINES, read_lines, suffix_of
from isograd.isomers.schema import Isomer, IsomerSet
from isograd.isomers.symbolic.domains import load_domain
from isograd.isomers.symbolic.generate import GENERATOR
from isograd.isomers.verify.against import evaluation_items
from isograd.isomers.verify.checks import MAX_OVERLAP, Finding, Reason, check_set, comparable, overlaps
from isograd.isomers.verify.leakage import LeakageIndex, graph_key
from isograd.isomers.verify.text import ngrams, normalize

__all__ = ["Verdict", "Verification", "Verifier", "evaluation_items", "verify_file"]

BINS = 100


@dataclass(frozen=True)
class Verdict:
    """The judgment of one line.

    Attributes:
        line: of the file, from 1.
        id: the set's; ``None`` where the line is no set.
        findings: everything found; for a line that is no set, its one fault.
    """

    line: int
    id: str | None
    findings: tuple[Finding | Fault, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing that was found rejects the set."""
        return not self.rejections

    @property
    def rejections(self) -> list[Finding | Fault]:
        """The findings that reject the set."""
        return [
            f
            for f in self.findings
            if not (isinstance(f, Finding) and isinstance(f.reason, Reason) and not f.reason.rejects)
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain data: ``line``, ``id``, ``passed`` and ``findings`` with ``reason``, ``where`` and ``detail``."""
        return {
            "line": self.line,
            "id": self.id,
            "passed": self.passed,
            "findings": [
                {"reason": "unreadable", "where": f.field, "detail": f"{f.reason}; {f.mend}"}
                if isinstance(f, Fault)
                else {"reason": str(f.reason), "where": f.where, "detail": f.detail}
                for f in self.findings
            ],
        }


@dataclass
class Verification:
    """What a file is made of and how it fared. Everything is counted as the sets pass by.

    Attributes:
        sets: readable sets.
        passed: sets that passed.
        unreadable: lines that are no sets.
        unchecked: sets of which something could not be checked.
        reasons: rejected sets (and lines) by reason; one with several counts for each.
        sizes: sets by number of members.
        families: sets and passed sets by family.
        domains: members by domain.
        graphs: sets by graph with values (hashed), to tell how many different problems there are.
        overlap: for each pair of domains a histogram of the Jaccard index in :data:`BINS` bins.
    """

    sets: int = 0
    passed: int = 0
    unreadable: int = 0
    unchecked: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    families: dict[str, list[int]] = field(default_factory=dict)
    domains: Counter[str] = field(default_factory=Counter)
    graphs: set[int] = field(default_factory=set)
    overlap: dict[tuple[str, str], Counter[int]] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether every line was a set and every set passed."""
        return not self.unreadable and self.passed == self.sets

    def overlap_quantile(self, pair: tuple[str, str], share: float) -> float:
        """A quantile of a pair's overlap, to the upper end of its bin."""
        histogram = self.overlap[pair]
        wanted, seen = share * histogram.total(), 0
        for place in sorted(histogram):
            seen += histogram[place]
            if seen >= wanted:
                return place / BINS
        raise AssertionError("a pair with a histogram was seen at least once")


class Verifier:
    """Judges sets one after another; what needs more than one set (duplicates, counts) is kept in ``summary``.

    Time is linear in the number of sets; memory holds a few hashes of each.

    Args:
        against: evaluation items that no set may repeat.
        max_overlap: the largest Jaccard index of two members' content words.
        unique_graphs: also reject a set whose graph, with its values, an earlier one has, in whatever words.
        domains: files of domains that isograd does not bring, by name.
    """

    def __init__(
        self,
        against: LeakageIndex | None = None,
        *,
        max_overlap: float = MAX_OVERLAP,
        unique_graphs: bool = False,
        domains: Mapping[str, str] | None = None,
    ) -> None:
        self.summary = Verification()
        self._against = against
        self._max_overlap = max_overlap
        self._unique_graphs = unique_graphs
        self._domains = domains
        self._texts: dict[int, int] = {}
        self._graphs: set[int] = set()

    def judge(self, line: int, item: IsomerSet | Fault) -> Verdict:
        """The verdict on one line, counted in ``summary``."""
        summary = self.summary
        if isinstance(item, Fault):
            summary.unreadable += 1
            summary.reasons["unreadable"] += 1
            return Verdict(line, None, (item,))
        shared = overlaps(item)
        found = check_set(item, max_overlap=self._max_overlap, domains=self._domains, shared=shared)
        key = graph_key(item.graph) if comparable(item.graph) else None
        found += self._leaks(item, key)
        graph = None if key is None else int(key, 16) >> 32
        texts = [_text_key(member) for member in item.members]
        found += self._duplicates(texts, graph)
        verdict = Verdict(line, item.id, tuple(found))
        if verdict.passed:
            # What was rejected does not stand in the way of its own correction.
            for text in texts:
                self._texts.setdefault(text, line)
            if self._unique_graphs and graph is not None:
                self._graphs.add(graph)
        self._count(item, verdict, graph, shared)
        return verdict

    def _leaks(self, item: IsomerSet, key: str | None) -> Iterator[Finding]:
        """In the problems and, where no grammar says what they must be, in the chains of thought."""
        if self._against is None:
            return
        leaks = self._against.find([member.problem for member in item.members], key)
        if item.provenance.generator != GENERATOR:
            seen = {(leak.reason, leak.file, leak.line) for leak in leaks}
            thoughts = self._against.find(["\n".join(step.text for step in member.steps) for member in item.members])
            leaks += [leak for leak in thoughts if (leak.reason, leak.file, leak.line) not in seen]
        for leak in leaks:
            yield Finding(leak.reason, f"{leak.file}:{leak.line}", leak.detail)

    def _duplicates(self, texts: Sequence[int], graph: int | None) -> Iterator[Finding]:
        """Told before: most members word for word, whatever the id. One alone can coincide among many sets."""
        earlier = Counter(self._texts[text] for text in texts if text in self._texts)
        for first, count in earlier.most_common(1):
            if count >= min(2, len(texts)):
                yield Finding(Reason.DUPLICATE, "members", f"{count} of them are told word for word in line {first}")
        if graph in self._graphs:
            yield Finding(Reason.DUPLICATE, "graph", "an earlier set has the same graph with the same values")

    def _count(
        self, item: IsomerSet, verdict: Verdict, graph: int | None, shared: Mapping[tuple[str, str], float]
    ) -> None:
        summary = self.summary
        summary.sets += 1
        summary.passed += verdict.passed
        summary.unchecked += any(
            isinstance(f.reason, Reason) and not f.reason.rejects for f in verdict.findings if isinstance(f, Finding)
        )
        summary.reasons.update({str(f.reason) for f in verdict.rejections if isinstance(f, Finding)})
        summary.sizes[len(item.members)] += 1
        family = summary.families.setdefault(item.family, [0, 0])
        family[0] += 1
        family[1] += verdict.passed
        summary.domains.update(item.domains)
        if graph is not None:
            summary.graphs.add(graph)
        for pair, share in shared.items():
            ordered = (min(pair), max(pair))
            summary.overlap.setdefault(ordered, Counter())[-int(-share * BINS // 1)] += 1


def _text_key(member: Isomer) -> int:
    words = normalize(f"{member.domain} {member.problem}").split()
    return next(ngrams(words, len(words)))


def verify_file(
    path: str | os.PathLike[str],
    against: Sequence[str | os.PathLike[str]] = (),
    *,
    verdicts: str | os.PathLike[str] | None = None,
    accepted: str | os.PathLike[str] | None = None,
    rejected: str | os.PathLike[str] | None = None,
    domains: Sequence[str] = (),
    max_overlap: float = MAX_OVERLAP,
    unique_graphs: bool = False,
    progress: Callable[[Verdict], None] | None = None,
) -> Verification:
    """Verify a file of isomer sets, whoever made it.

    Args:
        path: ``*.jsonl`` or ``*.parquet``.
        against: evaluation files that no set may repeat; see :func:`evaluation_items`.
        verdicts: where to write one JSON line a verdict.
        accepted: where to write the sets that passed (``.jsonl``).
        rejected: where to write what did not: the verdict and, where there is one, the ``set``.
        domains: domain files that isograd does not bring.
        max_overlap: the largest Jaccard index of two members' content words.
        unique_graphs: also reject a set whose graph, with its values, an earlier one has.
        progress: called with each verdict.

    Returns:
        The summary. Broken lines are judged like rejected sets, and the rest of the file is still verified.

    Raises:
        UserError: a file cannot be read or written, or an evaluation file is broken.
    """
    index = LeakageIndex()
    for file in against:
        for entry in evaluation_items(file):
            index.add(entry)
    own = {load_domain(file).name: file for file in domains}
    verifier = Verifier(index if against else None, max_overlap=max_overlap, unique_graphs=unique_graphs, domains=own)
    targets = [verdicts, accepted, rejected]
    if accepted and suffix_of(accepted) != JSON_LINES:
        raise UserError(f"{accepted}: accepted sets are written as JSON lines; name it *{JSON_LINES}")
    files = [Path(target).resolve() for target in targets if target]
    if len(set(files)) < len(files):
        raise UserError("verdicts, accepted and rejected sets need files of their own; one is named twice")
    if Path(path).resolve() in {Path(target).resolve() for target in (verdicts, rejected) if target}:
        raise UserError(f"{path}: would be replaced by verdicts or rejected sets; name another file for them")
    with ExitStack() as stack:
        outputs = [_opened(stack, target) if target else None for target in targets]
        for line, item in read_lines(path):
            verdict = verifier.judge(line, item)
            _write(outputs, verdict, item)
            if progress is not None:
                progress(verdict)
    return verifier.summary


def _opened(stack: ExitStack, target: str | os.PathLike[str]) -> IO[Any]:
    try:
        return stack.enter_context(atomic_writer(target))
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from None


def _write(outputs: Iterable[IO[Any] | None], verdict: Verdict, item: IsomerSet | Fault) -> None:
    verdicts, accepted, rejected = outputs
    plain = verdict.to_json()
    if verdicts:
        verdicts.write(json.dumps(plain, ensure_ascii=False) + "\n")
    if verdict.passed and isinstance(item, IsomerSet):
        if accepted:
            accepted.write(item.model_dump_json(exclude_defaults=True) + "\n")
    elif rejected:
        held = item.model_dump(mode="json", exclude_defaults=True) if isinstance(item, IsomerSet) else None
        rejected.write(json.dumps({**plain, "set": held}, ensure_ascii=False) + "\n")
