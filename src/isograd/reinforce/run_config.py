"""The configuration of a reinforcement-learning run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from isograd.common.errors import UserError
from isograd.reinforce.reward_names import make_reward
from isograd.runs.config import RunConfig, digest_of, file_hash, read_config, validated, weight_files

__all__ = ["ReinforceConfig", "adapter_folder", "load_config", "parse_config"]


def _isomer_answer() -> dict[str, dict[str, Any]]:
    return {"isomer_answer": {}}


class ReinforceConfig(RunConfig):
    """Everything that determines a run.

    Attributes:
        name, model, trust_remote_code, seed: see :class:`~isograd.runs.config.RunConfig`; the name is by default the
            loss with what is done to it.
        adapter: a finished run folder of ``isograd distill``, or a folder with an adapter, to go on from; by default
            training begins with a new adapter.
        lora: fields of ``peft.LoraConfig`` for a new adapter.
        data: files of isomer sets, whose problems are the prompts.
        rewards: by name, with their parameters; they are added.
        training: fields of :class:`~isograd.reinforce.IsomerGRPOConfig`.
    """

    adapter: Path | None = None
    data: Annotated[list[Path], Field(min_length=1)]
    rewards: Annotated[dict[str, dict[str, Any]], Field(min_length=1)] = Field(default_factory=_isomer_answer)

    @field_validator("rewards", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """A list of names, or names with nothing after them, stand for rewards without parameters."""
        if isinstance(value, list):
            return {str(name): {} for name in value}
        return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, dict) else value

    @property
    def label(self) -> str:
        """The name, or the loss and what is done to its weights."""
        if self.name:
            return self.name
        parts = [str(self.training.get("loss_type", "dapo"))]
        parts += [str(self.training[key]) for key in ("clip", "group_weights") if self.training.get(key)]
        return "+".join(parts)

    def digest(self, model_path: str) -> str:
        """Hash of what determines the run: the configuration, its files, model and adapter, isograd's version.

        Args:
            model_path: where the model lies; a hub id counts by name.
        """
        content = self.model_dump(mode="json")
        del content["data"]
        content["files"] = [file_hash(path) for path in self.data]
        # What a model or an adapter holds counts, not where it lies.
        if weights := weight_files(model_path):
            content["model"] = weights
        content["adapter"] = None if self.adapter is None else weight_files(adapter_folder(self.adapter))
        return digest_of(content)


def adapter_folder(path: Path) -> Path:
    """Where the adapter lies: in the folder, or in a run folder's ``adapter``.

    Raises:
        UserError: neither holds one.
    """
    for folder in (path / "adapter", path):
        if (folder / "adapter_config.json").is_file():
            return folder
    raise UserError(f"{path}: holds no adapter (adapter_config.json is missing); is the run finished?")


def load_config(path: Path, overrides: Sequence[str] = ()) -> ReinforceConfig:
    """Read a YAML configuration.

    Args:
        path: the file.
        overrides: ``dotted.key=value`` texts; values are YAML.

    Raises:
        UserError: an unreadable file, an override that is not ``key=value``, or an unknown or invalid field.
    """
    return parse_config(read_config(path, overrides), str(path))


def parse_config(content: dict[str, Any], where: str) -> ReinforceConfig:
    """Validate a configuration; ``where`` names it in errors.

    Raises:
        UserError: an unknown or invalid field, or reward.
    """
    config = validated(ReinforceConfig, content, where, ("isograd.reinforce.config", "IsomerGRPOConfig"))
    if config.adapter is not None and config.lora:
        raise UserError(f"{where}: lora: the adapter {config.adapter} has its own; leave lora out")
    for name, parameters in config.rewards.items():
        make_reward(name, parameters)
    return config
