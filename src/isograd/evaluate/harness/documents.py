"""Rows of public benchmarks, in the columns of the original datasets, as the documents of our tasks.

A document has ``prompt`` (the problem, as ``isograd distill`` writes it), ``gold`` (the answer), ``solution`` (a text
that a model would be right to write), ``labels`` (the possible answers, where they are words) and ``cluster`` (what
shares a context: its documents stand or fall together). The tasks' YAML files name these functions in ``process_docs``.
"""

from __future__ import annotations

import ast
import functools
import itertools
import json
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from isograd.common.errors import UserError
from isograd.evaluate.harness.reading import last_boxed
from isograd.isomers.benchmarks import FORMATS, BenchmarkRow

__all__ = [
    "RELATIONS",
    "arb",
    "clutrr",
    "folio",
    "gsm8k",
    "legalbench",
    "legalbench_hub",
    "lettered",
    "logicbench_bqa",
    "logicbench_mcqa",
    "logiqa2",
    "math",
    "medqa",
    "reclor",
]

Row = Mapping[str, Any]
Document = dict[str, Any]

RELATIONS: Final = (
    *("aunt", "brother", "daughter", "daughter-in-law", "father", "father-in-law", "granddaughter", "grandfather"),
    *("grandmother", "grandson", "husband", "mother", "mother-in-law", "nephew", "niece", "sister", "sister-in-law"),
    *("son", "son-in-law", "uncle", "wife"),
)
"""The 21 classes of CLUTRR."""


def _documents(read: Callable[[Row], Iterable[Document]], *, spread: str = "") -> Callable[[Iterable[Row]], Any]:
    """Turn a reader of one row into what lm-eval calls: rows of a split in, a dataset of documents out.

    Rows that differ in the column ``spread`` come by turns, so that the first few are of as many kinds as there are.
    """

    @functools.wraps(read)
    def process(rows: Iterable[Row]) -> Any:
        from datasets import Dataset

        documents = []
        for number, row in _by_turns(enumerate(rows, 1), spread):
            try:
                found = list(read(row))
            except KeyError as error:
                raise UserError(f"{read.__name__}, row {number}: needs the field {error.args[0]!r}") from None
            except (TypeError, AttributeError, IndexError, ValueError, SyntaxError):
                text = json.dumps(row, default=str)[:80]
                raise UserError(f"{read.__name__}, row {number}: not a row of this benchmark: {text}") from None
            documents += [{"labels": [], "cluster": str(number), **document} for document in found]
        return Dataset.from_list(documents)

    return process


def _by_turns(rows: Iterable[tuple[int, Row]], column: str) -> Iterable[tuple[int, Row]]:
    """The first row of each kind, then the second of each, and so on; kinds in the order of their first rows."""
    kinds: dict[str, list[tuple[int, Row]]] = {}
    for number, row in rows:
        kinds.setdefault(str(row.get(column)), []).append((number, row))
    turns = itertools.zip_longest(*kinds.values())
    return (pair for turn in turns for pair in turn if pair is not None)


def _of(row: BenchmarkRow) -> Document:
    return {"prompt": row.prompt, "gold": row.answer, "solution": row.completion}


def _lettered(question: str, options: Iterable[str], gold: int) -> Document:
    listed = dict(zip(string.ascii_uppercase, options, strict=False))
    letter = list(listed)[range(len(listed))[gold]]
    prompt = "\n".join([question, *(f"{key}) {text}" for key, text in listed.items())])
    return {"prompt": f"{prompt}\n", "gold": letter, "solution": f"Answer: {letter}"}


def _labelled(question: str, labels: Iterable[str], gold: str) -> Document:
    known = list(labels)
    if gold not in known:
        raise ValueError(f"the answer {gold!r} is none of {known}")
    return {"prompt": f"{question}\n", "gold": gold, "solution": f"Answer: {gold}", "labels": known}


@functools.partial(_documents, spread="original_id")
def gsm8k(row: Row) -> Iterable[Document]:
    """GSM8K and GSM-Symbolic; the instances of one symbolic template are one cluster, and templates take turns."""
    cluster = {"cluster": str(row["original_id"])} if "original_id" in row else {}
    yield _of(FORMATS["gsm8k"](row)) | cluster


