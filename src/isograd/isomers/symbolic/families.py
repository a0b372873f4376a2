"""The families by name, the words they need, and which problems belong to which split."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, Final

from isograd.common.errors import UserError
from isograd.isomers.symbolic.arithmetic import Arithmetic
from isograd.isomers.symbolic.deduction import Deduction
from isograd.isomers.symbolic.domains import Fault, load_domain, located, parse_domain, word_faults
from isograd.isomers.symbolic.eligibility import Eligibility
from isograd.isomers.symbolic.family import Family
from isograd.isomers.symbolic.grammar import Grammar
from isograd.isomers.symbolic.ordering import Ordering

__all__ = ["BUCKETS", "FAMILIES", "bucket", "check_domain", "grammar"]

FAMILIES: Final[Mapping[str, Family[Any]]] = {
    family.name: family for family in (Arithmetic(), Deduction(), Ordering(), Eligibility())
}
"""The families by name."""

BUCKETS: Final = 17
"""Problem identities fall into so many buckets; every split owns some."""


@cache
def grammar(family: str, domain: str) -> Grammar:
    """The grammar of a family in a domain, by the domain's name or file.

    Raises:
        UserError: an unknown domain, or one that cannot tell the family.
    """
    loaded = load_domain(domain)
    faults = [
        f"{'.'.join(map(str, place))}: {fault}" for place, fault in word_faults(loaded, family, FAMILIES[family].slots)
    ]
    if faults:
        raise UserError(
            f"domain {domain!r} cannot tell {family!r}: {faults[0]}"
            + (f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else "")
            + "; see them all with: isograd isomers check-domain FILE"
        )
    return Grammar(FAMILIES[family], loaded)


def check_domain(text: bytes, where: str) -> list[Fault]:
    """Everything that a domain file lacks, for all families; empty when it is complete.

    Args:
        text: the file's content.
        where: its name, for the faults.

    Raises:
        UserError: it is not a domain file at all.
    """
    domain = parse_domain(text, where)
    found = [
        located(text, where, place, fault)
        for family in FAMILIES.values()
        for place, fault in word_faults(domain, family.name, family.slots)
    ]
    found += [
        located(text, where, (section,), f"unknown family; the families are: {', '.join(FAMILIES)}")
        for section in domain.words
        if section not in FAMILIES
    ]
    return list(dict.fromkeys(found))


@cache
def _dealt(family: str) -> Mapping[str, int]:
    """Buckets of the problems of the least depth, where they are few: dealt out evenly within each answer."""
    logic = FAMILIES[family]
    identities: dict[str, set[str]] = {}
    for problem in logic.few():
        identities.setdefault(logic.answer(problem), set()).add(logic.identity(problem))
    return {
        identity: number % BUCKETS
        for alike in identities.values()
        for number, identity in enumerate(sorted(alike, key=lambda identity: _hash(family, identity)))
    }


def _hash(family: str, identity: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{family}:{identity}".encode(), digest_size=4).digest(), "big")


def bucket(family: str, problem: Hashable) -> int:
    """The bucket that a problem belongs to: a function of its graph and values alone."""
    identity = FAMILIES[family].identity(problem)
    dealt = _dealt(family).get(identity)
    return _hash(family, identity) % BUCKETS if dealt is None else dealt
