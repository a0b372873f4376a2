"""What the LCS reads: isomer sets and paired rows, the same texts, one set at a time."""

from __future__ import annotations

import gc
import json
import math
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from isograd.common.errors import UserError
from isograd.evaluate.lcs import all_layers, consistency_record, logical_consistency
from isograd.evaluate.lcs_data import ReadMember, ReadSet, iter_read_sets
from isograd.evaluate.lcs_sums import COLLAPSED, Consistency
from isograd.isomers import IsomerSet, create_isomers, save_isomers
from isograd.isomers.views import save_view


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_sets_and_their_rows_are_read_alike(tmp_path: Path, sets: list[IsomerSet]) -> None:
    save_isomers(sets, tmp_path / "sets.jsonl")
    save_isomers(sets, tmp_path / "sets.parquet")
    save_view(sets, tmp_path / "rows.jsonl", "sft")
    wanted = [ReadSet.of(item) for item in sets]
    for name in ("sets.jsonl", "sets.parquet", "rows.jsonl"):
        assert list(iter_read_sets(tmp_path / name)) == wanted
    assert wanted[0].domains == ("cooking", "law")


def test_a_text_ends_before_the_answer_and_spans_state_the_steps(sets: list[IsomerSet]) -> None:
    for item in sets:
        for member, read in zip(
            sorted(item.members, key=lambda one: one.domain), ReadSet.of(item).members, strict=True
        ):
            assert read.text == member.prompt + "".join(f"{step.text}\n" for step in member.steps) + "Answer:"
            assert [read.text[start:end] for start, end in read.spans] == [step.value for step in member.steps]


def test_rows_without_completion_and_spans(tmp_path: Path) -> None:
    rows = [{"set_id": "a", "domain": name, "prompt": f"{name} asks", "source": 1} for name in ("x", "b")]
    (read,) = iter_read_sets(lines(tmp_path / "rows.jsonl", *rows))
    assert read == ReadSet("a", (ReadMember("b", "b asks", ()), ReadMember("x", "x asks", ())))
    assert not read.has_spans


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"domain": ""}, "rows.jsonl:2: domain: "),
        ({"prompt": ["chat"]}, "rows.jsonl:2: prompt: "),
        ({"spans": [[0, 9]]}, "rows.jsonl:2: spans: must be"),
        ({"spans": [[1, 0]]}, "rows.jsonl:2: spans: must be"),
        ({"spans": [[2, 3], [0, 1]]}, "rows.jsonl:2: spans: must be"),
    ],
)
def test_faults_of_rows_are_told_with_their_line(tmp_path: Path, fault: dict[str, Any], told: str) -> None:
    row = {"set_id": "a", "domain": "x", "prompt": "p", "completion": "c d"}
    with pytest.raises(UserError, match=told):
        list(iter_read_sets(lines(tmp_path / "rows.jsonl", row, {**row, **fault})))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n")
    for name, told in (("bad.jsonl", "bad.jsonl:1"), ("no.jsonl", "no such file"), ("x.csv", "unknown file type")):
        with pytest.raises(UserError, match=told):
            list(iter_read_sets(tmp_path / name))


def test_scattered_rows_are_refused(tmp_path: Path, model: Any, tokenizer: Any) -> None:
    rows = [{"set_id": name, "domain": domain, "prompt": "a word"} for name, domain in ("ax", "bx", "ay", "by")]
    with pytest.raises(UserError, match=r"each once, not .*; rows of one set must stand together"):
        logical_consistency(
            model, tokenizer, iter_read_sets(lines(tmp_path / "r.jsonl", rows[0], rows[1], rows[2], rows[0], rows[2]))
        )


