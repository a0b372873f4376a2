"""What decides which sets a teacher makes: the model, the domains, and how strictly a telling is checked."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from isograd.common.errors import UserError
from isograd.common.yamls import parse_yaml
from isograd.isomers.teacher.assemble import VERSION
from isograd.isomers.teacher.judgment import LEAST_SCORE
from isograd.isomers.teacher.messages import canonical_json
from isograd.isomers.teacher.prompts import STAGES, load_prompt

__all__ = ["DOMAINS", "MOST_REPAIRS", "MOST_SOLUTIONS", "Recipe", "described_domains"]

DOMAINS: Final = ("mathematics", "medicine", "law", "science")
"""The domains of the IGA paper."""

MOST_SOLUTIONS: Final = 99
MOST_REPAIRS: Final = 9


@dataclass(frozen=True)
class Recipe:
    """What a run makes of its seeds. Where it runs, how fast and for how much does not belong here.

    Attributes:
        model: the teacher's name on its server.
        domains: what each domain is about, by its name; members stand in this order.
        solutions: how often each telling is solved by somebody who sees nothing but the problem.
        repairs: how often a telling that fails goes back, with what is wrong with it.
        least_score: the alignment score that author and verifier must give; necessary, never sufficient.
        least_domains: how many members a set needs; all domains if ``None``.

    Raises:
        UserError: a number makes no sense, or there are fewer than two domains.
    """

    model: str
    domains: Mapping[str, str]
    solutions: int = 3
    repairs: int = 2
    least_score: float = LEAST_SCORE
    least_domains: int | None = None

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise UserError("model is empty; name the teacher's model with --model")
        if len(self.domains) < 2:
            raise UserError(f"domains are {', '.join(self.domains) or 'none'}: a set needs two or more")
        if not 0 <= self.solutions <= MOST_SOLUTIONS:
            raise UserError(f"solutions is {self.solutions}: give 0 to {MOST_SOLUTIONS}")
        if not 0 <= self.repairs <= MOST_REPAIRS:
            raise UserError(f"repairs is {self.repairs}: give 0 to {MOST_REPAIRS}")
        if not 0 <= self.least_score <= 1:
            raise UserError(f"least_score is {self.least_score}: give 0 to 1")
        if not 2 <= self.members_needed <= len(self.domains):
            raise UserError(f"least_domains is {self.least_domains}: give 2 to {len(self.domains)}, the domains asked")

    @property
    def members_needed(self) -> int:
        """How many members a set needs."""
        return len(self.domains) if self.least_domains is None else self.least_domains

    @property
    def configuration(self) -> str:
        """Hash of all of this and of the prompts' versions: what a journal is bound to."""
        whole: dict[str, Any] = vars(self) | {
            "domains": list(self.domains.items()),
            "least_domains": self.members_needed,
            "least_score": float(self.least_score),
            "prompts": {stage: load_prompt(stage).version for stage in STAGES},
            "version": VERSION,
        }
        return hashlib.blake2b(canonical_json(whole).encode(), digest_size=16).hexdigest()


@functools.cache
def _own_domains() -> Mapping[str, str]:
    file = resources.files("isograd.isomers.teacher") / "prompts" / "domains.yaml"
    return _descriptions(file.read_bytes(), "domains.yaml")


def described_domains(names: Sequence[str]) -> dict[str, str]:
    """What domains are about, by their names.

    Args:
        names: of domains that isograd describes, or ``.yaml`` files of your own with a line ``NAME: DESCRIPTION`` for
            each domain.

    Raises:
        UserError: an unknown name, a domain twice, or a file that is missing or not of this form.
    """
    found: dict[str, str] = {}
    for name in (name.strip() for name in names):
        if name.endswith((".yaml", ".yml")):
            if not Path(name).is_file():
                raise UserError(f"{name}: no such domain file")
            told = _descriptions(Path(name).read_bytes(), name)
        elif name in _own_domains():
            told = {name: _own_domains()[name]}
        else:
            raise UserError(
                f"unknown domain {name!r}; there are: {', '.join(_own_domains())}, or give a .yaml file with lines"
                " NAME: DESCRIPTION"
            )
        if twice := found.keys() & told.keys():
            raise UserError(f"domain {min(twice)!r} is named twice; a set tells each domain once")
        found |= told
    return found


def _descriptions(content: bytes, where: str) -> dict[str, str]:
    try:
        read = parse_yaml(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(read, dict) or not read:
        raise UserError(f"{where}: write one line NAME: DESCRIPTION for each domain")
    for name, text in read.items():
        # Findings name domains in lists and before dots.
        if not isinstance(name, str) or not re.fullmatch(r"[^\W_][\w -]{0,59}", name):
            raise UserError(f"{where}: {name!r} is no domain's name; use letters, digits, blanks and hyphens")
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{where}: domain {name!r} needs a description, a few words of what it is about")
    return {name: " ".join(text.split()) for name, text in read.items()}
