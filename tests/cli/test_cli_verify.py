"""``isograd isomers verify``: what it tells, what it writes and how it ends."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_done import Isograd

from isograd.cli.isomers import LINES_TOLD
from isograd.isomers import IsomerSet, create_isomers, load_isomers, save_isomers, verify
from isograd.isomers.symbolic.domains import load_domain
from isograd.isomers.verify import Reason


def good(count: int, **options: Any) -> list[IsomerSet]:
    return create_isomers("ordering", size=count, seed=3, **options)[:]


def wrong(isomer_set: IsomerSet) -> IsomerSet:
    """The same set with another answer that is as long, so that its spans still fit."""
    stated = isomer_set.members[0].answer
    answer = next(label for label in isomer_set.labels if len(label) == len(stated) and label != stated)
    members = tuple(member.model_copy(update={"answer": answer}) for member in isomer_set.members)
    return isomer_set.model_copy(update={"members": members})


def broken(isomer_set: IsomerSet) -> str:
    """A line with a span that covers less than the answer."""
    plain = isomer_set.model_dump(mode="json")
    plain["members"][1]["spans"][-1]["end"] -= 1
    return json.dumps(plain)


def write(file: Path, *lines: IsomerSet | str) -> Path:
    file.write_text("".join((x if isinstance(x, str) else x.model_dump_json()) + "\n" for x in lines))
    return file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("name", ["sets.jsonl", "sets.parquet"])
def test_a_sound_file_ends_with_0_and_leaves_nothing_beside_it(tmp_path: Path, isograd: Isograd, name: str) -> None:
    file = tmp_path / name
    save_isomers(good(6), file)
    # Of an earlier, worse version of the file.
    (tmp_path / "sets.rejected.jsonl").write_text("old\n")
    done = isograd("isomers", "verify", file)
    assert (done.status, done.errors) == (0, "")
    assert done.told.endswith(f"{file}: all 6 sets passed\n")
    assert "100.00%" in done.told
    assert "Reasons of rejection" not in done.told
    assert names(tmp_path) == [name]


def test_rejected_sets_and_broken_lines(tmp_path: Path, isograd: Isograd) -> None:
    sets = good(8)
    bad = wrong(next(s for s in sets if s.members[0].answer in ("first", "third", "fifth")))
    rest = [s for s in sets if s.id != bad.id]
    file = write(
        tmp_path / "sets.jsonl", rest[0], broken(rest[1]), rest[2], '{"id": "x"', "", bad, '{"id": 7}', *rest[3:]
    )
    verdicts, accepted = tmp_path / "verdicts.jsonl", tmp_path / "new" / "accepted.jsonl"
    done = isograd("isomers", "verify", file, "--verdicts", verdicts, "--accepted", accepted)
    assert done.status == 1
    lines = done.errors.splitlines()
    assert len(lines) == 4
    # file:line: field: reason; what to do about it
    assert lines[0].startswith(f"{file}:2: members.1.spans.{len(rest[1].members[1].steps)}: [")
    assert "; set it to [" in lines[0]
    assert lines[1].startswith(f"{file}:4: line: not valid JSON at column ")
    assert lines[1].endswith("; write one JSON object a line")
    assert lines[2].startswith(f"{file}:6: {Reason.ANSWER}: ")
    assert "the graph gives" in lines[2]
    assert lines[3].startswith(f"{file}:7: id: ")
    aside = tmp_path / "sets.rejected.jsonl"
    assert done.told.endswith(f"{file}: 4 of 10 lines rejected; reasons in {aside}\n")
    assert "Reasons of rejection" in done.told
    # The rest of the file was still processed.
    assert [s.id for s in load_isomers(accepted)] == [s.id for s in (rest[0], *rest[2:])]
    told = records(verdicts)
    assert [record["line"] for record in told] == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert [record["line"] for record in told if not record["passed"]] == [2, 4, 6, 7]
    assert [record["findings"] for record in told if record["passed"]] == [[]] * 6
    # The rejected file says why, and holds what can be read of a set.
    held = records(aside)
    assert [record["line"] for record in held] == [2, 4, 6, 7]
    assert all(record["findings"] for record in held)
    assert [record["set"] and record["set"]["id"] for record in held] == [None, None, bad.id, None]
    assert IsomerSet.model_validate(held[2]["set"]) == bad


def test_a_mended_file_passes(tmp_path: Path, isograd: Isograd) -> None:
    """The mend that a message offers is the right one."""
    sets = good(2)
    file = write(tmp_path / "sets.jsonl", sets[0], broken(sets[1]))
    done = isograd("isomers", "verify", file)
    place, span = done.errors.split("members.")[1].split(": ", 1)
    start, end = json.loads(span.strip().rpartition("set it to ")[2].replace(")", "]"))
    plain = json.loads(broken(sets[1]))
    member, _, number = place.split(".")
    plain["members"][int(member)]["spans"][int(number)].update(start=start, end=end)
    write(file, sets[0], json.dumps(plain))
    assert isograd("isomers", "verify", file).status == 0
    assert names(tmp_path) == ["sets.jsonl"]


def test_the_exit_status_reaches_the_shell(tmp_path: Path) -> None:
    sets = good(2)
    write(tmp_path / "good.jsonl", *sets)
    write(tmp_path / "bad.jsonl", sets[0], "{}")
    for name, status in (("good", 0), ("bad", 1), ("none", 2)):
        command = [sys.executable, "-m", "isograd", "isomers", "verify", f"{name}.jsonl"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=250)
        assert done.returncode == status, done.stderr
        assert done.stderr.count("\n") == min(status, 1)


def test_where_rejected_lines_go_is_the_users_choice(tmp_path: Path, isograd: Isograd) -> None:
    sets = good(2)
    file, chosen = write(tmp_path / "sets.jsonl", sets[0], "{}"), tmp_path / "elsewhere" / "bad.jsonl"
    done = isograd("isomers", "verify", file, "--rejected", chosen)
    assert done.status == 1
    assert f"reasons in {chosen}" in done.told
    assert [record["line"] for record in records(chosen)] == [2]
    assert names(tmp_path) == ["elsewhere", "sets.jsonl"]
    # A file that was asked for by name is there, even if it is empty.
    write(file, *sets)
    assert isograd("isomers", "verify", file, "--rejected", chosen).status == 0
    assert chosen.read_text() == ""


def test_many_rejected_lines_are_cut_on_the_terminal_alone(tmp_path: Path, isograd: Isograd) -> None:
    count = LINES_TOLD + 12
    file = write(tmp_path / "sets.jsonl", *["{}"] * count)
    done = isograd("isomers", "verify", file)
    lines = done.errors.splitlines()
    assert len(lines) == LINES_TOLD + 1
    aside = tmp_path / "sets.rejected.jsonl"
    assert lines[-1] == f"further rejected lines are told in {aside} alone"
    assert lines[-2].startswith(f"{file}:{LINES_TOLD}: ")
    assert len(records(aside)) == count
    exactly = write(tmp_path / "sets.jsonl", *["{}"] * LINES_TOLD)
    assert len(isograd("isomers", "verify", exactly).errors.splitlines()) == LINES_TOLD


def test_several_reasons_are_one_line(tmp_path: Path, isograd: Isograd) -> None:
    isomer_set = good(1)[0].model_copy(update={"structure": "0" * 16, "noisy": True})
    done = isograd("isomers", "verify", write(tmp_path / "sets.jsonl", isomer_set))
    assert done.status == 1
    (line,) = done.errors.splitlines()
    assert line.startswith(f"{tmp_path / 'sets.jsonl'}:1: {Reason.HASH}: structure: ")
    assert line.endswith(" more)")


def test_text_from_a_file_stays_one_printable_line(tmp_path: Path, isograd: Isograd) -> None:
    plain = good(1)[0].model_dump(mode="json")
    plain["members"][0]["answer"] = "first\n\x1b[31mred\x1b[0m [bold]x[/bold]"
    done = isograd("isomers", "verify", write(tmp_path / "sets.jsonl", json.dumps(plain)))
    assert done.status == 1
    assert len(done.errors.splitlines()) == 1
    assert "\x1b" not in done.errors


def test_against_isomer_sets_and_benchmark_rows(tmp_path: Path, isograd: Isograd) -> None:
    sets = good(5)
    file = write(tmp_path / "sets.jsonl", *sets)
    held = tmp_path / "held.jsonl"
    save_isomers([sets[3].model_copy(update={"id": "another"})], held)
    done = isograd("isomers", "verify", file, "--against", held)
    assert done.status == 1
    (line,) = done.errors.splitlines()
    assert line.startswith(f"{file}:4: leak_")
    assert f"{held}:1" in line
    # Rows of a benchmark: in the form that is named, or that they show.
    question = sets[1].members[2].problem
    rows = write(tmp_path / "test.jsonl", json.dumps({"question": question, "answer": "no reason\n#### 3"}))
    for against in (f"gsm8k={rows}", str(rows)):
        done = isograd("isomers", "verify", file, "--against", against)
        assert done.status == 1
        assert [line.split(":")[1] for line in done.errors.splitlines()] == ["2"]
        assert f"{rows}:1" in done.errors
    both = isograd("isomers", "verify", file, "--against", held, "--against", f"gsm8k={rows}")
    assert [line.split(":")[1] for line in both.errors.splitlines()] == ["2", "4"]
    apart = create_isomers("ordering", size=5, seed=3, split="id")
    save_isomers(apart, held)
    assert isograd("isomers", "verify", file, "--against", held).status == 0


def test_unique_graphs(tmp_path: Path, isograd: Isograd) -> None:
    first = good(1)[0]
    told_anew = create_isomers("ordering", size=1, seed=3, domains=["cooking", "sport"])[0]
    assert told_anew.graph == first.graph
    file = write(tmp_path / "sets.jsonl", first, told_anew.model_copy(update={"id": "again"}))
    assert isograd("isomers", "verify", file).status == 0
    done = isograd("isomers", "verify", file, "--unique-graphs")
    assert done.status == 1
    assert done.errors.startswith(f"{file}:2: {Reason.DUPLICATE}: graph: ")


def test_the_largest_overlap_is_an_option(tmp_path: Path, isograd: Isograd) -> None:
    file = write(tmp_path / "sets.jsonl", *good(2))
    done = isograd("isomers", "verify", file, "--max-overlap", "0.01")
    assert done.status == 1
    assert done.errors.count(f": {Reason.OVERLAP}: law, mathematics: ") == 2


def test_options_that_are_not_given_are_the_librarys(
    tmp_path: Path, isograd: Isograd, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = {name: p.default for name, p in inspect.signature(verify.verify_file).parameters.items()}
    given: dict[str, Any] = {}

    def spy(*arguments: Any, **options: Any) -> verify.Verification:
        given.update(options)
        return verify_file(*arguments, **options)

    verify_file = verify.verify_file
    monkeypatch.setattr(verify, "verify_file", spy)
    assert isograd("isomers", "verify", write(tmp_path / "sets.jsonl", *good(1))).status == 0
    same = {"max_overlap", "unique_graphs", "verdicts", "accepted", "domains"}
    assert {name: given[name] for name in same} == {name: library[name] for name in same}


def test_a_domain_of_ones_own(tmp_path: Path, isograd: Isograd) -> None:
    law = load_domain("law")
    own = tmp_path / "own.yaml"
    own.write_text(
        yaml.safe_dump(
            {"name": "justice", "role": "train", "cues": list(law.cues)}
            | {family: {slot: list(entries) for slot, entries in words.items()} for family, words in law.words.items()}
        )
    )
    file = tmp_path / "sets.jsonl"
    made = isograd("isomers", "make", "-o", file, "--size", "3", "--domains", f"{own},sport")
    assert (made.status, made.told) == (0, f"{file}: 3 sets of 2 domains ({own}, sport)\n")
    assert [member.domain for member in load_isomers(file)[0].members] == ["justice", "sport"]
    done = isograd("isomers", "verify", file)
    assert done.status == 1
    assert done.errors.count(Reason.DOMAIN) == 3
    assert isograd("isomers", "verify", file, "--domain", own).status == 0


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, isograd: Isograd, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, results = tmp_path / "shared", tmp_path / "results"
    folder.mkdir()
    file = write(folder / "sets.jsonl", *good(2), "{}")
    access = os.access
    # Root may write anywhere; this is what anybody else is told of a folder with mode 555.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and access(path, mode))
    done = isograd("isomers", "verify", file)
    assert done.status == 2
    assert done.errors == (
        f"isograd: error: {folder}: cannot be written to; say where rejected sets are to go with --rejected\n"
    )
    assert names(folder) == ["sets.jsonl"]
    done = isograd("isomers", "verify", file, "--rejected", results / "rejected.jsonl")
    assert done.status == 1
    assert len(records(results / "rejected.jsonl")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.jsonl",), "none.jsonl: no such file"),
        (("sets.csv",), "sets.csv: unknown file type"),
        (("sets.jsonl", "--against", "none.jsonl"), "none.jsonl"),
        (("sets.jsonl", "--against", "gsm9k=rows.jsonl"), "gsm9k"),
        (("sets.jsonl", "--against", "broken.jsonl"), "broken.jsonl:2"),
        (("sets.jsonl", "--accepted", "good.parquet"), "good.parquet: accepted sets are written as JSON lines"),
        (("sets.jsonl", "--accepted", "x.jsonl", "--verdicts", "x.jsonl"), "need files of their own"),
        (("sets.jsonl", "--verdicts", "sets.jsonl/x.jsonl"), "sets.jsonl/x.jsonl: cannot be written"),
        (("sets.jsonl", "--domain", "none.yaml"), "none.yaml: no such domain file"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(
    tmp_path: Path, isograd: Isograd, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "sets.jsonl", *good(1))
    write(tmp_path / "rows.jsonl", json.dumps({"question": "How many?", "answer": "#### 3"}))
    write(tmp_path / "broken.jsonl", *good(1), "{}")
    before = names(tmp_path)
    done = isograd("isomers", "verify", *arguments)
    assert done.status == 2, done.told + done.errors
    assert done.errors.startswith("isograd: error: ")
    assert done.errors.count("\n") == 1
    assert message in done.errors
    assert names(tmp_path) == before
