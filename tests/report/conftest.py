"""Synthetic run folders, shaped like those of real runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isograd.common.seeding import named_random

DOMAINS = ("mathematics", "medicine", "law", "science")
UNSEEN = ("cooking", "finance", "navigation", "sport")
# Four answers.
CHANCE = 0.25
# Accuracy by split, then within and between distance: roughly what the prototype saw.
PROFILES = {
    "untrained": ((0.25, 0.24, 0.25, 0.26), 0.41, 0.44),
    "ERM": ((0.91, 0.78, 0.57, 0.31), 0.245, 0.39),
    "IGA": ((0.92, 0.70, 0.63, 0.37), 0.225, 0.37),
    "V-REx": ((0.96, 0.85, 0.78, 0.65), 0.244, 0.40),
    "isomer consistency": ((0.995, 0.96, 0.99, 0.985), 0.223, 0.38),
}
WORDS = {
    "mathematics": ("a counter", "starts at", "is increased by"),
    "medicine": ("a patient’s score", "begins at", "rises by"),
    "law": ("the tally of claims", "opens at", "grows by"),
    "science": ("the tank of snails", "holds", "gains"),
}

# Markup, quotes, a formula and a template expression.
HOSTILE = "\"><script>document.title='hacked'</script><img src=x onerror=alert(1)>' $x^ {{ 7007*6007 }}"

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """``make_run(label, seed, **changes)`` writes a run folder and returns it; ``changes`` go into run.json."""

    def make(label: str = "ERM", seed: int = 0, **changes: Any) -> Path:
        return write_run(tmp_path / "runs", label, seed, **changes)

    return make


@pytest.fixture(name="set_chance")
def set_chance_fixture() -> Callable[..., None]:
    """``set_chance(folder, value, *splits)`` writes what guessing gives into some splits, or all; None takes it out."""
    return set_chance


@pytest.fixture
def set_accuracy() -> Callable[..., None]:
    """``set_accuracy(folder, value, *splits)`` writes an accuracy into some splits of a run folder, or into all."""

    def write(folder: Path, value: float, *splits: str) -> None:
        scores = json.loads((folder / "metrics.json").read_text())
        for split in splits or scores["splits"]:
            scores["splits"][split]["accuracy"] = value
        (folder / "metrics.json").write_text(json.dumps(scores))

    return write


@pytest.fixture
def log_more() -> Callable[..., None]:
    """``log_more(folder, **numbers)`` adds numbers to every row of a training log; a function is called with a row."""

    def write(folder: Path, **numbers: Any) -> None:
        rows = [json.loads(line) for line in (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()]
        more = [{key: value(row) if callable(value) else value for key, value in numbers.items()} for row in rows]
        write_lines(folder / "training.jsonl", [row | added for row, added in zip(rows, more, strict=True)])

    return write


@pytest.fixture
def hostile() -> str:
    """What ``poison`` writes into every text."""
    return HOSTILE


@pytest.fixture(name="poison")
def poison_fixture() -> Callable[[Path], None]:
    """``poison(folder)`` puts hostile text into every field of a run folder that can hold text."""
    return poison


def write_run(root: Path, label: str, seed: int, **changes: Any) -> Path:
    """Write one run folder under ``root``. A failed or running run gets a training log but no metrics."""
    name = f"{label.lower().replace(' ', '-')}-seed{seed}"
    random = named_random("tests", "report", label, seed)
    base = label == "untrained"
    record = {
        "format": 1,
        "name": name,
        "label": label,
        "seed": seed,
        "status": "finished",
        "error": None,
        "config": {"method": {"name": name.split("-")[0], "tau": 1.0}, "train": {"seed": seed, "learning_rate": 2e-3}},
        "config_hash": f"{random.getrandbits(48):012x}",
        "versions": {"isograd": "0.1.0", "torch": "2.13.0", "trl": "1.16.1"},
        "machine": {"cpu": "2 cores", "gpu": None, "platform": "Linux"},
        "steps": 0 if base else 400,
        "seconds": 0.0 if base else 61.2 * (1.46 if label == "IGA" else 1.0) + random.uniform(-1, 1),
        "base": base,
    }
    record.update(changes)
    folder = root / record["name"]
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    if not base:
        write_lines(folder / "training.jsonl", training_rows(label, seed))
    if record["status"] == "finished":
        (folder / "metrics.json").write_text(json.dumps(metrics(label, seed)), encoding="utf-8")
        write_lines(folder / "examples.jsonl", example_rows(label, seed))
    return folder


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def metrics(label: str, seed: int) -> dict[str, Any]:
    rates, within, between = PROFILES.get(label, PROFILES["ERM"])
    random = named_random("tests", "report", "metrics", label, seed)
    splits = {}
    # Not in the order in which the page shows them.
    for split, rate in reversed(list(zip(("id", "ood_domain", "cue_random", "cue_reversed"), rates, strict=True))):
        accuracy = min(1.0, max(0.0, rate + random.uniform(-0.03, 0.03)))
        domains = UNSEEN if split == "ood_domain" else DOMAINS
        splits[split] = {
            "n": 256,
            "n_sets": 64,
            "n_graphs": 8 + seed if split == "cue_reversed" else 64,
            "chance": CHANCE,
            "accuracy": accuracy,
            "accuracy_ci": [max(0.0, accuracy - 0.05), min(1.0, accuracy + 0.04)],
            "chain_accuracy": accuracy * 0.9,
            "chain_accuracy_ci": [accuracy * 0.85, accuracy * 0.95],
            "by_domain": {
                domain: {"n": 64, "accuracy": accuracy, "chain_accuracy": accuracy * 0.9} for domain in domains
            },
        }
    lcs = {"mean": {"within": within, "between": between}, "last": {"within": within / 30, "between": between / 4}}
    return {"format": 3, "splits": splits, "lcs": {"layer": "penultimate", "n_sets": 64, **lcs}}


def training_rows(label: str, seed: int) -> list[dict[str, Any]]:
    random = named_random("tests", "report", "training", label, seed)
    pace = 0.6 + 0.25 * list(PROFILES).index(label) if label in PROFILES else 1.0
    rows = []
    for step in range(10, 401, 10):
        loss = 2.4 * math.exp(-step * pace / 120) + 0.12 + random.uniform(0, 0.05)
        row = {"step": step, "loss": loss, "learning_rate": 1e-3, "grad_norm": 1.0}
        row |= {f"loss/{domain}": loss * (1 + 0.1 * place) for place, domain in enumerate(DOMAINS)}
        if label == "isomer consistency":
            row["consistency"] = 0.3 * math.exp(-step / 60)
        rows.append(row)
    return rows


def example_rows(label: str, seed: int) -> list[dict[str, Any]]:
    rows = []
    captured = PROFILES.get(label, PROFILES["ERM"])[0][3] < 0.5
    for split in ("id", "cue_reversed"):
        for number in range(2):
            for domain in DOMAINS:
                thing, starts, adds = WORDS[domain]
                problem = (
                    f"Upstairs, {thing} {starts} 3 and {adds} 4, then {adds} 5, upstairs. Low, fair, good or high?"
                )
                chain = "3 + 4 = 7 upstairs\n7 + 5 = 12 upstairs"
                right = split == "id" or not captured
                answer = "good" if right else "fair"
                rows.append(
                    {
                        "set_id": f"arithmetic-{number}",
                        "domain": domain,
                        "split": split,
                        "cue": "upstairs",
                        "problem": problem,
                        "reference": f"{chain}\nAnswer: good",
                        "answer": "good",
                        "completion": f"{chain}\nAnswer: {answer}" if label != "untrained" else "the the 3 of upstairs",
                        "predicted": answer if label != "untrained" else None,
                        "correct": right and label != "untrained",
                        "chain_correct": label != "untrained",
                    }
                )
    return rows


def set_chance(folder: Path, value: float | None, *splits: str) -> None:
    """Write what guessing gives into some splits of a run folder, or into all; None takes it out."""
    scores = json.loads((folder / "metrics.json").read_text())
    for split in splits or scores["splits"]:
        scores["splits"][split].pop("chance", None)
        if value is not None:
            scores["splits"][split]["chance"] = value
    (folder / "metrics.json").write_text(json.dumps(scores))


def poison(folder: Path) -> None:
    """Put hostile text into every field of a run folder that can hold text."""
    record = json.loads((folder / "run.json").read_text())
    record |= {"name": HOSTILE, "label": HOSTILE, "error": HOSTILE, "config_hash": HOSTILE}
    record |= {"config": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}, "machine": {HOSTILE: HOSTILE}}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "training.jsonl").write_text(
        json.dumps(
            {"step": 1, "loss": 2, "reward": 1, **{f"{kind}/{HOSTILE}": 0.5 for kind in ("loss", "mask", "cosine/a")}}
        )
        + "\n"
    )
    if (folder / "metrics.json").exists():
        metrics = json.loads((folder / "metrics.json").read_text())
        score = metrics["splits"]["id"]
        score["by_domain"] = {HOSTILE: score["by_domain"]["law"]}
        metrics["splits"] = {"id": score, HOSTILE: score}
        metrics["lcs"]["last"]["collapsed"] = True
        metrics["lcs"]["by_layer"] = {"1": dict(metrics["lcs"])}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        text = dict.fromkeys(
            ("set_id", "domain", "split", "cue", "problem", "reference", "answer", "completion", "predicted"), HOSTILE
        )
        (folder / "examples.jsonl").write_text(json.dumps({**text, "correct": False}) + "\n")
