"""YAML without surprises: a key that stands twice is a mistake, not a silent loss."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

__all__ = ["parse_yaml"]

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str | bytes) -> Any:
    """The content of a YAML document, of plain types; bytes are UTF-8.

    Raises:
        yaml.YAMLError: it is not valid, or a mapping has a key twice.
    """
    return yaml.load(text, Loader=_Loader)