def pooled_spans(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> torch.Tensor:
    """One text at a time, each span the mean of the tokens that touch it."""
    model.eval()
    found = []
    for item in sets:
        for member in ReadSet.of(item).members:
            batch = tokenizer(member.text, return_tensors="pt", return_offsets_mapping=True)
            places = batch.pop("offset_mapping")[0].tolist()
            with torch.no_grad():
                states = model(**batch, output_hidden_states=True).hidden_states[-2][0]
            means = []
            for start, end in member.spans:
                inside = [number for number, (first, last) in enumerate(places) if first < end and last > start]
                assert inside
                means.append(states[inside].mean(0))
            found.append(torch.stack(means).mean(0))
    return torch.stack(found).unflatten(0, (-1, len(sets[0].members)))


def test_spans_are_pooled_and_batches_do_not_matter(model: Any, tokenizer: Any) -> None:
    from isograd.evaluate.lcs_sums import CkaSums, pairwise_distances

    sets = [*create_isomers(seed=1, size=3, depth=1, domains=["law", "cooking"])]
    sets += create_isomers(seed=2, size=3, depth=3, domains=["law", "cooking"])
    states = pooled_spans(model, tokenizer, sets)
    exact, cka = pairwise_distances(states), CkaSums()
    cka.add(states)
    for batch_size in (1, 5, 64):
        forms = logical_consistency(model, tokenizer, iter(sets), poolings=["spans"], batch_size=batch_size)[-2][
            "spans"
        ]
        assert forms["cosine"].within == pytest.approx(exact.within, abs=1e-5)
        assert forms["cosine"].between == pytest.approx(exact.between, abs=1e-5)
        assert forms["cka"].within == pytest.approx(cka.result().within, abs=1e-4)
        assert forms["cka"].between == pytest.approx(cka.result().between, abs=1e-4)


def test_an_adapter_is_read_with_its_model(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> None:
    from peft import LoraConfig, get_peft_model

    plain = logical_consistency(model, tokenizer, sets)
    adapted: Any = get_peft_model(model, LoraConfig(target_modules="all-linear", init_lora_weights=False))
    with_adapter = logical_consistency(adapted, tokenizer, sets)
    assert with_adapter[-2]["mean"]["cosine"].within != pytest.approx(plain[-2]["mean"]["cosine"].within, abs=1e-3)
    merged = logical_consistency(adapted.merge_and_unload(), tokenizer, sets)
    for pooling, forms in with_adapter[-2].items():
        assert merged[-2][pooling]["cosine"].within == pytest.approx(forms["cosine"].within, abs=1e-5)


def test_sets_are_not_kept(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> None:
    seen: list[weakref.ref[ReadSet]] = []
    most = 0

    def stream() -> Iterator[ReadSet]:
        nonlocal most
        for number in range(12):
            gc.collect()
            most = max(most, sum(ref() is not None for ref in seen))
            read = ReadSet(f"s{number}", ReadSet.of(sets[number % 6]).members)
            seen.append(weakref.ref(read))
            yield read
            del read

    logical_consistency(model, tokenizer, stream(), batch_size=4)
    assert len(seen) == 12
    assert most <= 2


def test_what_cannot_be_pooled_is_refused(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> None:
    bare = ReadSet("bare", tuple(ReadMember(name, "a word", ()) for name in ("a", "b")))
    with pytest.raises(UserError, match="'bare': has no aligned spans"):
        logical_consistency(model, tokenizer, [bare], poolings=["spans"])
    assert not math.isnan(logical_consistency(model, tokenizer, [bare])[-2]["mean"]["cosine"].within)
    with pytest.raises(UserError, match="unknown pooling 'max'; there are: mean, last, spans"):
        logical_consistency(model, tokenizer, sets, poolings=["max"])


def test_a_collapse_is_told() -> None:
    nothing = Consistency(float("nan"), float("nan"))
    for between, collapsed in ((COLLAPSED * 0.99, True), (COLLAPSED, False), (float("nan"), False)):
        record = consistency_record({"cosine": Consistency(0.0, between), "cka": nothing})
        assert record["collapsed"] is collapsed
        assert record["cka"] == {"within": None, "between": None}
        assert record["within"] == 0.0


def test_states_that_do_not_differ_are_told_as_collapsed(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> None:
    """The last token is the same in all texts, so the embeddings cannot tell them apart; later layers can."""
    scores = logical_consistency(model, tokenizer, sets, layers=all_layers(3))
    assert list(scores) == [0, 1, 2, 3]
    assert [consistency_record(forms["last"])["collapsed"] for forms in scores.values()] == [True, False, False, False]
    assert consistency_record(scores[0]["last"])["cka"] == {"within": None, "between": None}
