"""The configuration of a distillation run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from isograd.isomers.benchmarks import FORMATS
from isograd.runs.config import RunConfig, digest_of, file_hash, read_config, validated, weight_files

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


class DistillConfig(RunConfig):
    """Everything that determines a run.

    Attributes:
        name, model, trust_remote_code, lora, seed: see :class:`~isograd.runs.config.RunConfig`; the name is by default
            the method's.
        data: training files: all isomer sets, or all supervised rows with a domain each.
        training: fields of :class:`~isograd.distill.IsomerSFTConfig`.
    """

    data: Annotated[list[DataSource], Field(min_length=1)]

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
            model_path: where the model lies; a hub id counts by name.

        Returns:
            16 hexadecimal digits.
        """
        content = self.model_dump(mode="json")
        if weights := weight_files(model_path):
            # What a model holds counts, not where it lies.
            content["model"] = weights
        for source in content["data"]:
            del source["path"]
        content["files"] = [file_hash(source.path) for source in self.data]
        return digest_of(content)


def load_config(path: Path, overrides: Sequence[str] = ()) -> DistillConfig:
    """Read a YAML configuration.

    Args:
        path: the file.
        overrides: ``dotted.key=value`` texts; values are YAML.

    Raises:
        UserError: an unreadable file, an override that is not ``key=value``, or an unknown or invalid field.
    """
    return parse_config(read_config(path, overrides), str(path))


def parse_config(content: dict[str, Any], where: str) -> DistillConfig:
    """Validate a configuration; ``where`` names it in errors.

    Raises:
        UserError: an unknown or invalid field.
    """
    return validated(DistillConfig, content, where, ("isograd.distill.config", "IsomerSFTConfig"))
