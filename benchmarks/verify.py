"""Speed and memory of making and verifying isomer sets, at sizes that double.

    python benchmarks/verify.py [--sizes 1000 2000 4000 8000] [--evaluation 1000] [--seed 0]

Each size in a fresh process: sets of the four families (depth 3, one distractor, a cue in each member) are generated
into a JSON-lines file, and the file is verified, alone and against evaluation files of ``--evaluation`` sets in all.
Seconds are those of the process (what else the machine does hardly counts); the ratio is that of a set's time to its
time at the smallest size: 1.00 is linear. Memory is the highest resident set of the step above the one at its start.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from isograd.isomers import IsomerSet, create_isomers, save_isomers
from isograd.isomers.symbolic.families import FAMILIES
from isograd.isomers.verify import verify_file

STEPS = ("generate", "verify", "verify against")


def sets(size: int, seed: int, split: str = "train") -> Iterator[IsomerSet]:
    for family in FAMILIES:
        yield from create_isomers(
            family, seed=seed, size=size // len(FAMILIES), split=split, depth=3, distractors=1, cue="member"
        )


def measured(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds of this process, and MiB by which the step raises the resident set at most."""
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before, start = _status("VmRSS"), time.process_time()
    step()
    return time.process_time() - start, (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"no {field} in /proc/self/status")


def measure(size: int, evaluation: int, seed: int) -> dict[str, tuple[float, float]]:
    list(sets(4, seed))  # domains are loaded
    with tempfile.TemporaryDirectory() as folder:
        train, held_out = Path(folder, "train.jsonl"), Path(folder, "id.jsonl")
        save_isomers(sets(evaluation, seed, "id"), held_out)
        found = {"generate": measured(lambda: save_isomers(sets(size, seed), train))}
        found["verify"] = measured(lambda: verify_file(train))
        found["verify against"] = measured(lambda: verify_file(train, [held_out]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed and memory of making and verifying isomer sets.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2000, 4000, 8000])
    parser.add_argument("--evaluation", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.sizes[0], args.evaluation, args.seed)))
        return
    print("| step | sets | sets/s | ms/set | ratio | peak MiB |\n|---|---|---|---|---|---|")
    found = {}
    for size in args.sizes:
        command = [sys.executable, __file__, "--one", "--sizes", str(size)]
        command += ["--evaluation", str(args.evaluation), "--seed", str(args.seed)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[size] = json.loads(done.stdout.splitlines()[-1])
    for step in STEPS:
        least = found[args.sizes[0]][step][0] / args.sizes[0]
        for size in args.sizes:
            seconds, memory = found[size][step]
            each = seconds / size
            print(f"| {step} | {size} | {1 / each:.0f} | {1e3 * each:.2f} | {each / least:.2f} | {memory:.1f} |")


if __name__ == "__main__":
    main()
