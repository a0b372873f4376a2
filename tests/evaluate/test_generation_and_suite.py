"""Greedy generation, and the whole measurement of a student."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from rich.console import Console

from isograd.cli.views import metrics_view
from isograd.common.errors import UserError
from isograd.evaluate import METRICS_FORMAT, evaluate_student, load_student, probe_student
from isograd.evaluate.generate import generate_greedy
from isograd.evaluate.lcs import consistency_record, logical_consistency
from isograd.experiment import measure
from isograd.isomers import FAMILIES, IsomerSet, create_isomers, save_isomers
from isograd.isomers.symbolic.domains import domain_names
from isograd.student.corpus import SYMBOLS

PROMPTS = [
    "The firm had 7 contracts on file publicly. Does the tally of contracts reach 10?\n",
    "7 + 5\n",
    "x",
    "Then 4 eggs were eaten. Then 4 eggs were eaten. Then 4 eggs were eaten late.\n",
    "7 + 5\n",
    "",
]


def greedy_by_hand(model: Any, tokenizer: Any, prompt: str, max_new_tokens: int) -> tuple[str, bool]:
    """One prompt, one token at a time, no cache and no padding; and whether it ended by itself."""
    model.eval()
    ids = tokenizer(prompt)["input_ids"]
    written: list[int] = []
    with torch.no_grad():
        while len(written) < max_new_tokens:
            logits = model(input_ids=torch.tensor([ids + written]), use_cache=False).logits[0, -1]
            token = int(logits.argmax())
            if token == tokenizer.eos_token_id:
                return tokenizer.decode(written, skip_special_tokens=True), True
            written.append(token)
    return tokenizer.decode(written, skip_special_tokens=True), False


def favor(model: Any, token: int, size: float) -> None:
    """Pull the model towards one token: the embedding, tied or not, gets a direction that every state has."""
    head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size)
    with torch.no_grad():
        head.weight.copy_(model.lm_head.weight)
        head.bias.zero_()
        head.bias[token] = size
    model.lm_head = head


@pytest.mark.parametrize("batch_size", [1, 2, 128])
def test_batched_generation_equals_one_prompt_at_a_time(model: Any, tokenizer: Any, batch_size: int) -> None:
    wanted = [greedy_by_hand(model, tokenizer, prompt, 8)[0] for prompt in PROMPTS]
    assert generate_greedy(model, tokenizer, PROMPTS, max_new_tokens=8, batch_size=batch_size) == wanted
    assert len(set(wanted)) == 5, "equal prompts alone have equal completions, or the order would not be tested"


def test_generation_stops_at_the_end_mark(model: Any, tokenizer: Any) -> None:
    favor(model, tokenizer.eos_token_id, 10.0)
    by_hand = [greedy_by_hand(model, tokenizer, prompt, 30) for prompt in PROMPTS]
    ended = [stopped for _, stopped in by_hand]
    assert any(ended), "no row ends by itself: nothing is tested"
    assert len({len(text) for text, _ in by_hand}) > 1
    told = generate_greedy(model, tokenizer, PROMPTS, max_new_tokens=30)
    assert told == [text for text, _ in by_hand]
    assert not any("<|" in text for text in told)


def test_a_batch_ends_when_all_its_rows_have_ended(model: Any, tokenizer: Any) -> None:
    favor(model, tokenizer.eos_token_id, 1e6)
    calls = []
    forward = model.forward
    model.forward = lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs)
    assert generate_greedy(model, tokenizer, PROMPTS, max_new_tokens=50) == [""] * len(PROMPTS)
    assert len(calls) == 1


def test_completions_are_never_longer_than_asked(model: Any, tokenizer: Any) -> None:
    favor(model, tokenizer("7")["input_ids"][1], 1e6)
    assert generate_greedy(model, tokenizer, PROMPTS, max_new_tokens=3) == ["777"] * len(PROMPTS)
    assert generate_greedy(model, tokenizer, [], max_new_tokens=3) == []


def test_padding_side_and_mode_are_restored_whatever_happens(model: Any, tokenizer: Any) -> None:
    tokenizer.padding_side = "right"
    generate_greedy(model.train(), tokenizer, PROMPTS[:2], max_new_tokens=1)
    assert (tokenizer.padding_side, model.training) == ("right", True)
    generate_greedy(model.eval(), tokenizer, PROMPTS[:2], max_new_tokens=1)
    assert (tokenizer.padding_side, model.training) == ("right", False)

    def fail(done: int, total: int) -> None:
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        generate_greedy(model.train(), tokenizer, PROMPTS, max_new_tokens=1, progress=fail)
    assert (tokenizer.padding_side, model.training) == ("right", True)


def test_progress_counts_prompts(model: Any, tokenizer: Any) -> None:
    seen: list[tuple[int, int]] = []
    generate_greedy(
        model, tokenizer, PROMPTS, max_new_tokens=1, batch_size=4, progress=lambda *counts: seen.append(counts)
    )
    assert seen == [(4, 6), (6, 6)]


def strict_json(text: str) -> Any:
    """JSON as the standard has it: no NaN, no Infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_evaluate_student_writes_metrics_and_examples(
    model: Any, tokenizer: Any, sets: list[IsomerSet], tmp_path: Path
) -> None:
    other = list(create_isomers("deduction", seed=2, size=2, split="ood_domain", domains=["sport", "finance"]))
    seen: list[tuple[int, int]] = []
    metrics = evaluate_student(
        model,
        tokenizer,
        {"cue_random": other, "id": sets},
        output=tmp_path,
        max_new_tokens=4,
        batch_size=8,
        progress=lambda *counts: seen.append(counts),
    )
    assert strict_json((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["format"] == METRICS_FORMAT
    assert list(metrics["splits"]) == ["cue_random", "id"]
    assert metrics["splits"]["id"]["n"] == 12
    assert metrics["splits"]["id"]["n_sets"] == 6
    assert set(metrics["splits"]["id"]["by_domain"]) == {"law", "cooking"}
    assert metrics["splits"]["id"]["accuracy"] == 0.0
    assert [split["chance"] for split in metrics["splits"].values()] == [pytest.approx(1 / 3), 0.25]
    every = logical_consistency(
        model, tokenizer, sets, layers=[-2, 1, 2, 3], poolings=("mean", "last", "spans"), batch_size=8
    )
    assert metrics["lcs"]["split"] == "id"
    assert metrics["lcs"]["n_sets"] == 6
    told = {
        layer: {pooling: consistency_record(forms) for pooling, forms in by_pooling.items()}
        for layer, by_pooling in every.items()
    }
    assert {pooling: metrics["lcs"][pooling] for pooling in ("mean", "last", "spans")} == told[-2]
    assert metrics["lcs"]["by_layer"] == {str(layer): told[layer] for layer in (1, 2, 3)}
    assert told[-2]["spans"]["within"] == pytest.approx(every[-2]["spans"]["cosine"].within)
    assert told[-2]["last"]["cka"]["between"] == pytest.approx(every[-2]["last"]["cka"].between)
    assert seen == [(4, 16), (12, 16), (16, 16)]

    lines = [strict_json(line) for line in (tmp_path / "examples.jsonl").read_text().splitlines()]
    shown = [("cue_random", item.id) for item in other for _ in item.members]
    shown += [("id", item.id) for item in sets[:3] for _ in item.members]
    assert [(line["split"], line["set_id"]) for line in lines] == shown
    wanted = generate_greedy(model, tokenizer, [lines[0]["problem"] + "\n"], max_new_tokens=4)
    assert [lines[0]["completion"]] == wanted


def test_what_is_shown_in_the_terminal(model: Any, tokenizer: Any, sets: list[IsomerSet]) -> None:
    metrics = evaluate_student(model, tokenizer, {"id": sets}, max_new_tokens=2)
    lines = shown(metrics_view(metrics))
    for pooling in ("mean", "last", "spans"):
        (line,) = (line for line in lines if line.split()[:1] == [pooling])
        assert all(f"{metrics['lcs'][pooling][side]:.3f}" in line for side in ("within", "between"))
    # Sets need not have spans.
    del metrics["lcs"]["spans"]
    metrics["lcs"]["last"]["collapsed"] = True
    lines = shown(metrics_view(metrics))
    assert not any("spans" in line for line in lines)
    assert any("last (collapsed: it tells no problem from another)" in line for line in lines)


def shown(view: Any) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=200, no_color=True).print(view)
    return [line.replace("\u2502", " ").strip() for line in text.getvalue().split("\n")]


def test_measurements_in_an_older_format_are_taken_again(
    model: Any, tokenizer: Any, sets: list[IsomerSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_isomers(sets, tmp_path / "id.jsonl")
    splits, run = {"id": tmp_path / "id.jsonl"}, tmp_path / "run"
    run.mkdir()
    loaded: list[Path] = []

    def load(output: Path) -> tuple[Any, Any]:
        loaded.append(output)
        return model, tokenizer

    monkeypatch.setattr(measure, "load_run_student", load)
    assert not measure.is_measured(run, splits)
    first = measure.evaluate_run(run, splits)
    assert measure.is_measured(run, splits)
    assert measure.evaluate_run(run, splits) == first
    assert loaded == [run]
    # As a version before this one left it: it knew nothing of a collapse, and kept no format among what was measured.
    old = json.loads((run / "metrics.json").read_text())
    old["format"] = METRICS_FORMAT - 1
    del old["lcs"]["mean"]["collapsed"], old["measured"]["metrics format"]
    (run / "metrics.json").write_text(json.dumps(old))
    assert not measure.is_measured(run, splits)
    assert measure.evaluate_run(run, splits) == first
    assert loaded == [run, run]
    metrics_view(first)


def test_one_set_gives_null_and_not_nan(model: Any, tokenizer: Any, sets: list[IsomerSet], tmp_path: Path) -> None:
    metrics = evaluate_student(model, tokenizer, {"first": sets[:1]}, output=tmp_path, max_new_tokens=2)
    written = strict_json((tmp_path / "metrics.json").read_text())
    assert written == metrics
    assert written["lcs"]["split"] == "first"
    assert written["lcs"]["mean"]["between"] is None
    assert written["lcs"]["mean"]["within"] > 0
    assert written["splits"]["first"]["accuracy_ci"] == [None, None]


def test_empty_splits_are_refused_before_any_work(
    model: Any, tokenizer: Any, sets: list[IsomerSet], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.raises(UserError, match="split 'train' has no isomer sets"):
        evaluate_student(
            model,
            tokenizer,
            {"id": sets, "train": []},
            output=tmp_path,
            progress=lambda *counts: seen.append(counts),
        )
    with pytest.raises(UserError, match="there is no split"):
        evaluate_student(model, tokenizer, {}, output=tmp_path)
    assert seen == []
    assert list(tmp_path.iterdir()) == []


def test_a_saved_student_loads_and_completes_the_same(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, its_tokenizer = load_student(str(tmp_path))
    assert not loaded.training
    arguments = {"max_new_tokens": 6}
    assert generate_greedy(loaded, its_tokenizer, PROMPTS, **arguments) == generate_greedy(
        model, tokenizer, PROMPTS, **arguments
    )
    with pytest.raises(UserError, match=r"holds no adapter \(adapter_config.json is missing\)"):
        load_student(str(tmp_path), tmp_path)


def test_an_adapter_is_merged_where_that_is_exact(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    base = tmp_path / "base"
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    torch.manual_seed(0)
    student = get_peft_model(model, LoraConfig(r=2, init_lora_weights=False, target_modules="all-linear")).eval()
    student.save_pretrained(tmp_path / "adapter")
    merged, _ = load_student(str(base), tmp_path / "adapter")
    assert not isinstance(merged, PeftModel)
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    with torch.no_grad():
        wanted = student(**batch).logits
        torch.testing.assert_close(merged(**batch).logits, wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(merged(**batch).logits, load_student(str(base))[0](**batch).logits, atol=0.1)

    student.get_base_model().to(torch.bfloat16).save_pretrained(base)
    apart, _ = load_student(str(base), tmp_path / "adapter")
    assert isinstance(apart, PeftModel)


def test_a_student_that_does_not_load_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        load_student(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_probe_measures_every_family_in_every_domain_and_in_symbols(model: Any, tokenizer: Any) -> None:
    favor(model, tokenizer.eos_token_id, 1e6)  # it says nothing, and says it at once
    table = probe_student(model, tokenizer, items=2)
    assert list(table) == list(FAMILIES)
    for rows in table.values():
        assert list(rows) == [*domain_names(), SYMBOLS]
        assert rows.pop(SYMBOLS) == {"chain of depth 2": 0.0, "chain of depth 3": 0.0}
        for row in rows.values():
            assert row == {"meaning": 0.0, "single step": 0.0, "cue": 0.0, "task": 0.0}
