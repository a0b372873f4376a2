"""Files of evaluation data, as items that training data must not repeat."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from isograd.common.errors import UserError
from isograd.isomers.parsing import Fault
from isograd.isomers.questions import iter_questions
from isograd.isomers.reading import read_lines
from isograd.isomers.verify.leakage import EvaluationItem, graph_key

__all__ = ["evaluation_items"]


def evaluation_items(path: str | os.PathLike[str]) -> Iterator[EvaluationItem]:
    """What a file of evaluation data holds: isomer sets, or rows of a benchmark in its native format.

    Args:
        path: a file, or ``FORMAT=FILE`` where the rows do not tell their format.

    Raises:
        UserError: no such file, a broken line, or an unknown format.
    """
    form, sign, name = str(path).partition("=")
    if not sign:
        form, name = "", str(path)
    if not form and _holds_sets(Path(name)):
        for line, item in read_lines(name):
            if isinstance(item, Fault):
                raise UserError(f"{name}:{item}")
            yield EvaluationItem(name, line, tuple(m.problem for m in item.members), graph_key(item.graph))
        return
    for line, texts in iter_questions(name, form or None):
        yield EvaluationItem(name, line, tuple(texts))


def _holds_sets(path: Path) -> bool:
    if path.suffix == ".parquet":
        return True
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(1 << 24))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and {"graph", "members"} <= first.keys()
