"""What a set of the built-in generator must be besides: each member's own words are read back and compared.

The sentences are parsed with the domain's templates and the problem is rebuilt from them; its graph, its chain of
thought and the places of its values are then compared with what the set states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isograd.common.errors import UserError
from isograd.isomers.graph import isomorphic
from isograd.isomers.schema import Isomer, IsomerSet, ReasoningGraph
from isograd.isomers.symbolic.domains import domain_names
from isograd.isomers.symbolic.families import FAMILIES, bucket, grammar
from isograd.isomers.symbolic.family import Family, Unreadable
from isograd.isomers.symbolic.generate import GENERATOR, SPLITS
from isograd.isomers.symbolic.grammar import Grammar
from isograd.isomers.symbolic.telling import Reading, read_member
from isograd.isomers.verify.findings import Finding, Reason

__all__ = ["check_generated"]


def check_generated(isomer_set: IsomerSet, domains: Mapping[str, str]) -> list[Finding]:
    """Check a set that names the built-in generator as its origin.

    Args:
        isomer_set: the set; its graph is a reasoning graph.
        domains: files of domains that isograd does not bring, by name.
    """
    family = FAMILIES.get(isomer_set.family)
    if family is None:
        return [Finding(Reason.PROVENANCE, "family", f"{GENERATOR} has no family {isomer_set.family!r}")]
    found = []
    if isomer_set.labels != family.labels:
        found.append(Finding(Reason.LABEL, "labels", f"are not those of {family.name}: {', '.join(family.labels)}"))
    readings: list[Reading] = []
    cues: list[int | None] = []
    same: dict[Any, bool] = {}  # by problem, for all members of a sound set tell the same
    for member in isomer_set.members:
        try:
            language = _language(isomer_set.family, member.domain, domains)
        except UserError as error:
            found.append(Finding(Reason.DOMAIN, member.domain, str(error)))
            continue
        try:
            cues.append(_cue(member, language))
            reading = read_member(member, language)
        except Unreadable as error:
            found.append(Finding(Reason.TEXT, member.domain, str(error)))
            continue
        readings.append(reading)
        if reading.problem not in same:
            graph = family.graph(reading.problem)
            same[reading.problem] = isomorphic(isomer_set.graph, graph) and _typed(isomer_set.graph) == _typed(graph)
        if not same[reading.problem]:
            found.append(Finding(Reason.STRUCTURE, member.domain, "the problem's words make another graph"))
        else:
            found += _chain(member, reading)
    found += [Finding(Reason.PROVENANCE, where, detail) for where, detail in _claims(isomer_set, family, readings)]
    if len(readings) == len(isomer_set.members):
        found += [Finding(Reason.PROVENANCE, "options.cue", detail) for detail in _cue_claims(isomer_set, cues)]
    return found


def _language(family: str, domain: str, domains: Mapping[str, str]) -> Grammar:
    # Never a file that the set itself names.
    if domain not in domains and domain not in domain_names():
        raise UserError(f"unknown domain {domain!r}; there are: {', '.join([*domain_names(), *domains])}")
    return grammar(family, domains.get(domain, domain))


def _cue(member: Isomer, language: Grammar) -> int | None:
    """The number of the label that the member's cue betrays."""
    if member.cue is None:
        return None
    cues = list(language.domain.cues)[: len(language.family.labels)]
    if member.cue not in cues:
        raise Unreadable(f"{member.cue!r} is no cue of the domain")
    return cues.index(member.cue)


def _typed(graph: ReasoningGraph) -> list[str]:
    # Python takes True for 1 and 2.0 for 2.
    return sorted(repr(node.value) for node in graph.nodes)


def _chain(member: Isomer, reading: Reading) -> Iterator[Finding]:
    """The chain of thought that the member's words lead to, and the exact places of its values."""
    if len(member.steps) != len(reading.steps):
        return  # the number of steps is found wrong for every set
    cue, offset = f" {member.cue}" if member.cue else "", 0
    for index, (step, wanted) in enumerate(zip(member.steps, reading.steps, strict=True)):
        where = f"{member.domain}.{step.node}"
        if step.value != wanted.value:
            yield Finding(Reason.STEP_VALUE, where, f"states {step.value!r}, not {wanted.value!r}")
        if step.text != wanted.text + cue:
            yield Finding(Reason.STEP_TEXT, where, f"says {step.text!r}, not {wanted.text + cue!r}")
        elif index < len(member.spans):
            end, span = offset + len(wanted.text), member.spans[index]
            if (span.start, span.end) != (end - len(wanted.value), end):
                yield Finding(Reason.SPAN, where, f"is [{span.start}, {span.end}), the value ends at {end}")
        offset += len(step.text) + 1


def _claims(isomer_set: IsomerSet, family: Family[Any], readings: list[Reading]) -> Iterator[tuple[str, str]]:
    """What the provenance says of the split, of noise and of distractors, where it is not so."""
    source = isomer_set.provenance
    split = SPLITS.get(source.split)
    if split is None:
        yield "split", f"there is no split {source.split!r}"
        return
    if isomer_set.noisy and not (split.noise and source.options.get("noise", 1.0)):
        yield "noisy", f"{source.split!r} with these options has no label noise"
    # Other versions may deal their problems out otherwise.
    if source.version == family.version and readings and bucket(family.name, readings[0].problem) not in split.buckets:
        yield "split", f"the problem belongs to another split than {source.split!r}"
    wanted = source.options.get("distractors")
    for reading in readings:
        if isinstance(wanted, int) and reading.distractors != wanted:
            yield "options.distractors", f"a member has {reading.distractors} distractors, not {wanted}"


def _cue_claims(isomer_set: IsomerSet, cues: list[int | None]) -> Iterator[str]:
    mode = isomer_set.provenance.options.get("cue")
    if mode == "none" and any(cue is not None for cue in cues):
        yield "a member has a cue in a set without cues"
    if mode in ("member", "set") and None in cues:
        yield "a member lacks its cue"
    if mode == "set" and len(set(cues)) > 1:
        yield "the members' cues betray different answers, where one is drawn for the whole set"
