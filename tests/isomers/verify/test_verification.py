"""Whole files: verdicts, what is written, evaluation files, own domains, and memory."""

from __future__ import annotations

import gc
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
from mutators import MUTATIONS, foreign, sound_sets
from mutators.claims import another_answer_in_one_member
from mutators.files import an_evaluation_set_told_anew, with_one_member_told_anew
from mutators.harmless import nodes_renamed_throughout
from mutators.steps import a_step_dropped_in_all_members
from mutators.words import another_member_s_problem

from isograd.common.errors import UserError
from isograd.isomers import IsomerSet, create_isomers, load_isomers, save_isomers
from isograd.isomers.arrow import SETS_SCHEMA, to_record, write_parquet
from isograd.isomers.symbolic import domains as domain_module
from isograd.isomers.verify import Verdict, Verification, Verifier, evaluation_items, verify_file

SETS = list(islice(sound_sets(), 24))


def line_of(isomer_set: IsomerSet) -> bytes:
    return isomer_set.model_dump_json(exclude_defaults=True).encode() + b"\n"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Sound sets in lines 1, 3, 7 and 9; a blank line; every other line is broken or spoiled."""
    path = tmp_path / "mixed.jsonl"
    spoiled = another_answer_in_one_member(SETS[1], Random(0))
    lines = [
        line_of(SETS[0]),
        line_of(spoiled),
        line_of(SETS[2]),
        line_of(SETS[3])[:200] + b"\n",
        line_of(SETS[2]),  # its id is taken
        b"\n",
        line_of(SETS[4]),
        b'{"id": "\xff"}\n',
        line_of(SETS[5]).rstrip(b"\n"),
    ]
    path.write_bytes(b"".join(lines))
    return path


def test_a_file_of_sound_and_broken_lines(mixed: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / "out" / f"{name}.jsonl" for name in ("verdicts", "accepted", "rejected")}
    seen: list[Verdict] = []
    summary = verify_file(mixed, progress=seen.append, **files)
    assert (summary.sets, summary.passed, summary.unreadable, summary.unchecked) == (5, 4, 3, 0)
    assert not summary.sound
    reasons = {str(finding.reason) for finding in seen[1].findings}
    assert "answers_differ" in reasons
    assert summary.reasons == Counter(dict.fromkeys(reasons, 1)) + Counter(unreadable=3)
    assert summary.families["arithmetic"] == [2, 1]
    assert summary.sizes == {4: 5}
    assert summary.domains == dict.fromkeys(SETS[0].domains, 5)
    assert len(summary.graphs) == 5

    assert [(verdict.line, verdict.passed) for verdict in seen] == [
        (1, True), (2, False), (3, True), (4, False), (5, False), (7, True), (8, False), (9, True),
    ]  # fmt: skip
    verdicts = [json.loads(line) for line in files["verdicts"].read_text().splitlines()]
    assert verdicts == [verdict.to_json() for verdict in seen]
    assert [verdict["id"] for verdict in verdicts[:4]] == [SETS[0].id, SETS[1].id, SETS[2].id, None]
    assert {finding["reason"] for finding in verdicts[1]["findings"]} == reasons
    assert all(finding["where"] and finding["detail"] for verdict in verdicts for finding in verdict["findings"])
    assert [verdict["findings"][0]["where"] for verdict in verdicts if verdict["id"] is None] == ["line", "id", "line"]

    assert load_isomers(files["accepted"]) == [SETS[0], SETS[2], SETS[4], SETS[5]]
    rejected = [json.loads(line) for line in files["rejected"].read_text().splitlines()]
    assert [row["line"] for row in rejected] == [2, 4, 5, 8]
    kept = [row.pop("set") for row in rejected]
    assert [verdict for verdict in verdicts if not verdict["passed"]] == rejected
    assert IsomerSet.model_validate(kept[0]) == another_answer_in_one_member(SETS[1], Random(0))
    assert kept[1:] == [None] * 3
    assert {path.name for path in files["accepted"].parent.iterdir()} == {path.name for path in files.values()}


def test_parquet_is_judged_as_json_lines_are(tmp_path: Path) -> None:
    spoiled = [mutation.change(SETS[number % 24], Random(number)) for number, mutation in enumerate(MUTATIONS.values())]
    every = [
        one.model_copy(update={"id": str(number)})
        for number, one in enumerate([*SETS, *filter(None, spoiled)])
        if not repr(one).count("id=''")
    ]
    lines, rows = tmp_path / "sets.jsonl", tmp_path / "sets.parquet"
    save_isomers(every, lines)
    save_isomers(every, rows)
    judged: dict[Path, list[Verdict]] = {lines: [], rows: []}
    summaries = [verify_file(path, progress=judged[path].append) for path in judged]
    assert summaries[0] == summaries[1]
    assert judged[lines] == judged[rows]
    assert summaries[0].passed == 24
    assert summaries[0].sets > 50


def test_a_broken_row_of_a_parquet_file(tmp_path: Path) -> None:
    records = [to_record(one) for one in SETS[:5]]
    records[2]["graph"] = "{"
    records[3]["members"][0]["answer"] = None
    path = tmp_path / "sets.parquet"
    write_parquet(records, path, SETS_SCHEMA)
    assert pq.read_metadata(path).num_rows == 5
    accepted = tmp_path / "accepted.jsonl"
    summary = verify_file(path, accepted=accepted)
    assert (summary.sets, summary.passed, summary.unreadable) == (3, 3, 2)
    assert load_isomers(accepted) == [SETS[0], SETS[1], SETS[4]]


def test_an_exception_leaves_the_old_files(mixed: Path, tmp_path: Path) -> None:
    targets = {name: tmp_path / f"{name}.jsonl" for name in ("verdicts", "accepted", "rejected")}
    for path in targets.values():
        path.write_text("old")

    def stop(verdict: Verdict) -> None:
        if verdict.line == 7:
            raise KeyboardInterrupt

    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        verify_file(mixed, progress=stop, **targets)
    assert [path.read_text() for path in targets.values()] == ["old"] * 3
    assert {path.name for path in tmp_path.iterdir()} == before
    verify_file(mixed, **targets)
    assert "old" not in [path.read_text() for path in targets.values()]


def test_a_file_may_be_replaced_by_what_passed(mixed: Path) -> None:
    verify_file(mixed, accepted=mixed)
    assert load_isomers(mixed) == [SETS[0], SETS[2], SETS[4], SETS[5]]
    assert verify_file(mixed).sound


def test_targets_that_cannot_be(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"accepted\.parquet: accepted sets are written as JSON lines; name it"):
        verify_file(mixed, accepted=tmp_path / "accepted.parquet")
    with pytest.raises(UserError, match="need files of their own; one is named twice"):
        verify_file(mixed, accepted=tmp_path / "one.jsonl", rejected=tmp_path / "x" / ".." / "one.jsonl")
    for name in ("verdicts", "rejected"):
        with pytest.raises(UserError, match="would be replaced by"):
            verify_file(mixed, **{name: mixed})
    with pytest.raises(UserError, match=r"verdicts\.jsonl: cannot be written: "):
        verify_file(mixed, verdicts=mixed / "verdicts.jsonl")
    with pytest.raises(UserError, match=r"none\.jsonl: no such file"):
        verify_file(tmp_path / "none.jsonl", verdicts=tmp_path / "verdicts.jsonl")
    assert not (tmp_path / "verdicts.jsonl").exists()


def test_an_empty_file_is_not_sound(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    summary = verify_file(path)
    assert (summary.sets, summary.unreadable, summary.sound) == (0, 1, False)


# Duplicates


def judged(sets: list[IsomerSet], **options: bool) -> list[set[str]]:
    verifier = Verifier(**options)
    return [{str(f.reason) for f in verifier.judge(line, one).rejections} for line, one in enumerate(sets, 1)]


def test_what_was_rejected_does_not_stand_in_the_way_of_its_correction() -> None:
    broken = a_step_dropped_in_all_members(SETS[0], Random(0))
    assert judged([broken, broken, SETS[0], SETS[0]], unique_graphs=True) == [
        {"steps_number"}, {"steps_number"}, set(), {"duplicate"},
    ]  # fmt: skip


def test_unique_graphs() -> None:
    same = an_evaluation_set_told_anew(SETS[0], Random(0))
    renamed = nodes_renamed_throughout(same, Random(0))
    assert judged([SETS[0], same, renamed.model_copy(update={"members": renamed.members[:1]})]) == [
        set(), set(), {"duplicate"},
    ]  # fmt: skip
    assert judged([SETS[0], same], unique_graphs=True) == [set(), {"duplicate"}]
    assert judged([SETS[0], renamed], unique_graphs=True) == [set(), {"duplicate"}]
    assert judged(SETS[:4], unique_graphs=True) == [set()] * 4


def test_a_graph_without_values_repeats_none() -> None:
    nodes = [node.model_copy(update={"value": None}) for node in SETS[0].graph.nodes]
    bare = [
        foreign(one.model_copy(update={"graph": SETS[0].graph.model_copy(update={"nodes": tuple(nodes)})}))
        for one in SETS[:1]
    ]
    told = foreign(with_one_member_told_anew(bare[0].model_copy(update={"members": SETS[0].members}), Random(1)))
    told = told.model_copy(update={"members": told.members[:1]})
    assert "duplicate" not in judged([*bare, told], unique_graphs=True)[1]


# Domains of one's own


@pytest.fixture
def baking(tmp_path: Path) -> Path:
    path = tmp_path / "baking.yaml"
    source = Path(domain_module.__file__).parent / "domains" / "cooking.yaml"
    path.write_text(source.read_text().replace("name: cooking", "name: baking", 1))
    return path


def test_own_domains_are_read_when_they_are_named(baking: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    save_isomers(create_isomers("ordering", size=8, domains=["medicine", str(baking)], cue="set"), path)
    summary = verify_file(path)
    assert summary.reasons == {"domain_unknown": 8}
    assert verify_file(path, domains=[str(baking)]).sound
    with pytest.raises(UserError, match="no such domain file"):
        verify_file(path, domains=[str(tmp_path / "none.yaml")])


def test_a_set_cannot_bring_its_own_grammar(baking: Path) -> None:
    (one,) = create_isomers("ordering", size=1, domains=[str(baking)])
    for name in (str(baking), "../domains/cooking", "baking"):
        member = one.members[0].model_copy(update={"domain": name})
        assert judged([one.model_copy(update={"members": (member,)})]) == [{"domain_unknown"}]


# Evaluation files


def test_evaluation_sets_in_both_formats(tmp_path: Path) -> None:
    evaluation = list(islice(sound_sets(split="id"), 8))
    train = [*SETS[:4], evaluation[5].model_copy(update={"id": "mine"})]
    path = tmp_path / "train.jsonl"
    save_isomers(train, path)
    for name in ("eval.jsonl", "eval.parquet"):
        file = tmp_path / name
        save_isomers(evaluation, file)
        items = list(evaluation_items(file))
        assert [item.line for item in items] == list(range(1, 9))
        assert items[5].texts == tuple(member.problem for member in evaluation[5].members)
        assert items[5].graph_key is not None
        verdicts: list[Verdict] = []
        summary = verify_file(path, [file], progress=verdicts.append)
        assert summary.passed == 4
        found = verdicts[-1].rejections
        assert {"leak_graph", "leak_exact"} <= {str(finding.reason) for finding in found}
        assert {finding.where for finding in found} == {f"{file}:6"}
    save_isomers(train[:4], path)
    assert verify_file(path, [tmp_path / "eval.jsonl", tmp_path / "eval.parquet"]).sound


QUESTION = (
    "Martha bakes 24 muffins on Monday and half as many on Tuesday. She sells 3 muffins to each of her six neighbors. "
    "How many muffins does Martha have left at the end of Tuesday?"
)


def planted(tmp_path: Path) -> Path:
    members = list(SETS[0].members)
    members[1] = members[1].model_copy(update={"problem": QUESTION.replace("24", "30").replace("six", "five")})
    path = tmp_path / "planted.jsonl"
    save_isomers([foreign(SETS[0].model_copy(update={"members": tuple(members)}), graphs=True), SETS[1]], path)
    return path


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"question": QUESTION, "answer": "18"}, ""),
        ({"question": QUESTION, "answer": "18"}, "gsm8k="),
        ({"problem": QUESTION, "solution": "18"}, ""),
        ({"text": QUESTION}, ""),
        ({"prompt": QUESTION, "question": "Which?"}, "rows="),
    ],
)
def test_benchmark_rows_in_their_own_format(tmp_path: Path, row: dict[str, str], form: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row | dict.fromkeys(row, "Nothing of the kind.")) + "\n\n" + json.dumps(row) + "\n")
    summary = verify_file(planted(tmp_path), [f"{form}{file}"])
    assert (summary.passed, summary.sets) == (1, 2)
    assert summary.reasons["leak_template"] == 1
    verdicts = tmp_path / "verdicts.jsonl"
    verify_file(planted(tmp_path), [f"{form}{file}"], verdicts=verdicts)
    assert {f["where"] for f in json.loads(verdicts.read_text().splitlines()[0])["findings"]} == {f"{file}:3"}


def test_evaluation_files_that_are_none(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"a": 1}\n')
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(line_of(SETS[0]) + line_of(SETS[1])[:99] + b"\n")
    for against, message in (
        (rows, r"rows\.jsonl:1: no known benchmark format"),
        (f"gsm8k={rows}", r"rows\.jsonl:1: a gsm8k row needs the field 'question'"),
        (f"sums={rows}", "unknown question format 'sums'"),
        (broken, r"broken\.jsonl:2: line: not valid JSON"),
        (tmp_path / "none.jsonl", r"none\.jsonl"),
        (tmp_path / "none.parquet", r"none\.parquet: no such file"),
    ):
        with pytest.raises(UserError, match=message):
            verify_file(planted(tmp_path), [against])


# Counts and memory


def test_counts_and_quantiles_of_overlap() -> None:
    verifier = Verifier()
    for line, one in enumerate(SETS, 1):
        verifier.judge(line, one)
    summary = verifier.summary
    assert summary.sound
    assert summary.sets == 24
    assert summary.families == {family: [6, 6] for family in ("arithmetic", "deduction", "ordering", "eligibility")}
    assert len(summary.overlap) == 6
    for pair, histogram in summary.overlap.items():
        assert pair[0] < pair[1]
        assert histogram.total() == 24
        low, middle, high = (summary.overlap_quantile(pair, share) for share in (0.0, 0.5, 1.0))
        assert 0 <= low <= middle <= high <= 0.6
    bins = Verification(overlap={("a", "b"): Counter({10: 1, 20: 2, 90: 1})})
    assert [bins.overlap_quantile(("a", "b"), share) for share in (0.25, 0.5, 0.75, 1.0)] == [0.1, 0.2, 0.2, 0.9]


def test_the_limit_of_overlap_is_the_user_s() -> None:
    alike = another_member_s_problem(SETS[0], Random(0))
    strict = [str(f.reason) for f in Verifier(max_overlap=0.0).judge(1, SETS[0]).rejections]
    assert set(strict) == {"overlap"}
    assert "overlap" in judged([foreign(alike, graphs=True)])[0]
    assert Verifier(max_overlap=1.0).judge(1, foreign(alike, graphs=True)).passed


def test_no_set_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    save_isomers(islice(sound_sets(each=10), 400), path)
    alive = []

    def count(verdict: Verdict) -> None:
        if verdict.line % 100 == 0:
            gc.collect()
            alive.append(sum(type(thing) is IsomerSet for thing in gc.get_objects()))

    before = sum(type(thing) is IsomerSet for thing in gc.get_objects())
    verify_file(path, progress=count, accepted=tmp_path / "accepted.jsonl", unique_graphs=False)
    assert len(alive) == 4
    assert max(alive) <= before + 3
