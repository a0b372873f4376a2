"""The recipe: the same seed gives the same bytes, interrupted or not."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from isograd.common.errors import UserError
from isograd.common.files import read_json
from isograd.student import build, student_path
from isograd.student.build import Recipe, build_student

TINY = Recipe(steps=6, rows=2, length=24, hidden=16, layers=1, heads=2, context=64, threads=1)
SAVE_EVERY = 2


@pytest.fixture(autouse=True)
def _save_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SAVE_EVERY", SAVE_EVERY)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted build."""
    return build_student(tmp_path_factory.mktemp("whole"), TINY)


class Killed(BaseException):
    """As a keyboard interrupt: no handler of ordinary exceptions may swallow it."""


def interrupted_build(output: Path, recipe: Recipe, after: int) -> None:
    def progress(step: int, loss: float) -> None:
        if step == after:
            raise Killed

    with pytest.raises(Killed):
        build_student(output, recipe, progress)


def test_the_same_seed_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    torch.manual_seed(12345)
    again = contents(build_student(tmp_path / "again", TINY))
    assert again == contents(whole)
    assert {"model.safetensors", "tokenizer.json", "config.json", "recipe.json"} <= set(again)
    assert not any(".partial" in name for name in again)


def test_another_seed_gives_other_weights(whole: Path, tmp_path: Path) -> None:
    other = build_student(tmp_path / "other", replace(TINY, seed=1))
    assert (other / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes()
    assert (other / "tokenizer.json").read_bytes() == (whole / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("after", [1, 3, 4, 6])
def test_an_interrupted_build_resumes_to_the_same_bytes(whole: Path, tmp_path: Path, after: int) -> None:
    output = tmp_path / "student"
    interrupted_build(output, TINY, after)
    # The progress report of a step comes before its save.
    saved = (after - 1) // SAVE_EVERY * SAVE_EVERY
    left = sorted(path.name for path in (output / ".partial").glob("*"))
    assert left == ([f"{saved}.safetensors", "state.json"] if saved else [])
    assert not (output / "model.safetensors").exists()
    steps: list[int] = []
    build_student(output, TINY, lambda step, loss: steps.append(step))
    assert steps == list(range(saved + 1, TINY.steps + 1))
    assert contents(output) == contents(whole)


def test_a_build_may_be_interrupted_again_and_again(whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "student"
    for after in (3, 5, 6):
        interrupted_build(output, TINY, after)
    build_student(output, TINY)
    assert contents(output) == contents(whole)


def test_a_kill_between_weights_and_state_leaves_a_usable_pair(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "student"
    write = build.write_json

    def killed_at_four(path: Path, value: object) -> None:
        if path.name == "state.json" and isinstance(value, dict) and value["step"] == 4:
            raise Killed
        write(path, value)

    monkeypatch.setattr(build, "write_json", killed_at_four)
    with pytest.raises(Killed):
        build_student(output, TINY)
    assert sorted(path.name for path in (output / ".partial").glob("*")) == [
        "2.safetensors",
        "4.safetensors",
        "state.json",
    ]
    monkeypatch.setattr(build, "write_json", write)
    steps: list[int] = []
    build_student(output, TINY, lambda step, loss: steps.append(step))
    assert steps == [3, 4, 5, 6]
    assert contents(output) == contents(whole)


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 8}, {"learning_rate": 1e-3}, {"threads": 2}])
def test_unfinished_work_of_another_recipe_is_refused(tmp_path: Path, change: dict[str, float]) -> None:
    output = tmp_path / "student"
    interrupted_build(output, TINY, 3)
    before = contents(output)
    with pytest.raises(UserError, match=r"holds the unfinished work of another recipe; delete .*\.partial first"):
        build_student(output, replace(TINY, **change))
    assert contents(output) == before


def test_progress_reports_a_falling_loss(tmp_path: Path) -> None:
    losses: list[float] = []
    build_student(tmp_path, replace(TINY, steps=40, rows=4, learning_rate=2e-2), lambda _, loss: losses.append(loss))
    assert len(losses) == 40
    assert sum(losses[-5:]) / 5 < 0.8 * losses[0]


def test_every_step_reads_documents_of_its_own() -> None:
    tokenizer = build.build_tokenizer(TINY.context)
    batches = [build._batch(TINY, step, tokenizer) for step in range(8)]
    assert {batch.shape for batch in batches} == {(TINY.rows, TINY.length)}
    rows = {tuple(row.tolist()) for batch in batches for row in batch}
    assert len(rows) == 8 * TINY.rows
    assert all(row[0] == tokenizer.bos_token_id for row in rows)
    # Documents follow each other with an end mark and a begin mark between them.
    marks = [row[place + 1] for row in rows for place in range(TINY.length - 1) if row[place] == tokenizer.eos_token_id]
    assert marks
    assert set(marks) == {tokenizer.bos_token_id}


def test_the_recipe_is_written_and_the_checkpoint_is_an_ordinary_one(whole: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert read_json(whole / "recipe.json") == asdict(TINY)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(whole), AutoTokenizer.from_pretrained(whole)
    assert not list(whole.glob("*.bin")) + list(whole.glob("*.pt"))
    stored = load_file(whole / "model.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in model.state_dict().items() if name in stored)
    assert tokenizer("7 + 5")["input_ids"][0] == tokenizer.bos_token_id
    assert model.config.vocab_size == len(tokenizer)
    output = model.generate(**tokenizer("7 + 5", return_tensors="pt"), max_new_tokens=3, do_sample=False)
    assert output.shape[1] <= len(tokenizer("7 + 5")["input_ids"]) + 3


def test_the_built_in_student_has_a_place_in_the_package() -> None:
    assert student_path() == Path(build.__file__).parent / "checkpoint"
