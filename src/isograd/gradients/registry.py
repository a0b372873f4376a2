"""Names of methods, for configs and the command line."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from isograd.common.errors import UserError
from isograd.gradients._and_mask import AndMask
from isograd.gradients._base import Method
from isograd.gradients._cagrad import CAGrad
from isograd.gradients._erm import Erm
from isograd.gradients._fish import Fish
from isograd.gradients._fishr import Fishr
from isograd.gradients._group_dro import GroupDro
from isograd.gradients._iga import Iga
from isograd.gradients._irm import Irm
from isograd.gradients._mgda import Mgda
from isograd.gradients._pcgrad import PCGrad
from isograd.gradients._sand_mask import SandMask
from isograd.gradients._torchjd import TorchJd
from isograd.gradients._vrex import VRex

__all__ = ["METHODS", "make_method"]

METHODS: dict[str, type[Method]] = {
    "erm": Erm,
    "irm": Irm,
    "vrex": VRex,
    "group_dro": GroupDro,
    "fish": Fish,
    "fishr": Fishr,
    "and_mask": AndMask,
    "sand_mask": SandMask,
    "pcgrad": PCGrad,
    "mgda": Mgda,
    "cagrad": CAGrad,
    "iga": Iga,
    "torchjd": TorchJd,
}


def make_method(name: str, **params: Any) -> Method:
    """The method of this name with these hyperparameters, the others at their defaults.

    Raises:
        UserError: no such method or parameter (with the nearest name), or a value out of range.
    """
    # What a YAML file holds need not be a string.
    if not isinstance(name, str) or name not in METHODS:
        raise UserError(f"unknown method {name!r}{_nearest(str(name), METHODS)}")
    method = METHODS[name]
    known = [field.name for field in dataclasses.fields(method)]
    for param in params:
        if param not in known:
            raise UserError(f"method {name!r} has no parameter {param!r}{_nearest(param, known)}")
    return method(**params)


def _nearest(word: str, known: Iterable[str]) -> str:
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(words) or 'none'}"
