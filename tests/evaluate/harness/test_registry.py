"""Names, groups, local files, documents, and what a mistake looks like."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from scripted import INVENTED, REAL, Scripted

from isograd.common.errors import UserError
from isograd.evaluate.benchmarks import measure
from isograd.evaluate.harness.documents import RELATIONS, folio, gsm8k, legalbench
from isograd.evaluate.harness.registry import BENCHMARKS, GROUPS, TASKS, chosen, load_tasks, local_file
from isograd.isomers.benchmarks import read_benchmark


def test_groups_and_names_each_once() -> None:
    found, left_out = chosen(["iga", "gsm8k", "medicine"])
    assert [benchmark.name for benchmark in found] == [*GROUPS["iga"], *GROUPS["medicine"]]
    assert left_out == {}


def test_of_a_group_what_has_no_file_is_left_out() -> None:
    found, left_out = chosen(["iga"], INVENTED)
    assert [benchmark.name for benchmark in found] == ["math", "reclor"]
    assert left_out == {"gsm8k": "no local file", "logiqa2": "no local file"}
    with pytest.raises(UserError, match=r"^gsm8k: neither .*gsm8k/sample\.jsonl nor .*gsm8k\.jsonl is there$"):
        chosen(["iga", "gsm8k"], INVENTED)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["folo"], "unknown task 'folo'; did you mean folio"),
        (["medcine"], "did you mean medicine"),
        (["zzzz"], "there are iga, logic, mathematics"),
        (["arb"], "arb: no hub id is known; give --data-dir"),
        ([], "no task is named"),
    ],
)
def test_a_mistake_in_a_name_is_one_line(names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        chosen(names)
    assert "\n" not in str(caught.value)


def test_without_the_network_the_hub_is_named() -> None:
    with pytest.raises(UserError, match=r"^gsm8k: cannot be loaded; .*openai/gsm8k.* or give --data-dir$"):
        load_tasks(BENCHMARKS["gsm8k"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "logiqa2, row 1: needs the field"),
        ('{"answer": 9, "text": "t", "question": "q", "options": ["a", "b"]}', "not a row of this benchmark"),
        ("[]", "not a row: write one JSON object a line"),
        ("{", "not valid JSON"),
        ("", "holds no rows"),
    ],
)
def test_a_foreign_file_is_one_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "logiqa2.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=message) as caught:
        load_tasks(BENCHMARKS["logiqa2"], folder=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_row_of_any_task(tmp_path: Path) -> None:
    (tmp_path / "mmlu.jsonl").write_text(json.dumps({"question": "q", "subject": "none", "choices": [], "answer": 0}))
    with pytest.raises(UserError, match="no row of its file has one of its values of 'subject'"):
        load_tasks(BENCHMARKS["mmlu_law"], folder=tmp_path)


def one(rows: Any) -> Mapping[str, Any]:
    (document,) = rows
    return dict(document)


def test_both_spellings_of_folio_and_both_forms_of_its_premises() -> None:
    train = {"premises": ["All A are B.", "x is A."], "conclusion": "x is C.", "label": "Unknown", "story_id": 3}
    validation = {"premises": "All A are B.\nx is A.", "conclusion": "x is C.", "label": "Uncertain"}
    first, second = one(folio([train])), one(folio([validation]))
    assert first["gold"] == second["gold"] == "Unknown"
    assert first["prompt"] == second["prompt"]
    assert (first["cluster"], second["cluster"]) == ("3", "1")


def test_the_first_documents_are_of_as_many_kinds_as_there_are(tmp_path: Path) -> None:
    rows = [
        {"task": task, "index": str(i), "text": f"{task} {i}", "answer": "Yes"}
        for task, n in (("b", 3), ("a", 1), ("c", 2))
        for i in range(n)
    ]
    found = [document["prompt"].split("\n")[1] for document in legalbench(rows)]
    assert [line.removeprefix("text: ") for line in found] == ["b 0", "a 0", "c 0", "b 1", "c 1", "b 2"]
    templates = [{"question": f"{t}{i}?", "answer": "#### 1", "original_id": t} for t in (7, 3) for i in range(2)]
    documents = [(document["prompt"], document["cluster"]) for document in gsm8k(templates)]
    assert [(prompt[:2], cluster) for prompt, cluster in documents] == [
        ("70", "7"),
        ("30", "3"),
        ("71", "7"),
        ("31", "3"),
    ]
    # Documents without kinds stay in their order, and each is a cluster by its line.
    plain = gsm8k([{"question": f"{i}?", "answer": "#### 1"} for i in range(3)])
    assert [(document["prompt"][0], document["cluster"]) for document in plain] == [("0", "1"), ("1", "2"), ("2", "3")]


def test_arc_with_number_labels_and_other_numbers_of_options(tmp_path: Path) -> None:
    rows = [
        {
            "id": "a",
            "question": "Q?",
            "choices": {"text": ["w", "x", "y", "z"], "label": list("1234")},
            "answerKey": "3",
        },
        {"id": "b", "question": "R?", "choices": {"text": ["w", "x", "y"], "label": list("ABC")}, "answerKey": "C"},
        {"id": "c", "question": "S?", "choices": {"text": list("vwxyz"), "label": list("ABCDE")}, "answerKey": "E"},
    ]
    (tmp_path / "arc_challenge.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark = BENCHMARKS["arc_challenge"]
    tasks = load_tasks(benchmark, folder=tmp_path)
    assert [s.correct for s in measure(Scripted(lambda _, i: [2, 2, 4][i]), benchmark, tasks)] == [1.0] * 3
    assert [s.correct for s in measure(Scripted(lambda _, i: 0), benchmark, tasks)] == [0.0] * 3


def test_arb_without_candidates_is_left_out() -> None:
    tasks = load_tasks(BENCHMARKS["arb"], folder=INVENTED)
    assert len(tasks["isograd_arb"].eval_docs) == 5


def test_prompts_with_and_without_instructions(tmp_path: Path) -> None:
    def prompt(**settings: Any) -> str:
        (task,) = load_tasks(BENCHMARKS["reclor"], folder=INVENTED, **settings).values()
        task.build_all_requests(limit=1, rank=0, world_size=1)
        text, generation = task.instances[0].args
        assert generation["max_gen_toks"] == settings.get("max_new_tokens", 512)
        return str(text)

    plain = prompt(instructions=False)
    assert plain.startswith("Every ferry that leaves on time")
    assert plain.endswith(
        "A) The red ferry left late.\nB) The red ferry left on time.\nC) No ferry left.\nD) All ferries are red.\n"
    )
    asked = prompt(max_new_tokens=7)
    assert asked.endswith(plain)
    assert "'Answer: '" in asked


@pytest.mark.parametrize("name", ["gsm8k", "logiqa2", "medqa", "legalbench"])
def test_without_instructions_prompts_are_those_trained_on(name: str) -> None:
    benchmark = BENCHMARKS[name]
    file = local_file(benchmark, REAL)
    if file is None:
        pytest.skip(f"no rows of {name} in {REAL}")
    trained = sorted(row.prompt for row in read_benchmark(file, name))
    asked = []
    for task in load_tasks(benchmark, folder=REAL, instructions=False).values():
        task.build_all_requests(rank=0, world_size=1)
        asked += [str(instance.args[0]) for instance in task.instances]
    assert sorted(asked) == trained


def test_our_tasks_work_in_the_harness_itself() -> None:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    ours = {name for benchmark in BENCHMARKS.values() if benchmark.ours for name in benchmark.tasks}
    assert ours == set(manager.all_subtasks)


def test_the_text_of_a_row_is_no_template(tmp_path: Path) -> None:
    row = {"question": "What is {{ 7 * 7 }}? {% raw %}", "answer": "#### 1"}
    (tmp_path / "gsm8k.jsonl").write_text(json.dumps(row))
    (task,) = load_tasks(BENCHMARKS["gsm8k"], folder=tmp_path).values()
    task.build_all_requests(limit=1, rank=0, world_size=1)
    assert "What is {{ 7 * 7 }}? {% raw %}" in task.instances[0].args[0]


def test_a_folder_for_each_file_works_as_well(tmp_path: Path) -> None:
    (tmp_path / "reclor").mkdir()
    shutil.copy(INVENTED / "reclor.jsonl", tmp_path / "reclor" / "sample.jsonl")
    assert len(load_tasks(BENCHMARKS["reclor"], folder=tmp_path)["isograd_reclor"].eval_docs) == 6


def test_the_relations_of_clutrr_are_all_told() -> None:
    text = (Path(__file__).resolve().parents[3] / "src/isograd/evaluate/harness/tasks/clutrr.yaml").read_text()
    assert f"one of: {', '.join(RELATIONS)}." in text
    assert len(RELATIONS) == len(set(RELATIONS)) == 21


def test_by_default_rows_come_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []

    def load_dataset(path: str, name: str | None = None, split: str | None = None, **settings: Any) -> Any:
        asked.append((path, name))
        # Nobody's code is run, whatever the dataset.
        assert not settings
        if path == "nguha/legalbench":
            return datasets.Dataset.from_list([{"index": "0", "text": "A clause.", "answer": "Yes"}])
        lines = (INVENTED / f"{files[path]}.jsonl").read_text().split("\n")
        rows = datasets.Dataset.from_list([json.loads(line) for line in lines if line])
        return datasets.DatasetDict({"validation" if path == "metaeval/reclor" else "test": rows})

    files = {"metaeval/reclor": "reclor", "apple/GSM-Symbolic": "gsm_symbolic", "EleutherAI/hendrycks_math": "math"}
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for name, tasks, documents in (("reclor", 1, 6), ("gsm_symbolic", 1, 6), ("math", 7, 7 * 14)):
        loaded = load_tasks(BENCHMARKS[name])
        assert len(loaded) == tasks
        assert sum(len(task.eval_docs) for task in loaded.values()) == documents
    (task,) = load_tasks(BENCHMARKS["legalbench"]).values()
    assert len(task.eval_docs) == len({name for path, name in asked if path == "nguha/legalbench"}) == 85
    assert [pair for pair in asked if pair[0] != "nguha/legalbench"][:3] == [
        ("metaeval/reclor", None),
        ("apple/GSM-Symbolic", "main"),
        ("EleutherAI/hendrycks_math", "algebra"),
    ]
