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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from isograd.common.errors import UserError
from isograd.isomers.benchmarks import FORMATS
from isograd.isomers.questions import detect_format

# One reader of JSON lines for all that strangers may have written: lengths, encodings and byte order marks.
from isograd.isomers.reading import Fault, FaultError
from isograd.isomers.reading import _lines as json_lines

__all__ = ["FORMS", "HUB", "Seed", "boxed", "field_map", "listed", "read_seeds", "split_of"]

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


class _Item(NamedTuple):
    """What a format's reader makes of one row."""

    problem: str
    answer: str
    choices: tuple[str, ...] | None = None
    rationale: str | None = None
    id: str | None = None


def listed(choices: Iterable[str]) -> str:
    """Choices as lines to put below a problem: ``A) ...``, as the benchmark readers write them."""
    return "".join(f"\n{letter}) {text}" for letter, text in zip(string.ascii_uppercase, choices, strict=False))


def boxed(solution: str) -> str:
    """The content of the last ``\\boxed{...}`` of a solution, braces balanced (or of ``\\boxed 5`` without braces).

    Raises:
        ValueError: there is none, or its braces are never closed.
    """
    found = list(re.finditer(r"\\(?:boxed|fbox)(?=[\s{])\s*", solution))
    if not found:
        raise ValueError("the solution has no \\boxed{...}")
    rest = solution[found[-1].end() :]
    if not rest.startswith("{"):
        return re.split(r"[\s$]", rest, maxsplit=1)[0].rstrip(".,")
    depth = 0
    # Escaped braces are set in the formula and open nothing.
    for brace in re.finditer(r"\\.|[{}]", rest, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return rest[1 : brace.start()].strip()
    raise ValueError("the braces of the last \\boxed{...} are never closed")


def _gsm8k(row: Mapping[str, Any]) -> _Item:
    if "####" not in row["answer"]:
        raise ValueError("the answer has no '####' before its number")
    gold = FORMATS["gsm8k"](row).answer
    # The calculator's marks, <<12/2=6>>, are no part of what is said.
    told = re.sub(r"<<[^<>]*>>", "", row["answer"].rsplit("####", 1)[0]).strip()
    return _Item(row["question"], gold, rationale=told or None)


def _math(row: Mapping[str, Any]) -> _Item:
    gold = row["answer"] if isinstance(row.get("answer"), str) else boxed(row["solution"])
    return _Item(row["problem"], gold, rationale=row.get("solution"), id=row.get("unique_id"))


def _logiqa2(row: Mapping[str, Any]) -> _Item:
    made, options = FORMATS["logiqa2"](row), tuple(row["options"])
    return _Item(made.prompt.removesuffix(f"{listed(options)}\n"), made.answer, options, id=row.get("id"))


def _reclor(row: Mapping[str, Any]) -> _Item:
    same = {"text": row["context"], "question": row["question"], "options": row["answers"], "answer": row["label"]}
    return _logiqa2({**same, "id": row.get("id_string")})


def _medqa(row: Mapping[str, Any]) -> _Item:
    made, options = FORMATS["medqa"](row), tuple(row["options"].values())
    if list(row["options"]) != list(string.ascii_uppercase[: len(options)]):
        raise ValueError("the options are not lettered A, B, C and so on")
    return _Item(made.prompt.removesuffix(f"{listed(options)}\n"), made.answer, options)


def _legalbench(row: Mapping[str, Any]) -> _Item:
    made = FORMATS["legalbench"](row)
    return _Item(made.prompt.removesuffix("\n"), made.answer, id=f"{row['task']}/{row['index']}")


def _arb(row: Mapping[str, Any]) -> _Item:
    options = tuple(row.get("Answer Candidates") or ()) or None
    gold = str(row["Final Answer"]).strip()
    return _Item(row["Problem Statement"], _letter(gold, options) if options else gold, options, id=row.get("_id"))


_TRUTHS: Final = {"true": "True", "false": "False", "unknown": "Unknown", "uncertain": "Unknown"}
"""FOLIO says Unknown in one split and Uncertain in the other, and means the same."""


def _folio(row: Mapping[str, Any]) -> _Item:
    premises = [row["premises"]] if isinstance(row["premises"], str) else row["premises"]
    asked = f"Is the following statement true, false, or unknown? {row['conclusion']}"
    return _Item("\n".join([*premises, asked]), _TRUTHS[row["label"].strip().lower()], id=row.get("example_id"))


def _statement(row: Mapping[str, Any]) -> _Item:
    options = dict(option.split(") ", 1) for option in row["options"])
    if row["answer"] not in options:
        raise ValueError(f"the answer {row['answer']!r} is none of the options")
    told = "\n".join(row.get("explanation", ())) or None
    gold = _TRUTHS[options[row["answer"]].lower()]
    return _Item(f"{row['context']}\n{row['question']}", gold, rationale=told, id=row.get("id"))


def _letter(answer: object, choices: tuple[str, ...]) -> str:
    """The letter of the right choice, from a letter, an index from 0, or the choice's own text."""
    letters = string.ascii_uppercase[: len(choices)]
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(letters):
        return letters[answer]
    if isinstance(answer, str) and len(answer) == 1 and answer in letters:
        return answer
    if isinstance(answer, str) and choices.count(answer) == 1:
        return letters[choices.index(answer)]
    raise ValueError(f"the answer {answer!r} is no letter, index or text of the {len(choices)} choices")


def _plain(fields: Mapping[str, str]) -> Callable[[Mapping[str, Any]], _Item]:
    def read(row: Mapping[str, Any]) -> _Item:
        found = {ours: row[theirs] for ours, theirs in fields.items()}
        options = found.get("choices")
        if isinstance(options, Mapping):
            options = options["text"] if isinstance(options.get("text"), list) else list(options.values())
        choices = tuple(options) if options else None
        gold = found["answer"]
        if choices:
            gold = _letter(gold, choices)
        elif isinstance(gold, int | float) and not isinstance(gold, bool):
            gold = str(gold)
        return _Item(found["problem"], gold, choices, found.get("rationale"), found.get("id"))

    return read


FORMS: Final[Mapping[str, Callable[[Mapping[str, Any]], _Item]]] = {
    "gsm8k": _gsm8k,
    "math": _math,
    "math500": _math,
    "logiqa2": _logiqa2,
    "reclor": _reclor,
    "arb": _arb,
    "folio": _folio,
    "proofwriter": _statement,
    "prontoqa": _statement,
    "medqa": _medqa,
    "legalbench": _legalbench,
}
"""Readers of rows by format name. Plain JSON lines are read by a field map instead."""

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

_FIELDS: Final = ("problem", "answer", "choices", "rationale", "id")


def field_map(text: str) -> dict[str, str]:
    """The fields of plain rows, from ``problem=question,answer=gold``.

    Raises:
        UserError: a field that seeds do not have, one named twice, or no problem or answer.
    """
    pairs = [pair.partition("=") for pair in text.split(",")]
    fields = {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
    usage = "write it as problem=question,answer=gold"
    for ours, theirs in fields.items():
        if ours not in _FIELDS or not theirs:
            raise UserError(f"field map {text!r}: {ours!r} cannot be read; {usage} (there are: {', '.join(_FIELDS)})")
    if len(fields) < len(pairs) or not {"problem", "answer"} <= fields.keys():
        raise UserError(f"field map {text!r}: problem and answer are needed, each field once; {usage}")
    return fields


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
    reader = _plain(fields) if fields is not None else FORMS[form or ""]
    label = "plain" if fields is not None else str(form)
    found = _checked_split(name, label, named, split, force_test)
    return _seeds(rows, reader, label, found, force_test)


def _seeds(
    rows: Iterator[tuple[int, Any]], reader: Callable[[Mapping[str, Any]], _Item], form: str, split: str, force: bool
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


def _seed(row: Any, reader: Callable[[Mapping[str, Any]], _Item], form: str, split: str, force: bool) -> Seed:
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
            yield from ((line, _json(data)) for line, data in json_lines(path))
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
