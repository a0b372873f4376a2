"""What the verification catches: sound sets spoiled in many ways, how many mutants of each, how many rejected.

    python benchmarks/mutations.py [--each 200] [--start 0]

The mutators are those of the tests (``tests/isomers/verify/mutators``). Sound sets of all families, depths, numbers of
distractors, orders, cues and noise are drawn until each kind has enough mutants. A mutant counts as caught when one of
the reasons that fit its kind is among those it is rejected for; the table counts all reasons. "Foreign" kinds are
those that are also found when the set names another generator, so that no member can be read back. Harmless changes
stand at the end: there, none may be caught.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "isomers" / "verify"))

from mutators import (
    FOREIGN,
    MUTATIONS,
    PLANTED,
    PRESERVING,
    REPEATED,
    Mutator,
    foreign,
    other_names,
    other_numbers,
    sound_sets,
    with_row,
)

from isograd.isomers import IsomerSet
from isograd.isomers.questions import iter_questions
from isograd.isomers.verify import EvaluationItem, LeakageIndex, Verifier, check_set
from isograd.isomers.verify.leakage import graph_key

GSM8K = Path(__file__).resolve().parents[2] / "shared" / "data" / "gsm8k" / "sample.jsonl"

Reasons = set[str]


def mutants(change: Mutator, each: int, start: int, *, split: str = "train") -> Iterator[tuple[IsomerSet, IsomerSet]]:
    """Sound sets with their mutants."""
    made = 0
    for number, sound in zip(count(), sound_sets(start=start, split=split)):
        mutant = change(sound, random.Random(number))
        if mutant is not None:
            assert repr(mutant) != repr(sound)
            yield sound, mutant
            made += 1
            if made == each:
                return


def rejected(isomer_set: IsomerSet) -> Reasons:
    return {str(finding.reason) for finding in check_set(isomer_set) if finding.reason.rejects}


def row(name: str, found: list[Reasons], wanted: Reasons) -> None:
    reasons = Counter(reason for reasons in found for reason in reasons)
    caught = sum(bool(reasons & wanted) for reasons in found)
    told = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
    print(f"| {name} | {len(found)} | {caught} | {told} |", flush=True)


def planted(change: Mutator, each: int, start: int) -> list[Reasons]:
    """One evaluation file of as many sets as there are mutants; only what points to the right line counts."""
    pairs = list(mutants(change, each, start, split="id"))
    index = LeakageIndex(
        EvaluationItem("evaluation", line, tuple(member.problem for member in sound.members), graph_key(sound.graph))
        for line, (sound, _) in enumerate(pairs, 1)
    )
    return [pointed(Verifier(index), mutant, f"evaluation:{line}") for line, (_, mutant) in enumerate(pairs, 1)]


def pointed(verifier: Verifier, mutant: IsomerSet, where: str) -> Reasons:
    return {str(finding.reason) for finding in verifier.judge(1, mutant).rejections if finding.where == where}


def rows_reworded(change: Callable[[str, random.Random], str], start: int) -> list[Reasons]:
    rows = [(line, texts[0]) for line, texts in iter_questions(GSM8K)]
    index = LeakageIndex(EvaluationItem("gsm8k", line, (text,)) for line, text in rows)
    found = []
    for (line, text), sound in zip(rows, sound_sets(start=start), strict=False):
        reworded = change(text, random.Random(line))
        if reworded != text:
            mutant = with_row(sound, reworded, random.Random(line))
            found.append(pointed(Verifier(index), mutant, f"gsm8k:{line}"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="How many spoiled sets of each kind are caught.")
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--start", type=int, default=0, help="where the sequence of sound sets begins")
    args = parser.parse_args()
    each, start = args.each, args.start
    print("| mutation | mutants | caught | reasons |\n|---|---|---|---|")
    for name, mutation in MUTATIONS.items():
        pairs = list(mutants(mutation.change, each, start))
        wanted = set(map(str, mutation.reasons))
        row(name, [rejected(mutant) for _, mutant in pairs], wanted)
        if mutation.anywhere:
            row(f"foreign: {name}", [rejected(foreign(mutant)) for _, mutant in pairs], wanted)
    for name, mutation in FOREIGN.items():
        found = [rejected(mutant) for _, mutant in mutants(mutation.change, each, start)]
        row(f"foreign: {name}", found, set(map(str, mutation.reasons)))
    for name, change in REPEATED.items():
        verifier, found = Verifier(), []
        for line, (sound, mutant) in enumerate(mutants(change, each, start)):
            assert verifier.judge(2 * line, sound).passed
            found.append({str(finding.reason) for finding in verifier.judge(2 * line + 1, mutant).rejections})
        row(f"told before: {name}", found, {"duplicate"})
    for name, mutation in PLANTED.items():
        row(f"planted: {name}", planted(mutation.change, each, start), set(map(str, mutation.reasons)))
    if GSM8K.is_file():
        for name, reword in (("numbers", other_numbers), ("names", other_names)):
            row(f"planted: a row of GSM8K with other {name}", rows_reworded(reword, start), {"leak_template"})
    print("\n| harmless change | sets | rejected |\n|---|---|---|")
    for name, change in PRESERVING.items():
        changed = list(mutants(change, each, start))
        print(f"| {name} | {len(changed)} | {sum(bool(rejected(mutant)) for _, mutant in changed)} |", flush=True)
    sound = list(islice(sound_sets(start=start), each))
    print(f"| none | {len(sound)} | {sum(bool(rejected(one)) for one in sound)} |")


if __name__ == "__main__":
    main()
