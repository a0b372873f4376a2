"""Real benchmark rows, four domains in one supervised dataset, on a model folder with a real BPE tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2TokenizerFast

from isograd.distill.job import run_distill
from isograd.distill.run_config import parse_config
from isograd.evaluate.benchmarks import Plan, evaluate_benchmarks
from isograd.experiment.measure import named_subjects
from isograd.isomers.benchmarks import read_benchmark
from tests.tiny import tiny_llama

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
DOMAINS = {"gsm8k": "mathematics", "logiqa2": "logic", "medqa": "medicine", "legalbench": "law"}

pytestmark = pytest.mark.skipif(
    not all((DATA / name / "sample.jsonl").is_file() for name in DOMAINS),
    reason=f"no benchmark rows in {DATA}",
)


def source(name: str) -> Path:
    return DATA / name / "sample.jsonl"


@pytest.fixture(scope="module")
def real_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real-model")
    corpus = [row.prompt + row.completion for name in DOMAINS for row in read_benchmark(source(name), name)]
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(corpus, vocab_size=1500, show_progress=False, special_tokens=["<|endoftext|>"])
    tokenizer = GPT2TokenizerFast(
        tokenizer_object=bpe._tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>", bos_token=None
    )
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 4}
    tiny_llama(tokenizer, max_position_embeddings=1024, **shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("method", ["erm", "iga"])
def test_real_rows_train_reload_and_are_scored(tmp_path: Path, real_model: Path, method: str) -> None:
    content: dict[str, Any] = {
        "model": str(real_model),
        "data": [{"path": str(source(name)), "format": name, "domain": domain} for name, domain in DOMAINS.items()],
        "training": {
            "method": method,
            "max_steps": 20,
            "max_length": 512,
            "per_device_train_batch_size": 8,
            "learning_rate": 2e-2,
            "logging_steps": 5,
            "save_strategy": "no",
        },
    }
    output = tmp_path / method
    assert run_distill(parse_config(content, "test"), output) == "finished"
    lines = [json.loads(line) for line in (output / "training.jsonl").read_text().splitlines()]
    assert {f"loss/{domain}" for domain in DOMAINS.values()} <= lines[0].keys()
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.1

    (subject,) = named_subjects([str(output)])
    plan = Plan(("gsm8k",), folder=DATA, limit=16, max_new_tokens=16, instructions=False)
    results = evaluate_benchmarks([subject], plan, tmp_path / "scores")
    assert results["scores"][0]["n"] == 16
    # A random model knows no arithmetic; what counts is that its text was read and judged.
    assert 0 <= results["scores"][0]["accuracy"] <= 0.2
