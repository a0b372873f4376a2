"""avg@k of a model behind an OpenAI-compatible server, on problems with gold answers, scored as ``math_equal`` does.

    vllm serve Qwen/Qwen3-32B --enable-lora --max-lora-rank 64 --lora-modules dfpo=runs/dfpo-32b
    python examples/average_at_k.py --model Qwen/Qwen3-32B --dataset MathArena/aime_2025 --output runs/aime-base
    python examples/average_at_k.py --model dfpo --dataset MathArena/aime_2025 --output runs/aime-dfpo \\
        --against runs/aime-base

Each sample becomes a line of OUTPUT/samples.jsonl as it arrives, and what is there is not asked again: after an
interruption give the same command once more. A key, if the server wants one, is read from ISOGRAD_API_KEY.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from datasets import load_dataset
from rich.progress import Progress

from isograd.common.errors import UserError
from isograd.common.files import read_json, write_json, write_lines
from isograd.evaluate.statistics import bootstrap_interval, paired_difference
from isograd.isomers.teacher import Message, Request, TeacherClient, api_key_from_environment
from isograd.reinforce.rewards import MathEqual

INSTRUCTION = "Reason step by step. Put the final answer, and nothing else, into \\boxed{}."

Row = dict[str, Any]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="its name on the server")
    parser.add_argument("--base-url", default="http://localhost:8000/v1")
    parser.add_argument("--dataset", required=True, help="a hub id (its split train), or a JSONL file")
    parser.add_argument("--problem-column", default="problem")
    parser.add_argument("--answer-column", default="answer")
    parser.add_argument("--samples", type=int, default=32, help="k")
    parser.add_argument("--temperature", type=float, default=0.6, help="see the model's card")
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--max-tokens", type=int, default=32768, help="of an answer, reasoning included")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling seeds that the server is given")
    parser.add_argument("--concurrency", type=int, default=64, help="most requests under way")
    parser.add_argument("--timeout", type=float, default=7200, help="seconds for one answer")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--against", type=Path, help="the output folder of another model on the same problems")
    asked = parser.parse_args(words)
    if asked.samples < 1 or (asked.samples > 1 and asked.temperature <= 0):
        raise UserError(f"--samples {asked.samples} --temperature {asked.temperature:g}: several answers must differ")
    return asked


def read_problems(asked: argparse.Namespace) -> list[tuple[str, str]]:
    """Problems with their gold answers."""
    if asked.dataset.endswith(".jsonl"):
        try:
            lines = Path(asked.dataset).read_text(encoding="utf-8").split("\n")
            rows: Any = [json.loads(line) for line in lines if line.strip()]
        except (OSError, ValueError) as error:
            raise UserError(f"{asked.dataset}: cannot be read as JSON lines: {error}") from None
    else:
        rows = load_dataset(asked.dataset, split="train")
    columns = (asked.problem_column, asked.answer_column)
    for place, row in enumerate(rows):
        if missing := [column for column in columns if row.get(column) in (None, "")]:
            raise UserError(f"{asked.dataset}, row {place}: nothing in {missing[0]!r}; there are: {', '.join(row)}")
    return [(str(row[columns[0]]), str(row[columns[1]])) for row in rows]


def open_folder(asked: argparse.Namespace, digest: str) -> dict[tuple[int, int], Row]:
    """The samples that the folder has, by problem and number; a folder of other samples is refused."""
    names = ("model", "temperature", "top_p", "max_tokens", "seed")
    settings = {name: getattr(asked, name) for name in names} | {"instruction": INSTRUCTION, "problems": digest}
    if (asked.output / "settings.json").exists():
        old = read_json(asked.output / "settings.json")
        if changed := [name for name, value in settings.items() if old.get(name) != value]:
            raise UserError(f"{asked.output}: holds samples with other {changed[0]}; give another --output")
    write_json(asked.output / "settings.json", settings)
    rows = read_samples(asked.output)
    # A kill may have left half a line.
    write_lines(map(json.dumps, rows.values()), asked.output / "samples.jsonl")
    return rows


def read_samples(folder: Path) -> dict[tuple[int, int], Row]:
    path = folder / "samples.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return {(row["problem"], row["sample"]): row for row in rows}


async def ask(asked: argparse.Namespace, problems: list[tuple[str, str]], rows: dict[tuple[int, int], Row]) -> None:
    """Ask for the samples that are missing, and add them to the folder."""
    judge = MathEqual()
    missing = [key for key in ((p, s) for p in range(len(problems)) for s in range(asked.samples)) if key not in rows]
    options = {"max_concurrency": asked.concurrency, "timeout": asked.timeout, "seed": asked.seed}
    async with TeacherClient(asked.base_url, asked.model, api_key_from_environment(), **options) as client:
        if missing:
            await client.check()
        with (asked.output / "samples.jsonl").open("a", encoding="utf-8") as file, Progress() as progress:
            task = progress.add_task("samples", total=len(missing))

            async def one(problem: int, sample: int) -> None:
                text, gold = problems[problem]
                messages = (Message("user", f"{text}\n\n{INSTRUCTION}"),)
                request = Request(
                    "average_at_k", 1, messages, None, asked.temperature, asked.max_tokens, sample, asked.top_p
                )
                reply = await client.complete(request)
                # Comparing takes up to seconds; other answers are read meanwhile.
                (verdict,) = await asyncio.to_thread(judge.verdicts, [reply.text], {"answer": [gold]})
                row = {"problem": problem, "sample": sample, "gold": gold, "verdict": verdict, "finish": reply.finish}
                row |= {"tokens": reply.completion_tokens, "completion": reply.text}
                rows[problem, sample] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                progress.advance(task)

            try:
                async with asyncio.TaskGroup() as group:
                    for key in missing:
                        group.create_task(one(*key))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None


def shares(rows: dict[tuple[int, int], Row], problems: int, samples: int) -> list[float]:
    """The share of right answers of each problem."""
    return [sum(rows[p, s]["verdict"] == "right" for s in range(samples)) / samples for p in range(problems)]


def shares_of(folder: Path, problems: int, digest: str) -> list[float]:
    """The shares of a finished folder on the same problems."""
    if read_json(folder / "settings.json")["problems"] != digest:
        raise UserError(f"{folder}: its samples are of other problems, which cannot be paired")
    rows = read_samples(folder)
    samples = len(rows) // problems
    if not rows or set(rows) != {(p, s) for p in range(problems) for s in range(samples)}:
        raise UserError(f"{folder}: samples are missing; give its command once more")
    return shares(rows, problems, samples)


def main(words: Sequence[str] | None = None) -> None:
    asked = parse(words)
    problems = read_problems(asked)
    digest = hashlib.sha256(json.dumps(problems).encode()).hexdigest()[:16]
    other = None if asked.against is None else shares_of(asked.against, len(problems), digest)
    rows = open_folder(asked, digest)
    asyncio.run(ask(asked, problems, rows))
    own = shares(rows, len(problems), asked.samples)
    # All problems have k samples, so that drawing problems is drawing their means.
    low, high = bootstrap_interval(own)
    cut = sum(row["finish"] == "length" for (_, sample), row in rows.items() if sample < asked.samples)
    typer.echo(
        f"avg@{asked.samples} {sum(own) / len(own):.4f} [{low:.4f}, {high:.4f}] on {len(own)} problems; "
        f"{cut} of {len(own) * asked.samples} answers cut off at --max-tokens"
    )
    if other is not None:
        difference = paired_difference(own, other)
        typer.echo(f"minus {asked.against}: {difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
