"""What a run tells the live view, read back from real event files as TensorBoard reads them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from isograd.distill.job import run_distill
from isograd.distill.run_config import parse_config
from isograd.isomers import IsomerSet, save_isomers

accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard: pip install tensorboard"
)


def test_tensorboard_gets_losses_cosines_masks_and_conflicts(
    tmp_path: Path, tiny_model: Path, sets: list[IsomerSet]
) -> None:
    save_isomers(sets, tmp_path / "train.jsonl")
    content = {
        "model": str(tiny_model),
        "data": [{"path": str(tmp_path / "train.jsonl")}],
        "training": {
            "method": "iga",
            "log_gradients": True,
            "report_to": "tensorboard",
            "logging_steps": 2,
            "max_steps": 4,
            "save_strategy": "no",
            "per_device_train_batch_size": 8,
        },
    }
    assert run_distill(parse_config(content, "test"), tmp_path / "run") == "finished"

    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    told = {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    domains = sorted(member.domain for member in sets[0].members)
    wanted = {f"train/loss/{domain}" for domain in domains}
    wanted |= {f"train/cosine/{first}/{other}" for first, other in itertools.combinations(domains, 2)}
    wanted |= {"train/loss", "train/conflict", "train/mask/mean", "train/mask/model.layers.0.self_attn.q_proj"}
    assert wanted <= told.keys()
    rows = [json.loads(line) for line in (tmp_path / "run" / "training.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    for tag in wanted:
        assert told[tag] == pytest.approx({row["step"]: row[tag.removeprefix("train/")] for row in rows}, rel=1e-6)
