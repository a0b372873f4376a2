"""What a comparison and its tuning are configured by together: one YAML file serves both."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from isograd.common.errors import UserError
from isograd.common.yamls import parse_yaml
from isograd.distill.run_config import DataSource, DistillConfig, parse_config
from isograd.experiment.data import IsomerOptions
from isograd.experiment.running import check_labels, slug

__all__ = [
    "OWN_FILES",
    "ExperimentConfig",
    "Settings",
    "TuningOptions",
    "beside",
    "checked_methods",
    "merged",
    "nearest",
    "read_yaml",
    "resolved",
    "validated",
]

OWN_FILES: Final = "data"
"""What stands in the place of a family where the files are the user's own."""
TUNING_SEED: Final = 1000
"""The first seed of tuning, unless others are asked for: far from those of comparisons."""

Settings = dict[str, Any]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class TuningOptions(BaseModel):
    """How ``isograd tune`` searches. It has no field for a test split.

    Attributes:
        budget: configurations for each method, the same number for all; the first is the method's defaults.
        seed: of the draws.
        selection: what a configuration is worth: accuracy on ``validation`` problems told in the training domains, or
            ``leave_one_domain_out``, on those told in a domain that was left out of training.
        folds: how many domains are left out, one after the other; by default every one.
        seeds: of data and training, not those of the comparison; a number stands for so many from 1000.
        sets: validation sets for each family and seed.
        validation: a file of validation sets of one's own, where ``train`` is one's own.
        output: the folder for all that tuning writes; by default ``tuning`` in the comparison's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    budget: Annotated[int, Field(ge=1)] = 8
    seed: Annotated[int, Field(ge=0)] = 0
    selection: Literal["validation", "leave_one_domain_out"] = "validation"
    folds: Annotated[int, Field(ge=1)] | None = None
    seeds: Seeds = [TUNING_SEED]
    sets: Annotated[int, Field(ge=1)] = 100
    validation: Path | None = None
    output: Path | None = None

    @field_validator("seeds", mode="before")
    @classmethod
    def _so_many(cls, value: Any) -> Any:
        return [TUNING_SEED + seed for seed in range(value)] if _is_number(value) else value

    @field_validator("seeds")
    @classmethod
    def _different(cls, value: list[int]) -> list[int]:
        return _each_once(value)


class ExperimentConfig(BaseModel):
    """What determines the runs of a comparison and of its tuning. Paths are relative to the configuration file.

    Attributes:
        name: the title; by default the name of the file.
        model: a local folder, a hub id, or ``builtin``.
        trust_remote_code: let the model's repository run its own code.
        families: kinds of logic to make isomer sets of; instead of files of one's own.
        train: a file of isomer sets of one's own.
        seeds: those of the comparison; a number stands for so many from 0. A seed is that of generated data and of
            training.
        training: what the trainers of all methods share: fields of :class:`~isograd.distill.IsomerSFTConfig`.
        lora: fields of ``peft.LoraConfig``.
        methods: by label, what each adds to ``training``: ``method``, ``method_params``, ``consistency`` ...
        tuning: how ``isograd tune`` searches.
        workers: runs at a time; by default the number of cores.
        output: the folder for all that is written; by default ``name``.
    """

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    model: str = "builtin"
    trust_remote_code: bool = False
    families: Annotated[list[str], Field(min_length=1)] | None = None
    train: Path | None = None
    seeds: Seeds = [0, 1, 2, 3, 4]
    training: Settings = {}
    lora: Settings = {}
    methods: Annotated[dict[str, Settings], Field(min_length=1)]
    tuning: TuningOptions = TuningOptions()
    workers: Annotated[int, Field(ge=1)] | None = None
    output: Path = Path()

    @field_validator("seeds", mode="before")
    @classmethod
    def _so_many(cls, value: Any) -> Any:
        return list(range(value)) if _is_number(value) else value

    @field_validator("seeds", "families")
    @classmethod
    def _different(cls, value: list[Any] | None) -> list[Any] | None:
        return value and _each_once(value)

    @field_validator("methods", mode="before")
    @classmethod
    def _empty_is_plain(cls, value: Any) -> Any:
        """``ERM:`` with nothing after it adds nothing to ``training``."""
        return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, dict) else value

    @property
    def groups(self) -> list[str]:
        """What has a table of its own: the families, or the files as one."""
        return self.families or [OWN_FILES]

    def run_config(
        self, label: str, train: Path, seed: int, *, name: str = "", values: Mapping[str, Any] | None = None
    ) -> DistillConfig:
        """The run of one method and seed on one training file.

        Args:
            label: which method.
            train: the training file.
            seed: of training.
            name: the run's label; by default the method's.
            values: settings laid over the method's own.
        """
        return DistillConfig(
            name=name or label,
            model=self.model,
            trust_remote_code=self.trust_remote_code,
            data=[DataSource(path=train)],
            lora=self.lora,
            training=merged(merged(self.training, self.methods[label]), values or {}),
            seed=seed,
        )


_Config = TypeVar("_Config", bound=ExperimentConfig)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping; it needs at least the section methods")
    return content


def validated(model: type[_Config], content: Mapping[str, Any], path: Path) -> _Config:
    """The content of a file as a configuration; ``name`` is by default the name of the file.

    Raises:
        UserError: an unknown or invalid field, in one line with its place.
    """
    try:
        config = model.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        first = error.errors()[0]
        place, message = ".".join(map(str, first["loc"])), str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "no such field" + _hint(place, str(first["loc"][-1]))
        raise UserError(f"{path}: {place}: {message}") from None
    if not slug(config.name):
        raise UserError(f"{path}: name: {config.name!r} has no letter or digit to name a folder by")
    shared = set(config.seeds) & set(config.tuning.seeds)
    if shared and config.families is not None:
        raise UserError(
            f"{path}: tuning.seeds: {min(shared)} is a seed of the comparison; tune on data that it does not use"
        )
    return config


def resolved(config: _Config, path: Path) -> _Config:
    """The configuration with the paths that comparisons and tuning share resolved; ``path`` is the file's."""
    folder = path.parent.absolute()
    output = folder / (config.output if config.output != Path() else slug(config.name))
    tuning = {
        "validation": config.tuning.validation and folder / config.tuning.validation,
        "output": folder / config.tuning.output if config.tuning.output else output / "tuning",
    }
    update: dict[str, Any] = {"output": output, "tuning": config.tuning.model_copy(update=tuning)}
    if config.model != "builtin" and (folder / config.model).is_dir():
        update["model"] = str(folder / config.model)
    if config.train is not None:
        update["train"] = folder / config.train
    return config.model_copy(update=update)


