"""Seeds: the problems that a teacher is to abstract and tell anew, from benchmark files in their native formats.

Evaluation splits are refused: a set made from an evaluation item leaks that item into training, whatever domain it is
told in. What is not known to be a training split is refused, too, until somebody says so.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import string
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from isograd.common.errors import UserError
from isograd.isomers.parsing import Fault, FaultError
from isograd.isomers.questions import detect_format
from isograd.isomers.reading import raw_lines
from isograd.isomers.teacher.seed_formats import FORMS, SeedItem, listed, plain_reader

__all__ = ["HUB", "Seed", "read_seeds", "split_of"]

LONGEST: Final = 20_000
"""Characters of a problem; what is longer costs more than a seed is worth, and is told in no four sentences."""
TRAIN: Final = frozenset({"train", "training"})
EVALUATION: Final = frozenset(
    [
        *("test", "tests", "testing", "eval", "evals", "evaluation", "dev", "devel", "development"),
        *("val", "valid", "validation", "holdout"),
    ]
)
EVALUATION_ONLY: Final = frozenset({"math500", "arb"})
"""Benchmarks without a training split: whatever their files are called, they are for evaluation."""


@dataclass(frozen=True)
class Seed:
    """One problem with a known answer.

    Attributes:
        id: source and the row's own id, or a hash of its content where it has none: the same in every reading.
        source: the benchmark's format, or the name that the reader was given.
        split: what the source calls the part that the row belongs to.
        problem: the question, without its choices.
        answer: the gold answer; with choices, the right one's letter.
        choices: the options' texts; letters are A, B, C and so on.
        rationale: the benchmark's own solution.
        domain_hint: the domain that the problem is told in, where the benchmark has but one.
    """

    id: str
    source: str
    split: str
    problem: str
    answer: str
    choices: tuple[str, ...] | None = None
    rationale: str | None = None
    domain_hint: str | None = None

    @property
    def text(self) -> str:
        """The problem and, below it, its choices: what a solver needs."""
        return self.problem + (listed(self.choices) if self.choices else "")


_NOTHING: Final = object()
"""The first row of a file without rows; ``None`` would be one that says null."""


_DOMAINS: Final = {
    **dict.fromkeys(("gsm8k", "math", "math500"), "mathematics"),
    "medqa": "medicine",
    "legalbench": "law",
}

HUB: Final[Mapping[str, tuple[str, str | None]]] = {
    "openai/gsm8k": ("gsm8k", "main"),
    "EleutherAI/hendrycks_math": ("math", None),
    "HuggingFaceH4/MATH-500": ("math500", None),
    "baber/logiqa2": ("logiqa2", "logiqa2"),
    "yale-nlp/FOLIO": ("folio", None),
    "renma/ProofWriter": ("proofwriter", None),
    "renma/ProntoQA": ("prontoqa", None),
    "GBaker/MedQA-USMLE-4-options": ("medqa", None),
    "nguha/legalbench": ("legalbench", None),
}
"""Format and usual configuration by hub id. Other ids are read, too, where a row tells its format."""


def split_of(name: str) -> str | None:
    """The split that the name of a split, file or folder betrays; evaluation wins where it names several."""
    tokens = re.findall(r"[a-z]+", name.lower())
    return next((t for t in tokens if t in EVALUATION), None) or next((t for t in tokens if t in TRAIN), None)


def _checked_split(where: str, form: str, named: str | None, split: str | None, force_test: bool) -> str:
    """The split to note down.

    Raises:
        UserError: it is one to evaluate on, or nobody knows.
    """
    form_split = "test" if form in EVALUATION_ONLY else None
    told = None if split is None else split_of(split) or split
    evaluation = next((s for s in (form_split, told, named) if s is not None and s in EVALUATION), None)
    if evaluation is None:
        claimed = told or named
        if claimed in TRAIN:
            return split or claimed
        reason = "nothing tells which split it is" if told is None else f"{split!r} is no training split's name"
        mend = "say so with --split train if it is one, or use --force-test if you never evaluate on it"
    else:
        kind = f"{form} is published for evaluation only" if form_split else f"it is a {evaluation!r} split"
        reason = f"{kind}, and sets made from evaluation items leak them into training"
        mend = "use a training split, or --force-test if you never evaluate on it"
    if not force_test:
        raise UserError(f"{where}: refused as seeds: {reason}; {mend}")
    warnings.warn(f"{where}: taken as seeds though {reason}", UserWarning, stacklevel=3)
    return evaluation or "unknown"


def read_seeds(
    source: str | os.PathLike[str],
    *,
    form: str | None = None,
    split: str | None = None,
    fields: Mapping[str, str] | None = None,
    config: str | None = None,
    force_test: bool = False,
) -> Iterator[tuple[int, Seed | Fault]]:
    """Read the seeds of a file, a folder of data files, or a data set on the hub.

    Args:
        source: ``*.jsonl`` or ``*.txt`` (JSON lines), ``*.json`` (an array, or one object), ``*.tsv``, ``*.csv``; a
            folder that :func:`datasets.load_dataset` can read; or a hub id, ``user/name``.
        form: one of :data:`FORMS`; by default the one that the hub id or the first row tells.
        split: which split of a folder or a hub id to read (``train`` by default); of a file, what it is.
        fields: see :func:`field_map`; the rows are plain then.
        config: configuration of the hub id (for LegalBench, the task).
        force_test: take an evaluation split all the same; a warning says so.

    Returns:
        Line or row number, from 1, and the seed, or why there is none. A bad line does not end the reading.

    Raises:
        UserError: nothing can be read, the format is not known, or the split is refused. Raised at once, not when the
            first seed is taken.
    """
    if form is not None and form not in FORMS:
        raise UserError(f"unknown seed format {form!r}; there are: {', '.join(FORMS)}; or give a field map")
    name, path = str(source), Path(source)
    if path.is_file():
        # The folder's name counts as a whole only: LegalBench has test/..., but paths hold all kinds of words.
        folder = path.parent.name.lower()
        named = split_of(path.stem) or (folder if folder in TRAIN | EVALUATION else None)
        rows = _file_rows(path)
    else:
        known, usual = HUB.get(name, (None, None))
        form, config = form or (None if fields else known), config or usual
        named = _folder_split(path) if path.is_dir() else split_of(split or "train")
        if not force_test:  # before anything is downloaded; its format may forbid it later
            _checked_split(name, form or "", named, split, force_test)
        rows = _hub_rows(name, config, split or named or "train")
    rows, first = _peeked(rows)
    if isinstance(first, FaultError) and form is None and fields is None:
        raise UserError(f"{name}: no row can be read: {first}")
    if first is _NOTHING:
        raise UserError(f"{name}: has no rows")
    if fields is None and form is None:
        form = "arb" if isinstance(first, Mapping) and "Problem Statement" in first else detect_format(first)
        if form not in FORMS:
            raise UserError(
                f"{name}: no known seed format ({', '.join(FORMS)}); "
                "name one, or say which fields to read: --fields problem=question,answer=gold"
            )
    reader = plain_reader(fields) if fields is not None else FORMS[form or ""]
    label = "plain" if fields is not None else str(form)
    found = _checked_split(name, label, named, split, force_test)
    return _seeds(rows, reader, label, found, force_test)


def _seeds(
    rows: Iterator[tuple[int, Any]], reader: Callable[[Mapping[str, Any]], SeedItem], form: str, split: str, force: bool
) -> Iterator[tuple[int, Seed | Fault]]:
    seen: dict[str, int] = {}
    for line, row in rows:
        try:
            seed = _seed(row, reader, form, split, force)
            if (first := seen.setdefault(seed.id, line)) != line:
                raise FaultError("line", f"is the same seed as line {first}, {seed.id}", "remove one of them")
            yield line, seed
        except FaultError as error:
            yield line, error.at(line)


def _seed(row: Any, reader: Callable[[Mapping[str, Any]], SeedItem], form: str, split: str, force: bool) -> Seed:
    if isinstance(row, FaultError):
        raise row
    mend = "correct the row, or name its format or fields"
    if not isinstance(row, Mapping):
        raise FaultError("line", f"is not a {form} row but a {type(row).__name__}", mend)
    if not force and str(row.get("unique_id", "")).startswith("test/"):
        raise FaultError("unique_id", "says that the row is one of the test split", "use rows of the training split")
    try:
        item = reader(row)
    except KeyError as error:
        raise FaultError(str(error.args[0]), f"a {form} row needs this field, or another value in it", mend) from None
    except ValueError as error:
        raise FaultError("answer", str(error), mend) from None
    except (TypeError, AttributeError, IndexError) as error:
        raise FaultError("line", f"is not a {form} row: {error}", mend) from None
    texts = {"problem": item.problem, "answer": item.answer}
    texts |= {f"choices.{number}": text for number, text in enumerate(item.choices or ())}
    if item.rationale is not None:
        texts["rationale"] = item.rationale
    for field, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise FaultError(field, "is no text, or an empty one", mend)
        if len(text) > LONGEST:
            raise FaultError(field, f"has {len(text)} characters, more than {LONGEST}", "leave the row out")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise FaultError(field, "holds half a character (a lone surrogate)", "save the row as UTF-8")
    if item.choices is not None and not 2 <= len(item.choices) <= len(string.ascii_uppercase):
        raise FaultError("choices", f"there are {len(item.choices)} of them", "give 2 to 26")
    content = json.dumps([item.problem, item.answer, item.choices])
    own = hashlib.blake2b(content.encode(), digest_size=8).hexdigest() if item.id is None else str(item.id)
    return Seed(
        id=f"{form}/{own}",
        source=form,
        split=split,
        problem=item.problem.strip(),
        answer=item.answer.strip(),
        choices=item.choices,
        rationale=item.rationale,
        domain_hint=_DOMAINS.get(form),
    )


def _peeked(rows: Iterator[tuple[int, Any]]) -> tuple[Iterator[tuple[int, Any]], Any]:
    """The rows, and the first of them that can be read, or else the first fault."""
    held: list[tuple[int, Any]] = []
    for line, row in rows:
        held.append((line, row))
        if not isinstance(row, FaultError):
            return chain(held, rows), row
    return iter(held), held[0][1] if held else _NOTHING


def _file_rows(path: Path) -> Iterator[tuple[int, Any]]:
    suffix = path.suffix.lower()
    try:
        if suffix in (".jsonl", ".txt"):
            yield from ((line, _json(data)) for line, data in raw_lines(path))
        elif suffix == ".json":
            value = _json(path.read_bytes())
            yield from enumerate(value if isinstance(value, list) else [value], 1)
        elif suffix in (".tsv", ".csv"):
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
                # LegalBench keeps a task's name in that of its folder: tasks/<task>/train.tsv.
                for row in reader:
                    whole = None not in row and None not in row.values()
                    fault = FaultError("line", "has not as many columns as the first line", "write the row again")
                    yield reader.line_num, {"task": path.parent.name, **row} if whole else fault
        else:
            raise UserError(f"{path}: unknown file type; seeds are read from .jsonl, .txt, .json, .tsv and .csv")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _json(data: bytes | FaultError) -> Any:
    if isinstance(data, FaultError):
        return data
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        return FaultError("line", f"not valid JSON: {error}", "write one JSON object a line, as UTF-8")


def _folder_split(folder: Path) -> str | None:
    """``train`` where a file in the folder says so: to ``datasets``, every file without a name is a training file."""
    names = (part for path in folder.rglob("*") for part in path.relative_to(folder).with_suffix("").parts)
    return next((split for split in map(split_of, names) if split in TRAIN), None)


def _hub_rows(name: str, config: str | None, split: str) -> Iterator[tuple[int, Any]]:
    if not Path(name).is_dir() and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(f"{name}: no such file or folder, and no hub id (user/name)")
    from datasets import load_dataset

    try:
        rows = load_dataset(name, config, split=split)
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        raise UserError(f"{name}: split {split!r} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    for number, row in enumerate(rows, 1):
        yield number, {"task": config, **row} if config else row
