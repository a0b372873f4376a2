"""A set's exact content: as plain data, and as the hash that a decision is bound to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from isograd.isomers.parsing import FaultError, parse
from isograd.isomers.schema import IsomerSet

__all__ = ["content_hash", "from_plain", "to_plain"]


def to_plain(isomer_set: IsomerSet) -> dict[str, Any]:
    """The set as JSON holds it, defaults left out, as in a file."""
    plain: dict[str, Any] = isomer_set.model_dump(mode="json", exclude_defaults=True)
    return plain


def from_plain(plain: Any) -> IsomerSet:
    """The set of :func:`to_plain`.

    Raises:
        FaultError: it is none.
    """
    try:
        return parse(json.dumps(plain, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise FaultError("set", "a text holds half a character (a lone surrogate)", "take it out") from None


def content_hash(isomer_set: IsomerSet) -> str:
    """32 hexadecimal digits of everything that the set states; equal whichever file format it was read from."""
    text = json.dumps(to_plain(isomer_set), ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