def beside(path: Path, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Domain files by their paths, from the configuration's; other names are those of built-in domains."""
    folder = path.parent.absolute()
    return names and tuple(str(folder / name) if name.endswith((".yaml", ".yml")) else name for name in names)


def checked_methods(config: _Config, path: Path) -> _Config:
    """Refuse what no run could do, before hours have gone by; returns the configuration with numbers read as such.

    Raises:
        UserError: an unknown or invalid setting, method or parameter; labels that would share a folder.
    """
    from isograd.distill.job import check_settings
    from isograd.gradients import make_method

    common = {"data": [{"path": "checked elsewhere"}], "lora": config.lora}
    shared = parse_config({**common, "training": config.training}, str(path))
    methods: dict[str, Settings] = {}
    check_labels(config.methods, path)
    for label, settings in config.methods.items():
        where = f"{path}: methods.{label}"
        try:
            methods[label] = parse_config({**common, "training": settings}, where).training
        except UserError as error:
            raise UserError(str(error).replace(f"{where}: training.", f"{where}.", 1)) from None
        training = merged(shared.training, methods[label])
        params = training.get("method_params", {})
        if not isinstance(params, dict):
            raise UserError(f"{where}.method_params: {params!r} is no mapping of parameters to values")
        try:
            make_method(str(training.get("method", "erm")), **params)
            check_settings(parse_config({**common, "training": training}, where))
        except (TypeError, ValueError, UserError) as error:
            raise UserError(f"{where}: {error}") from None
    return config.model_copy(update={"training": shared.training, "lora": shared.lora, "methods": methods})


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
    """``above`` laid over ``below``; the sections of both are merged likewise."""
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the known word that is most like this one, or all of them."""
    words = list(known)
    near = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(words)}"


def _hint(place: str, name: str) -> str:
    if not place.startswith("tuning."):
        return nearest(name, IsomerOptions.model_fields)
    if any(word in name for word in ("split", "test", "evaluation")):
        return "; tuning reads no test split, only training and validation sets"
    return nearest(name, TuningOptions.model_fields)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _each_once(value: list[Any]) -> list[Any]:
    if len(set(value)) < len(value):
        raise ValueError("every entry may be named once only")
    return value
