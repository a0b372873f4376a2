"""Domains: the words in which a family's logic is told. One YAML file each in ``domains/``, checked when loaded."""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from isograd.common.errors import UserError
from isograd.common.yamls import parse_yaml
from isograd.isomers.symbolic.family import Slot

__all__ = ["CUES", "Domain", "Fault", "domain_names", "load_domain", "parse_domain", "word_faults"]

CUES = 5
"""Cue words that each domain brings: one for each answer of the family with the most answers."""

Place = tuple[str | int, ...]


class Domain(BaseModel):
    """One domain file.

    Attributes:
        name: the domain's name.
        role: ``train``, or ``unseen`` for a domain that only evaluation may tell.
        cues: register words that can betray the answer, one for each answer in the family's order; different words
            in each domain.
        words: for each family, entries by slot.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    role: Literal["train", "unseen"]
    cues: Sequence[str]
    words: Mapping[str, Mapping[str, Sequence[str]]]

    def templates(self, family: str, slot: str, *, held_out: bool) -> Sequence[str]:
        """The templates of a slot: all but the last, or the held-out last one alone."""
        entries = self.words[family][slot]
        return entries[-1:] if held_out else entries[:-1]


class Fault(str):
    """What is wrong with a domain file, as ``file:line: field: fault``."""

    __slots__ = ()


def _folder() -> Traversable:
    return resources.files("isograd.isomers.symbolic") / "domains"


@functools.cache
def domain_names(role: str | None = None) -> tuple[str, ...]:
    """Names of the domains that isograd brings, in alphabetical order; of one role only if it is given."""
    names = sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml"))
    return tuple(name for name in names if role is None or load_domain(name).role == role)


@functools.cache
def load_domain(name: str) -> Domain:
    """Load a domain by its name, or from a YAML file of your own by its path.

    Raises:
        UserError: no such domain or file, or it is not a domain.
    """
    if name.endswith((".yaml", ".yml")):
        own = Path(name)
        if not own.is_file():
            raise UserError(f"{name}: no such domain file")
        return parse_domain(own.read_bytes(), name)
    file = _folder() / f"{name}.yaml"
    if not file.is_file():
        raise UserError(
            f"unknown domain {name!r}; there are: {', '.join(domain_names())}, or give the path of a .yaml file"
        )
    return parse_domain(file.read_bytes(), f"{name}.yaml")


def parse_domain(text: bytes, where: str) -> Domain:
    """Parse a domain file; ``where`` names it in errors.

    Raises:
        UserError: not YAML, or a field is missing or of the wrong type.
    """
    try:
        raw = parse_yaml(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{where}: a domain file is a mapping with name, role, cues and one section a family")
    head = {key: raw.pop(key) for key in ("name", "role", "cues") if key in raw}
    try:
        return Domain.model_validate({**head, "words": raw})
    except ValidationError as error:
        first = error.errors()[0]
        place = tuple(first["loc"][1:] if first["loc"][0] == "words" else first["loc"])
        raise UserError(located(text, where, place, str(first["msg"]))) from None


def located(text: bytes, where: str, place: Place, fault: str) -> Fault:
    """``file:line: field: fault``; the line of the nearest enclosing field if the field itself is missing."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 1
    for part in place:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            found = next((value for key, value in node.value if key.value == part), None)
            line = next((key.start_mark.line + 1 for key, _ in node.value if key.value == part), line)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line + 1
        if found is None:
            break
        node = found
    field = ".".join(str(part + 1) if isinstance(part, int) else part for part in place) or "file"
    return Fault(f"{where}:{line}: {field}: {fault}")


def word_faults(domain: Domain, family: str, slots: Mapping[str, Slot]) -> Iterator[tuple[Place, str]]:
    """What keeps ``domain`` from telling ``family``: the field's place in the file and the fault, in words."""
    if len(domain.cues) < CUES:
        yield ("cues",), f"{len(domain.cues)} cue words, {CUES} are needed"
    if len(set(domain.cues)) < len(domain.cues):
        yield ("cues",), "a cue word stands twice"
    for number, cue in enumerate(domain.cues):
        if not re.fullmatch(r"[a-z]+", cue):
            yield ("cues", number), f"a cue is one lower-case word, not {cue!r}"
    if not domain.name.strip():
        yield ("name",), "a domain needs a name"
    section = domain.words.get(family)
    if section is None:
        yield (), f"no section {family!r}"
        return
    homes: dict[str, str] = {}
    for name in section:
        if name not in slots:
            yield (family, name), f"unknown slot; the slots are: {', '.join(slots)}"
    for name, slot in slots.items():
        entries = section.get(name, ())
        if len(entries) < slot.fewest:
            yield (family, name), f"{len(entries)} entries, at least {slot.fewest} are needed"
        for number, entry in enumerate(entries):
            place = (family, name, number)
            if entry in entries[:number]:
                yield place, f"stands twice: {entry!r}"
            if slot.template and homes.setdefault(entry, name) != name:
                yield place, f"says {homes[entry]!r} as well: {entry!r}"
            faults = _template_faults(entry, name, slot) if slot.template else _plain_faults(entry)
            for fault in faults:
                yield place, f"{fault}: {entry!r}"


def _plain_faults(entry: str) -> Iterator[str]:
    if not re.fullmatch(r"[^\W\d_]+(?:[ '’][^\W\d_]+)*", entry):
        yield "letters, single blanks and apostrophes only"
    if {"and", "not"} & set(entry.split()):
        yield "'and' and 'not' join and deny entries, so none may have them inside"


def _template_faults(entry: str, name: str, slot: Slot) -> Iterator[str]:
    try:
        parts = [part for part in string.Formatter().parse(entry) if part[1] is not None]
    except ValueError as error:
        yield str(error)
        return
    used = [str(field) for _, field, _, _ in parts]
    if any(form or conversion for _, _, form, conversion in parts):
        yield "a placeholder is a name alone, without a format"
    for field in sorted(slot.required - set(used)):
        yield f"lacks {{{field}}}"
    for field in sorted(set(used) - slot.required - slot.optional):
        yield f"unknown placeholder {{{field}}}"
    if len(set(used)) < len(used):
        yield "a placeholder stands twice"
    question = name == "question"
    if question and not entry.endswith("?"):
        yield "a question ends with a question mark"
    literal = re.sub(r"\{.*?\}", "", entry[:-1] if question else entry)
    if re.search(r"[.?!:;\d\"]", literal):
        yield 'no digits and no . ? ! : ; " inside; the period comes by itself'
    if re.search(r"\b[Aa]n? \{", entry):
        yield "'a' or 'an' before a placeholder does not fit every word"
    if "  " in entry or entry != entry.strip():
        yield "blanks at an end or doubled"
