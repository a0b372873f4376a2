"""The configuration of a run: what determines it, read from YAML, checked, and hashed."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isograd.common.errors import UserError
from isograd.common.yamls import parse_yaml

__all__ = ["RunConfig", "digest_of", "file_hash", "read_config", "validated", "weight_files"]

_OWNED: Final[Mapping[str, str]] = {
    "output_dir": "; use --output",
    "seed": "; use the field seed",
    "resume_from_checkpoint": " (an unfinished run folder is resumed)",
    "save_only_model": " (a run that is stopped could not be gone on with)",
    "ignore_data_skip": " (a run that is stopped would see other rows)",
    "eval_strategy": "; measure the finished run with isograd evaluate",
    "load_best_model_at_end": "; measure the finished run with isograd evaluate",
}
"""Fields of the trainer that a run decides, and what to use instead."""

_SAMPLES: Final = 64
"""Places of a file that tell it from another, from its first to its last mebibyte; all of a file up to 64 MiB."""

_SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


class RunConfig(BaseModel):
    """What every run has.

    Attributes:
        name: shown in tables.
        model: a local folder, a hub id, or ``builtin`` for the student that isograd brings.
        trust_remote_code: let the model's repository run its own code.
        lora: fields of ``peft.LoraConfig``.
        training: fields of the trainer's configuration.
        seed: of adapter initialization, batch order and all else that is drawn.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    model: str = "builtin"
    trust_remote_code: bool = False
    lora: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0

    @property
    def label(self) -> str:
        """What the run is called in tables."""
        return self.name or type(self).__name__


_Config = TypeVar("_Config", bound=RunConfig)


def weight_files(folder: str | Path) -> list[list[str | int]]:
    """What tells the model in a local folder from another: weights, tokenizer and settings.

    By name, size and mebibytes all over them, so that large checkpoints need not be read whole. A hub id has none.
    """
    kinds = (".safetensors", ".json", ".model", ".txt", ".jinja")
    return [_fingerprint(file) for file in sorted(Path(folder).glob("*")) if file.suffix in kinds]


def digest_of(content: Mapping[str, Any]) -> str:
    """Hash of what determines a run, isograd's version with it: 16 hexadecimal digits."""
    told = json.dumps({**content, "version": version("isograd")}, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """Hash of a training file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; make isomers with: isograd isomers make") from None


def _fingerprint(path: Path) -> list[str | int]:
    size, told = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        last = min(_SAMPLES, -(-size // 2**20)) - 1
        for place in range(last + 1):
            file.seek((size - 2**20) * place // last if last else 0)
            told.update(file.read(2**20))
    return [path.name, size, told.hexdigest()]


def _with_numbers(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text, for want of a point; everybody means a number."""
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and _SCIENTIFIC.fullmatch(value) else value


def read_config(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML configuration, unchecked.

    Args:
        path: the file.
        overrides: ``dotted.key=value`` texts; values are YAML.

    Raises:
        UserError: an unreadable file, or an override that is not ``key=value``.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a configuration is a mapping with at least the field data")
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign:
            raise UserError(f"--set {override!r}: write it as key=value, for example training.max_steps=100")
        place = content
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UserError(f"--set {override!r}: {parent!r} is not a section")
        try:
            place[last] = parse_yaml(value)
        except yaml.YAMLError:
            raise UserError(f"--set {override!r}: {value!r} is not a YAML value") from None
    return content


def validated(model: type[_Config], content: dict[str, Any], where: str, trainer: tuple[str, str]) -> _Config:
    """A configuration from what a file holds.

    Args:
        model: the kind of run.
        content: from :func:`read_config`.
        where: names the file in errors.
        trainer: module and class of the trainer's configuration, whose fields ``training`` may name.

    Raises:
        UserError: an unknown or invalid field.
    """
    try:
        config = model.model_validate(_with_numbers(content))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    for name in _OWNED:
        if name in config.training:
            raise UserError(f"{where}: training.{name}: the run sets this itself{_OWNED[name]}")
    _check_names(config.training, where, "training", *trainer)
    _check_names(config.lora, where, "lora", "peft", "LoraConfig")
    return config


def _check_names(section: Mapping[str, Any], where: str, title: str, module: str, cls: str) -> None:
    """Refuse settings that a dataclass has no field for.

    Raises:
        UserError: an unknown name, with the nearest one.
    """
    if not section:
        return
    known = {field.name: field.default for field in fields(getattr(importlib.import_module(module), cls)) if field.init}
    for name, value in section.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UserError(f"{where}: {title}.{name}: {cls} has no such field{hint}")
        default = known[name]
        # Dataclasses take anything; a text would be noticed in the middle of training.
        if type(default) in (int, float) and value is not None and not isinstance(value, int | float):
            raise UserError(f"{where}: {title}.{name}: {value!r} is not a number")
