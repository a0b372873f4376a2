"""What masks pass of two known gradients: by hand, on a real student, and from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from isograd.cli import main
from isograd.common.models import load_causal_lm
from isograd.gradients import AndMask, Iga, LayerContext, SandMask
from isograd.isomers.views import true_answer
from isograd.lab.selectivity.probe import FORMS, SelectivityProbe, mask_of
from isograd.lab.selectivity.training import Setup, probe, probe_sets
from isograd.student import student_path

K, M, N = 4, 6, 5


def context() -> LayerContext:
    return LayerContext(rank=2, generator=torch.Generator().manual_seed(0))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("method", [Iga(tau=2.0), Iga(tau=0.5, normalization="mean_squared"), Iga(tau=1.0)])
def test_masks_by_entry_multiply_the_other_gradient(method: Iga) -> None:
    grads, target = random(K, M, N), random(M, N, seed=1)
    mean = grads.mean(0)
    variance = (grads - mean).square().mean(0)
    scale = grads.square().mean(0) if method.normalization == "mean_square" else mean.square()
    wanted = ((-method.tau * variance / scale).exp() * target).square().sum()
    torch.testing.assert_close(mask_of(method, grads, context())(target), wanted)


def test_the_and_mask_keeps_what_it_keeps() -> None:
    grads, target = random(K, M, N), random(M, N, seed=1)
    agreed = grads.sign().sum(0).abs() == K
    torch.testing.assert_close(
        mask_of(AndMask(rescale=False), grads, context())(target), (target * agreed).square().sum()
    )


def test_without_conflict_everything_passes() -> None:
    grads, target = random(1, M, N).expand(K, M, N).clone(), random(M, N, seed=1)
    full = target.square().sum()
    for form, method in FORMS.items():
        if isinstance(method, SandMask) or form in ("SVD alone", "IGA, singular, tau 3"):
            continue
        torch.testing.assert_close(mask_of(method, grads, context())(target), full, rtol=1e-6, atol=0.0, msg=form)


def test_singular_directions_pass_what_lies_along_them() -> None:
    grads = random(1, M, N).expand(K, M, N).clone()
    U, _, V = torch.linalg.svd(grads[0], full_matrices=False)
    along = 3 * U[:, :1] @ V[:1] - 2 * U[:, 1:2] @ V[1:2]
    across = U[:, :1] @ V[1:2] + U[:, 3:4] @ V[3:4]
    method = FORMS["IGA, singular, tau 3"]
    torch.testing.assert_close(mask_of(method, grads, context())(along).item(), 13.0)
    assert mask_of(method, grads, context())(across) < 1e-20


def test_masks_without_strength_pass_everything() -> None:
    grads, target = random(K, M, N), random(M, N, seed=1)
    full = target.square().sum()
    for method in (Iga(tau=0.0), Iga(tau=0.0, basis="input")):
        torch.testing.assert_close(mask_of(method, grads, context())(target), full)


def test_the_probe_leaves_its_findings_in_the_layers_state() -> None:
    grads, where = random(3 * K, M, N), context()
    returned = SelectivityProbe(domains=K).merge_layer(grads, where)
    torch.testing.assert_close(returned, grads.mean(0))
    logic = grads[K : 2 * K].float()
    wanted = mask_of(FORMS["IGA, tau 3"], grads[:K].float(), context())(logic.mean(0))
    torch.testing.assert_close(where.state["logic/mixed/IGA, tau 3"], wanted)
    wanted = mask_of(FORMS["IGA, tau 3"], logic, context())(logic.mean(0))
    torch.testing.assert_close(where.state["logic/own/IGA, tau 3"], wanted)
    torch.testing.assert_close(where.state["logic/norm"], logic.mean(0).square().sum())


@pytest.fixture(scope="module")
def student() -> tuple[Any, Any]:
    from peft import LoraConfig, get_peft_model

    model, tokenizer = load_causal_lm(str(student_path()))
    torch.manual_seed(0)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", init_lora_weights="gaussian")
    adapted = get_peft_model(model, lora)
    for name, value in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.02)
    return adapted, tokenizer


def test_the_probed_losses_are_those_of_the_model(student: tuple[Any, Any]) -> None:
    """Completions count for the training and logic batches, the answer's word alone for the shortcut's."""
    model, tokenizer = student
    setup = Setup(model="", family="deduction", probe_sets=3)
    batches = probe_sets(setup, seed=0)
    model.train()
    found = probe(model, tokenizer, batches, step=7)
    assert found.step == 7
    assert model.training
    assert all(value.grad is None for value in model.parameters())
    model.eval()
    by_kind = {}
    for kind, sets in batches.items():
        by_domain = []
        for number in range(len(sets[0].members)):
            values = []
            for isomer_set in sets:
                member = isomer_set.members[number]
                ids = torch.tensor([tokenizer(member.prompt + member.completion)["input_ids"]])
                start = len(tokenizer(member.prompt)["input_ids"])
                with torch.no_grad():
                    logps = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
                nll = -logps.gather(-1, ids[0, 1:, None])[start - 1 :, 0]
                if kind == "cue":
                    texts = [tokenizer.decode([token]).strip() for token in ids[0, start:]]
                    place = max(place for place, text in enumerate(texts) if text == member.answer)
                    nll = nll[place : place + 1]
                values.append(nll)
            by_domain.append(torch.cat(values).mean())
        by_kind[kind] = torch.stack(by_domain).mean().item()
    assert found.losses == pytest.approx(by_kind, rel=1e-4)


def test_shares_are_of_the_whole_gradient(student: tuple[Any, Any]) -> None:
    model, tokenizer = student
    batches = probe_sets(Setup(model="", family="arithmetic", probe_sets=2), seed=1)
    found = probe(model, tokenizer, batches, step=0)
    for (_, _, form), share in found.kept.items():
        if form != "SAND-mask":
            assert 0 <= share <= 1 + 1e-5, form
    for kind in ("logic", "cue"):
        for source in ("mixed", "own"):
            weak, strong = (found.kept[kind, source, f"IGA, tau {tau}"] for tau in (1, 10))
            assert strong < weak
    assert all(-1 <= value <= 1 for value in found.cosine.values())


def test_answers_of_the_shortcut_tell_nothing_of_the_logic() -> None:
    sets = probe_sets(Setup(model="", family="arithmetic", probe_sets=200), seed=0)
    right = [true_answer(s, s.members[0]) == s.members[0].answer for s in sets["cue"]]
    chance = 1 / len(sets["cue"][0].labels)
    assert abs(sum(right) / 200 - chance) < 4 * (chance * (1 - chance) / 200) ** 0.5
    assert all(true_answer(s, m) == m.answer for s in sets["logic"] for m in s.members)


FILES = {"results.json", "results.csv", "selectivity.md", "selectivity-training.png"}


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["isograd", "lab", "selectivity", *words])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.slow
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "--quick", "--output", str(tmp_path)) == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    measures = {record["measure"] for record in records}
    assert {"logic", "cue", "selectivity", "cosine"} <= measures
    assert "Fewer than five seeds" in (tmp_path / "selectivity.md").read_text()


@pytest.mark.long
def test_the_command_twice_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        assert call(monkeypatch, "--quick", "--output", str(folder)) == 0
    for name in FILES:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
