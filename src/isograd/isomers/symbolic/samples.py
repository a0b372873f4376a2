"""Samples of every family in every domain, to be read aloud."""

from __future__ import annotations

from typing import Any, Final

from isograd.isomers.schema import Isomer
from isograd.isomers.symbolic.domains import domain_names, load_domain
from isograd.isomers.symbolic.families import FAMILIES
from isograd.isomers.symbolic.generate import create_isomers

__all__ = ["samples_page"]

SHAPES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("depth 2", {"depth": 2}),
    ("depth 3", {"depth": 3}),
    ("depth 2, one distractor, shuffled", {"depth": 2, "distractors": 1, "shuffled": True}),
)
COMMAND: Final = "isograd isomers samples"


def samples_page(seed: int = 0) -> str:
    """A Markdown page with one isomer set of each shape and family, told in all domains: three samples for each pair.

    Args:
        seed: of the generator.
    """
    blocks = [
        "# Samples of the symbolic generator",
        f"Written by `{COMMAND} --seed {seed} --output docs/samples.md`: for each family three isomer sets "
        f"({'; '.join(shape for shape, _ in SHAPES)}), each told in all {len(domain_names())} domains. The samples of "
        "one number are isomers of each other: one graph with the same values in different words.",
    ]
    for family in FAMILIES.values():
        blocks.append(f"## {family.name}")
        told = [
            create_isomers(family.name, seed=seed, size=len(SHAPES), domains=domain_names(), **options)[number]
            for number, (_, options) in enumerate(SHAPES)
        ]
        for domain in domain_names():
            blocks.append(f"### {family.name}, {domain} ({load_domain(domain).role})")
            for number, isomer_set in enumerate(told, 1):
                member = next(member for member in isomer_set.members if member.domain == domain)
                blocks.append(_sample(number, member))
    return "\n\n".join(blocks) + "\n"


def _sample(number: int, member: Isomer) -> str:
    lines = "\n".join(f"   {line}" for line in member.completion.split("\n"))
    return f"{number}. {member.problem}\n\n   ```text\n{lines}\n   ```"
