"""The gold answer of every row scores as right, and that of another row as chance; shown as a table with ``-s``.

The gold answers are read from the raw rows here, not by the code that is tested.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scripted import INVENTED, REAL, Scripted

from isograd.common.seeding import named_random
from isograd.evaluate.benchmarks import measure
from isograd.evaluate.harness.registry import BENCHMARKS, GROUPS, Benchmark, load_tasks, local_file

Row = dict[str, Any]
ABC = "ABCDEFGH"


def _number(row: Row) -> list[tuple[Any, Any]]:
    return [(row["answer"], Decimal(row["answer"].rsplit("####", 1)[1].strip().replace(",", "")))]


def _boxed(row: Row) -> list[tuple[Any, Any]]:
    # MATH-500 has the answer in a column of its own; the invented rows of MATH have one box at the end.
    return [(row["solution"], row.get("answer", row["solution"].rsplit("\\boxed{", 1)[1]))]


def _said(read: Callable[[Row], str], form: str = "Answer: {}") -> Callable[[Row], list[tuple[Any, Any]]]:
    return lambda row: [(form.format(read(row)), read(row))]


def _place(read: Callable[[Row], int]) -> Callable[[Row], list[tuple[Any, Any]]]:
    return lambda row: [(read(row), read(row))]


# What a model that knows the gold answer of a row writes, or the place of the option that it takes, and what makes it
# the same answer as another row's; one pair a question.
GOLD: dict[str, Callable[[Row], list[tuple[Any, Any]]]] = {
    "gsm8k": _number,
    "gsm_symbolic": _number,
    "math": _boxed,
    "math500": _boxed,
    "logiqa2": _said(lambda row: ABC[row["answer"]], "Let us see.\nAnswer: {}"),
    "reclor": _said(lambda row: ABC[row["label"]], "The answer is ({})."),
    "folio": _said(lambda row: row["label"].replace("Uncertain", "Unknown")),
    "proofwriter": _said(lambda row: row["answer"]),
    "prontoqa": _said(lambda row: row["answer"], "\n**Answer:** {}"),
    "logicbench_bqa": lambda row: [(f"Answer: {pair['answer']}", pair["answer"]) for pair in row["qa_pairs"]],
    "logicbench_mcqa": _said(lambda row: ABC[int(row["answer"].removeprefix("choice_")) - 1]),
    "clutrr": _said(lambda row: row["target_text"]),
    "medqa": lambda row: [(f"Answer: {row['answer_idx']}) {row['answer']}", row["answer_idx"])],
    "mmlu_medicine": _place(lambda row: row["answer"]),
    "mmlu_law": _place(lambda row: row["answer"]),
    "mmlu_science": _place(lambda row: row["answer"]),
    "legalbench": _said(lambda row: row["answer"]),
    "arc_challenge": _place(lambda row: row["choices"]["label"].index(row["answerKey"])),
    "arb": lambda row: _said(lambda row: row["Final Answer"])(row) if row["Answer Candidates"] else [],
}


TURNS = {"legalbench": "task", "gsm_symbolic": "original_id"}
"""The benchmarks of several kinds of rows, which take turns, and the column that tells them apart."""


def _folder(benchmark: Benchmark) -> Path:
    folder = REAL if local_file(benchmark, REAL) is not None else INVENTED
    if local_file(benchmark, folder) is None:
        pytest.skip(f"no rows of {benchmark.name} in {REAL}")
    return folder


def _golds(benchmark: Benchmark, folder: Path) -> dict[str, list[tuple[Any, Any]]]:
    file = local_file(benchmark, folder)
    assert file is not None
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    found = {}
    for task, value in benchmark.tasks.items():
        mine = [row for row in rows if not benchmark.column or row[benchmark.column] == value]
        if benchmark.name in TURNS:
            kinds = [row[TURNS[benchmark.name]] for row in mine]
            # Of each kind the first, then of each the second; kinds in the order of their first rows.
            order = sorted(range(len(mine)), key=lambda i: (kinds[:i].count(kinds[i]), kinds.index(kinds[i])))
            mine = [mine[i] for i in order]
        found[task] = [pair for row in mine for pair in GOLD[benchmark.name](row)]
    return found


def _derangement(benchmark: str, task: str, n: int) -> list[int]:
    """A random cycle through all rows (Sattolo): no row stays, and no pattern of the file is met again."""
    draw = named_random("gold", benchmark, task)
    places = list(range(n))
    for last in range(n - 1, 0, -1):
        other = draw.randrange(last)
        places[last], places[other] = places[other], places[last]
    return places


def test_every_benchmark_is_in_the_table() -> None:
    assert set(GOLD) == set(BENCHMARKS)
    assert {name for members in GROUPS.values() for name in members} <= set(BENCHMARKS)


@pytest.mark.parametrize("name", GOLD)
def test_gold(name: str) -> None:
    benchmark = BENCHMARKS[name]
    folder = _folder(benchmark)
    golds = _golds(benchmark, folder)
    tasks = load_tasks(benchmark, folder=folder)
    n = sum(map(len, golds.values()))

    right = measure(Scripted(lambda task, number: golds[task][number][0]), benchmark, tasks)
    assert len(right) == n
    assert [sample.correct for sample in right] == [1.0] * n

    moved = {task: _derangement(name, task, len(texts)) for task, texts in golds.items()}

    def other(task: str, number: int) -> Any:
        return golds[task][moved[task][number]][0]

    wrong = measure(Scripted(other), benchmark, tasks)
    score = sum(sample.correct for sample in wrong) / n
    pairs = [(texts[moved[task][i]][1], texts[i][1]) for task, texts in golds.items() for i in range(len(texts))]
    same = sum(first == second for first, second in pairs) / n
    chance = None if benchmark.options is None else 1 / benchmark.options
    shares = [f"{sum(sample.correct for sample in right) / n:.1%}", f"{score:.1%}", f"{same:.1%}"]
    shares.append("-" if chance is None else f"{chance:.1%}")
    rows = "real" if folder == REAL else "invented"
    print("\n| " + " | ".join([name, "isograd" if benchmark.ours else "lm-eval", rows, str(n), *shares]) + " |")
    assert score == pytest.approx(same)
    if chance is None or folder == INVENTED:
        return
    assert abs(score - chance) < 3.5 * math.sqrt(chance * (1 - chance) / n)


@pytest.mark.parametrize("name", ["reclor", "arb", "math", "gsm_symbolic"])
def test_gold_of_invented_rows(name: str) -> None:
    """The schemas of which no real rows may be kept are tested on rows made up for it, wherever the others are."""
    benchmark = BENCHMARKS[name]
    golds = _golds(benchmark, INVENTED)
    samples = measure(Scripted(lambda task, i: golds[task][i][0]), benchmark, load_tasks(benchmark, folder=INVENTED))
    assert [sample.correct for sample in samples] == [1.0] * sum(map(len, golds.values()))


def test_gold_of_the_training_part_of_logicbench(tmp_path: Path) -> None:
    source = REAL / "logicbench_aug" / "sample.jsonl"
    if not source.is_file():
        pytest.skip(f"no rows of logicbench_aug in {REAL}")
    (tmp_path / "logicbench_bqa.jsonl").write_bytes(source.read_bytes())
    benchmark = BENCHMARKS["logicbench_bqa"]
    golds = _golds(benchmark, tmp_path)
    samples = measure(Scripted(lambda task, i: golds[task][i][0]), benchmark, load_tasks(benchmark, folder=tmp_path))
    assert len(samples) > 400
    assert all(sample.correct for sample in samples)
    # The questions of one row are one cluster.
    assert len({sample.cluster for sample in samples}) == 200
