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
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from isograd.common.errors import UserError
from isograd.isomers.benchmarks import FORMATS

__all__ = ["DataSource", "DistillConfig", "load_config", "parse_config"]


class DataSource(BaseModel):
    """A training file.

    Attributes:
        path: JSON lines.
        format: ``isomers`` (sets), or a key of ``isograd.isomers.benchmarks.FORMATS``.
        domain: the domain of all its rows; isomer sets name their own.
    """

    model_config = ConfigDict(extra="forbid")

    path: Path
    format: str = "isomers"
    domain: str | None = None

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("isomers", *FORMATS):
            raise ValueError(f"unknown format {value!r}; there are: isomers, {', '.join(FORMATS)}")
        return value


class DistillConfig(BaseModel):
    """Everything that determines a run.

    Attributes:
        name: shown in tables; by default the method's.
        model: a local folder, a hub id, or ``builtin`` for the student that isograd brings.
        trust_remote_code: let the model's repository run its own code.
        data: training files: all isomer sets, or all supervised rows with a domain each.
        lora: fields of ``peft.LoraConfig``.
        training: fields of :class:`~isograd.distill.IsomerSFTConfig`.
        seed: of adapter initialization, batch order and sketches.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    model: str = "builtin"
    trust_remote_code: bool = False
    data: Annotated[list[DataSource], Field(min_length=1)]
    lora: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0

    @property
    def label(self) -> str:
        """The name, or the method and its consistency term."""
        if self.name:
            return self.name
        method = str(self.training.get("method", "erm"))
        return f"{method}+consistency" if self.training.get("consistency") else method

    def digest(self, model_path: str) -> str:
        """Hash of what determines the run: the configuration, its files, the model's files, isograd's version.

        Args:
            model_path: where the model lies. Weights, tokenizer and settings in a local folder count by name, size and
                their last mebibyte, so that large checkpoints need not be read; a hub id counts by name.

        Returns:
            16 hexadecimal digits.
        """
        content = self.model_dump(mode="json")
        content["weights"] = [
            _fingerprint(file)
            for file in sorted(Path(model_path).glob("*"))
            if file.suffix in (".safetensors", ".json", ".model", ".txt", ".jinja")
        ]
        for source in content["data"]:
            # What a file holds counts, not where it lies.
            del source["path"]
        content["version"] = version("isograd")
        content["files"] = [hashlib.sha256(_bytes(source.path)).hexdigest() for source in self.data]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


OWNED: Final[Mapping[str, str]] = {
    "output_dir": "; use --output",
    "seed": "; use the field seed",
    "resume_from_checkpoint": " (an unfinished run folder is resumed)",
    "eval_strategy": "; measure the finished run with isograd evaluate",
    "load_best_model_at_end": "; measure the finished run with isograd evaluate",
}
"""Fields of the trainer that a run decides, and what to use instead."""

_SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def _with_numbers(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text, for want of a point; everybody means a number."""
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and _SCIENTIFIC.fullmatch(value) else value


def _fingerprint(path: Path) -> list[str | int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 2**20))
        return [path.name, size, hashlib.sha256(file.read()).hexdigest()]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; make isomers with: isograd isomers make") from None


def load_config(path: Path, overrides: Sequence[str] = ()) -> DistillConfig:
    """Read a YAML configuration.

    Args:
        path: the file.
        overrides: ``dotted.key=value`` texts; values are YAML.

    Raises:
        UserError: an unreadable file, an override that is not ``key=value``, or an unknown or invalid field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
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
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"--set {override!r}: {value!r} is not a YAML value") from None
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], where: str) -> DistillConfig:
    """Validate a configuration; ``where`` names it in errors.

    Raises:
        UserError: an unknown or invalid field.
    """
    try:
        config = DistillConfig.model_validate(_with_numbers(content))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    for name in OWNED:
        if name in config.training:
            raise UserError(f"{where}: training.{name}: the run sets this itself{OWNED[name]}")
    _check_names(config.training, where, "training", "isograd.distill.config", "IsomerSFTConfig")
    _check_names(config.lora, where, "lora", "peft", "LoraConfig")
    return config


def _check_names(section: dict[str, Any], where: str, title: str, module: str, cls: str) -> None:
    if not section:
        return
    known = [field.name for field in fields(getattr(importlib.import_module(module), cls)) if field.init]
    for name in section:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UserError(f"{where}: {title}.{name}: {cls} has no such field{hint}")
