"""How near a run of a teacher comes to what the server allows: calls a second against concurrency / latency.

    python benchmarks/teacher_throughput.py --latency 0.5 --concurrency 32 --seeds 120

The server is the tests' rule-based teacher in a process of its own. What is measured is the pipeline: from the first
call received to the last one answered, with the tail in which too few seeds are left left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "teacher"))

from fault_run import run, teach_command
from rule_teacher import rule_server, some_sets, write_book


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.5, help="seconds before each answer")
    parser.add_argument("--concurrency", type=int, default=32, help="most calls under way")
    parser.add_argument("--seeds", type=int, default=120)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        book = write_book(folder, some_sets(args.seeds))
        with rule_server(folder, book, latency=args.latency, brief=1) as server:
            done = run(teach_command(book, server, folder / "run", "--concurrency", str(args.concurrency)))
            if done.returncode:
                raise SystemExit(done.stderr)
            received = {event["number"]: event["time"] for event in server.calls()}
            sent = {event["number"]: event["time"] for event in server.events("answered")}
    begun, answered = list(received.values()), list(sent.values())
    ended = sorted(answered)[: len(answered) - 2 * args.concurrency * 4]
    if not ended:
        raise SystemExit("too few seeds for this concurrency: there is nothing but beginning and end; raise --seeds")
    rate, most = len(ended) / (ended[-1] - min(begun)), args.concurrency / args.latency
    whole = len(answered) / (max(answered) - min(begun))
    print(
        f"{len(answered)} calls, latency {args.latency} s, concurrency {args.concurrency}: at most {most:.1f} a second"
    )
    real = fmean(sent[number] - received[number] for number in sent)
    print(f"the server took {real:.3f} s a call: it allowed {args.concurrency / real:.1f} a second")
    allowed = rate * real / args.concurrency
    print(
        f"achieved {rate:.1f} calls a second, {rate / most:.1%} ({allowed:.1%} of what it allowed), {whole:.1f} in all"
    )


if __name__ == "__main__":
    main()
