"""The benchmarks by name and group, and their tasks, ready for lm-evaluation-harness."""

from __future__ import annotations

import difflib
import importlib.util
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from isograd.common.errors import UserError
from isograd.isomers.benchmarks import iter_json_lines

__all__ = ["BENCHMARKS", "GROUPS", "TASKS", "Benchmark", "chosen", "load_tasks", "local_file", "require_harness"]

TASKS: Final = Path(__file__).parent / "tasks"
"""The folder of our tasks, for lm-eval's ``include_path``."""
_SPLITS = ("train", "dev", "validation", "test")


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: what the user calls it.
        tasks: lm-eval's names of its tasks, and for each the value of ``column`` that its rows have in a local file.
        metric: which of the task's metrics is the accuracy told.
        options: answers to guess among, ``None`` where the answer is free.
        file: name of its local file, where that is not its own name.
        column: tells the tasks' rows apart in a local file.
        likelihood: whether options are compared by their log-likelihood, which chat servers do not give.
        local_only: whether no hub id is known.
    """

    name: str
    tasks: Mapping[str, str]
    metric: str = "accuracy"
    options: int | None = None
    file: str = ""
    column: str = ""
    likelihood: bool = False
    local_only: bool = False

    @property
    def ours(self) -> bool:
        """Whether the tasks are isograd's; the others are the harness's own."""
        return all(task.startswith("isograd_") for task in self.tasks)


def _ours(name: str, options: int | None = None, **settings: Any) -> Benchmark:
    return Benchmark(name, {f"isograd_{name}": ""}, options=options, **settings)


def _mmlu(domain: str, subjects: Iterable[str]) -> Benchmark:
    tasks = {f"mmlu_{subject}": subject for subject in subjects}
    return Benchmark(f"mmlu_{domain}", tasks, "acc", 4, file="mmlu", column="subject", likelihood=True)


_MATH = ("Algebra", "Counting & Probability", "Geometry", "Intermediate Algebra", "Number Theory", "Prealgebra")
_MEDICINE = ("anatomy", "clinical_knowledge", "college_medicine", "medical_genetics", "professional_medicine")
_SCIENCE = (
    *("astronomy", "college_biology", "college_chemistry", "college_physics", "conceptual_physics"),
    *("high_school_biology", "high_school_chemistry", "high_school_physics"),
)

BENCHMARKS: Final[Mapping[str, Benchmark]] = MappingProxyType(
    {
        benchmark.name: benchmark
        for benchmark in (
            _ours("gsm8k"),
            _ours("gsm_symbolic"),
            Benchmark(
                "math",
                {
                    f"isograd_math_{kind.lower().replace(' & ', '_and_').replace(' ', '_')}": kind
                    for kind in (*_MATH, "Precalculus")
                },
                column="type",
            ),
            _ours("math500"),
            _ours("logiqa2", 4),
            _ours("reclor", 4),
            _ours("folio", 3),
            _ours("proofwriter", 3),
            _ours("prontoqa", 2),
            _ours("logicbench_bqa", 2),
            _ours("logicbench_mcqa", 4),
            _ours("clutrr", 21),
            _ours("medqa", 4),
            _mmlu("medicine", _MEDICINE),
            _ours("legalbench"),
            _mmlu("law", ("international_law", "jurisprudence", "professional_law")),
            Benchmark("arc_challenge", {"arc_challenge": ""}, "acc_norm", 4, likelihood=True),
            _mmlu("science", _SCIENCE),
            _ours("arb", 4, local_only=True),
        )
    }
)
"""All benchmarks by name."""

GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "iga": ("gsm8k", "math", "logiqa2", "reclor"),
        "logic": (
            *("logiqa2", "reclor", "folio", "proofwriter", "prontoqa", "logicbench_bqa", "logicbench_mcqa", "clutrr"),
        ),
        "mathematics": ("gsm8k", "gsm_symbolic", "math500"),
        "medicine": ("medqa", "mmlu_medicine"),
        "law": ("legalbench", "mmlu_law"),
        "science": ("arc_challenge", "mmlu_science"),
    }
)
"""Groups; ``iga`` is the kind of benchmarks that the IGA paper reports."""


def require_harness() -> None:
    """Raise a :class:`UserError` where lm-evaluation-harness is not installed."""
    if importlib.util.find_spec("lm_eval") is None or importlib.util.find_spec("math_verify") is None:
        raise UserError("benchmarks need lm-evaluation-harness and math-verify; pip install 'isograd[eval]'")


def chosen(names: Sequence[str], folder: Path | None = None) -> tuple[list[Benchmark], dict[str, str]]:
    """Benchmarks by their names and those of groups, each once, in the order given.

    Args:
        names: of benchmarks and groups.
        folder: of local files. A group's benchmarks that have none there are left out.

    Returns:
        The benchmarks, and why others are left out, by name.

    Raises:
        UserError: an unknown name, with the nearest; a benchmark without its file; none at all.
    """
    members: dict[str, bool] = {}
    for name in names:
        if name in GROUPS:
            members.update({member: members.get(member, False) for member in GROUPS[name]})
        elif name in BENCHMARKS:
            members[name] = True
        else:
            close = difflib.get_close_matches(name, [*GROUPS, *BENCHMARKS], 3)
            hint = f"did you mean {' or '.join(close)}" if close else f"there are {', '.join([*GROUPS, *BENCHMARKS])}"
            raise UserError(f"unknown task {name!r}; {hint}")
    left_out = {
        name: "no local file"
        for name, named in members.items()
        if folder is not None and not named and local_file(BENCHMARKS[name], folder) is None
    }
    found = [BENCHMARKS[name] for name in members if name not in left_out]
    for benchmark in found:
        if folder is not None and local_file(benchmark, folder) is None:
            where = benchmark.file or benchmark.name
            raise UserError(
                f"{benchmark.name}: neither {folder / where}/sample.jsonl nor {folder / where}.jsonl is there"
            )
        if folder is None and benchmark.local_only:
            raise UserError(f"{benchmark.name}: no hub id is known; give --data-dir with {benchmark.name}.jsonl in it")
    if not found:
        raise UserError(f"{folder}: holds the file of none of {', '.join(members)}" if members else "no task is named")
    return found, left_out


def local_file(benchmark: Benchmark, folder: Path) -> Path | None:
    """``NAME/sample.jsonl`` or ``NAME.jsonl`` in a folder, if there."""
    name = benchmark.file or benchmark.name
    return next((path for path in (folder / name / "sample.jsonl", folder / f"{name}.jsonl") if path.is_file()), None)


def load_tasks(
    benchmark: Benchmark,
    *,
    folder: Path | None = None,
    instructions: bool = True,
    max_new_tokens: int | None = None,
) -> dict[str, Any]:
    """lm-eval's task objects of a benchmark by name, without examples in the prompt.

    Args:
        benchmark: see :func:`chosen`.
        folder: of local files in the columns of the original datasets; by default rows come from the hub.
        instructions: whether prompts open with what is asked for; without, they are as ``isograd distill`` writes them.
        max_new_tokens: longest completion, in tokens; by default the task's own.

    Raises:
        UserError: unreadable or foreign rows, or a dataset that the hub does not give.
    """
    from lm_eval import tasks as harness

    # Its warnings are about settings that are not the user's.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    own = Path(harness.__file__).parent
    places: list[str | Path] = [own / "arc", own / "mmlu" / "default", TASKS]
    manager = harness.TaskManager(include_path=places, include_defaults=False)
    rows = None if folder is None else _rows(benchmark, folder)
    loaded: dict[str, Any] = {}
    for name, value in benchmark.tasks.items():
        changes: dict[str, Any] = {"task": name, "num_fewshot": 0}
        if rows is not None:
            mine = [row for row in rows if not benchmark.column or row.get(benchmark.column) == value]
            if not mine:
                continue
            changes["custom_dataset"] = _splits(mine, raw=benchmark.ours)
        if benchmark.ours and not instructions:
            changes["description"] = ""
        try:
            # A member of a group may change settings of a task that is known by its name.
            task = manager.load({"group": benchmark.name, "task": [changes]})["tasks"][name]
        except UserError:
            raise
        except Exception as error:
            # The hub client raises errors of several libraries: no such dataset, no access, no network.
            what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UserError(f"{benchmark.name}: cannot be loaded; {what}; or give --data-dir") from error
        if benchmark.ours and max_new_tokens is not None:
            task.set_config("generation_kwargs", {"max_gen_toks": max_new_tokens}, update=True)
        loaded[name] = task
    if not loaded:
        raise UserError(f"{benchmark.name}: no row of its file has one of its values of {benchmark.column!r}")
    return loaded


def _rows(benchmark: Benchmark, folder: Path) -> list[dict[str, Any]]:
    file = local_file(benchmark, folder)
    if file is None:
        raise UserError(f"{benchmark.name}: no file in {folder}")
    rows = []
    for number, row in iter_json_lines(file):
        if not isinstance(row, dict):
            raise UserError(f"{file}:{number}: not a row: write one JSON object a line")
        rows.append(row)
    if not rows:
        raise UserError(f"{file}: holds no rows")
    return rows


def _splits(rows: list[dict[str, Any]], *, raw: bool) -> Any:
    """What stands for the dataset: the same rows under any split's name; no task takes examples from another split."""

    def load(**_: Any) -> dict[str, Any]:
        from datasets import Dataset

        split = rows if raw else Dataset.from_list(rows)
        return dict.fromkeys(_SPLITS, split)

    return load
