"""Records read from files: text that a page can hold, numbers that are finite, and errors that name the field."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from isograd.common.errors import UserError

__all__ = ["Interval", "MaybeRate", "Name", "Number", "Rate", "Record", "cleaned_object", "validated"]

_Model = TypeVar("_Model", bound=BaseModel)

# Characters that XML forbids or UTF-8 cannot hold: a model may emit anything.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def _finite_or_none(value: Any) -> Any:
    """NaN and infinity stand for "not known" in numbers that may be absent."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _interval_or_none(value: Any) -> Any:
    if isinstance(value, list) and any(_finite_or_none(bound) is None for bound in value):
        return None
    return value


def _one_line(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value


Rate = Annotated[float, Field(ge=0, le=1)]
MaybeRate = Annotated[Rate | None, BeforeValidator(_finite_or_none)]
Number = Annotated[float | None, BeforeValidator(_finite_or_none)]
Interval = Annotated[tuple[float, float] | None, BeforeValidator(_interval_or_none)]
Name = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_one_line)]


class Record(BaseModel):
    """A part of a file; what it does not name is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def cleaned_object(value: Any, place: str | Path) -> dict[str, Any]:
    """A JSON object with its texts cleaned.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, dict):
        raise UserError(f"{place}: holds {type(value).__name__}, need a JSON object")
    cleaned: dict[str, Any] = _clean(value)
    return cleaned


def validated(model: type[_Model], record: dict[str, Any], place: str | Path, mend: str) -> _Model:
    """A record as its model; ``mend`` says what to do about one that is not.

    Raises:
        UserError: a field is missing or holds something else; the message names it.
    """
    try:
        return model.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise UserError(f"{place}: {field}: {first['msg']}; {mend}") from None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNPRINTABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