@_documents
def math(row: Row) -> Iterable[Document]:
    """MATH and MATH-500; the answer is the last box of the solution."""
    gold = last_boxed(row["solution"])
    if gold is None:
        raise ValueError("a solution without \\boxed")
    yield {"prompt": f"{row['problem']}\n", "gold": gold, "solution": row["solution"]}


@_documents
def logiqa2(row: Row) -> Iterable[Document]:
    """LogiQA 2.0, reading comprehension."""
    yield _of(FORMATS["logiqa2"](row))


@_documents
def medqa(row: Row) -> Iterable[Document]:
    """MedQA, four options."""
    yield _of(FORMATS["medqa"](row))


@_documents
def reclor(row: Row) -> Iterable[Document]:
    """ReClor; rows of its test split have no label and cannot be scored."""
    yield _lettered(f"{row['context']}\n{row['question']}", row["answers"], row["label"])


@_documents
def arb(row: Row) -> Iterable[Document]:
    """ARB's multiple-choice problems; those with a free answer have no candidates and are left out."""
    if row["Answer Candidates"]:
        gold = string.ascii_uppercase.index(row["Final Answer"].strip().strip("().").upper())
        yield _lettered(row["Problem Statement"], row["Answer Candidates"], gold)


@_documents
def folio(row: Row) -> Iterable[Document]:
    """FOLIO; ``Unknown`` and ``Uncertain`` are the same class, named differently in its two splits."""
    premises = row["premises"] if isinstance(row["premises"], str) else "\n".join(row["premises"])
    gold = "Unknown" if row["label"] == "Uncertain" else row["label"]
    question = f"{premises}\nIs this true, false or unknown? {row['conclusion']}"
    cluster = {"cluster": str(row["story_id"])} if row.get("story_id") is not None else {}
    yield _labelled(question, ("True", "False", "Unknown"), gold) | cluster


@_documents
def lettered(row: Row) -> Iterable[Document]:
    """ProofWriter and ProntoQA as Logic-LLM publishes them: options that begin with their letters."""
    letters = [option[:1] for option in row["options"]]
    if row["answer"] not in letters:
        raise ValueError(f"the answer {row['answer']!r} is none of the options")
    prompt = "\n".join([row["context"], row["question"], *row["options"]])
    yield {"prompt": f"{prompt}\n", "gold": row["answer"], "solution": f"Answer: {row['answer']}"}


@_documents
def logicbench_bqa(row: Row) -> Iterable[Document]:
    """LogicBench, yes or no; several questions share the context of a row."""
    for pair in row["qa_pairs"]:
        yield _labelled(f"{row['context']}\n{pair['question']}", ("yes", "no"), pair["answer"])


@_documents
def logicbench_mcqa(row: Row) -> Iterable[Document]:
    """LogicBench, four choices."""
    gold = list(row["choices"]).index(row["answer"])
    yield _lettered(f"{row['context']}\n{row['question']}", row["choices"].values(), gold)


@_documents
def clutrr(row: Row) -> Iterable[Document]:
    """CLUTRR; ``query`` is a Python literal: the relation sought is what the second is to the first."""
    first, second = ast.literal_eval(row["query"])
    story = row["story"].replace("[", "").replace("]", "")
    yield _labelled(f"{story}\nWhat is {second} to {first}?", RELATIONS, row["target_text"])


@functools.partial(_documents, spread="task")
def legalbench(row: Row) -> Iterable[Document]:
    """LegalBench: every task has columns of its own; most ask for Yes or No. Tasks take turns."""
    document = _of(FORMATS["legalbench"](row))
    asked = {"labels": ["Yes", "No"]} if document["gold"] in ("Yes", "No") else {}
    yield document | asked


def legalbench_hub(*, tasks: Iterable[str], **_: Any) -> dict[str, list[Row]]:
    """The test rows of LegalBench tasks on the hub, each with its task's name, as the local file has it."""
    from datasets import load_dataset

    return {
        "test": [
            {"task": task, **row} for task in tasks for row in load_dataset("nguha/legalbench", task, split="test")
        ]
    }
