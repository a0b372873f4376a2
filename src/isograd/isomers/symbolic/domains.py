"""Domains: the words in which a family's logic is told. One YAML file each in ``domains/``, checked when loaded."""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from isograd.common.errors import UserError

__all__ = ["MIN_TEMPLATES", "Domain", "Slot", "domain_names", "load_domain"]

MIN_TEMPLATES = 6
"""Fewest entries a template slot needs: five to train on and the last one held out for the ``ood_template`` split."""


class Slot(BaseModel):
    """What a family asks of every domain under one name.

    Attributes:
        placeholders: names in braces that each entry must use, no more and no fewer than ``optional`` allows.
        optional: names in braces that an entry may use.
        template: a sentence template (at least :data:`MIN_TEMPLATES`, the last held out) or a plain word list.
    """

    model_config = ConfigDict(frozen=True)

    placeholders: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    template: bool = True


class Domain(BaseModel):
    """One domain file.

    Attributes:
        name: the file's name without its ending.
        role: ``train``, or ``unseen`` for a domain that only evaluation may tell.
        cues: for each answer label the register word that can betray it; different words in each domain.
        words: for each family, entries by slot.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    role: Literal["train", "unseen"]
    cues: Mapping[str, str]
    words: Mapping[str, Mapping[str, Sequence[str]]]

    def templates(self, family: str, slot: str, *, held_out: bool) -> Sequence[str]:
        """The templates of a slot: all but the last, or the held-out last one alone."""
        entries = self.words[family][slot]
        return entries[-1:] if held_out else entries[:-1]


def _folder() -> Traversable:
    return resources.files("isograd.isomers.symbolic") / "domains"


@functools.cache
def domain_names(role: str | None = None) -> tuple[str, ...]:
    """Names of the domains that isograd brings, in alphabetical order; of one role only if it is given."""
    names = sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))
    return tuple(name for name in names if role is None or load_domain(name).role == role)


@functools.cache
def load_domain(name: str) -> Domain:
    """Load and check a domain by name.

    Raises:
        UserError: no such domain, or its file is not a domain.
    """
    file = _folder() / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(f.name.removesuffix(".yaml") for f in _folder().iterdir() if f.name.endswith(".yaml")))
        raise UserError(f"unknown domain {name!r}; there are: {known}")
    return parse_domain(file.read_text(encoding="utf-8"), f"{name}.yaml")


def parse_domain(text: str, where: str) -> Domain:
    """Parse a domain file's text; ``where`` names it in errors.

    Raises:
        UserError: not YAML, or a field is missing or of the wrong type.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{where}: a domain file is a mapping with name, role, cues and one section a family")
    head = {key: raw.pop(key) for key in ("name", "role", "cues") if key in raw}
    try:
        return Domain.model_validate({**head, "words": raw})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def missing_words(domain: Domain, family: str, slots: Mapping[str, Slot], labels: Sequence[str]) -> list[str]:
    """What ``domain`` lacks to tell ``family``, one line a fault; empty when complete."""
    faults = [f"cues: no word for the answer {label!r}" for label in labels if not domain.cues.get(label)]
    section = domain.words.get(family)
    if section is None:
        return [*faults, f"no section {family!r}"]
    faults += [f"{family}.{name}: unknown slot" for name in section if name not in slots]
    for name, slot in slots.items():
        entries = section.get(name, [])
        fewest = MIN_TEMPLATES if slot.template else 2
        if len(entries) < fewest:
            faults.append(f"{family}.{name}: {len(entries)} entries, at least {fewest} are needed")
        if len(set(entries)) < len(entries):
            faults.append(f"{family}.{name}: an entry stands twice")
        for number, entry in enumerate(entries, 1):
            try:
                used = {field for _, field, _, _ in string.Formatter().parse(entry) if field is not None}
            except ValueError as error:
                faults.append(f"{family}.{name}[{number}]: {error}: {entry!r}")
                continue
            faults += [
                f"{family}.{name}[{number}]: lacks {{{field}}}: {entry!r}" for field in sorted(slot.placeholders - used)
            ]
            faults += [
                f"{family}.{name}[{number}]: unknown placeholder {{{field}}}: {entry!r}"
                for field in sorted(used - slot.placeholders - slot.optional)
            ]
    return faults
