"""``isograd isomers review``: serving until Ctrl-C, the export, and mistakes in one line."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from review_client import Client

from isograd.common.errors import UserError
from isograd.isomers import IsomerSet, load_isomers, save_isomers
from isograd.isomers.review import export_reviewed
from isograd.isomers.review.content import content_hash
from isograd.isomers.teacher.journal import Journal

Run = Callable[..., Any]
COMMAND = (sys.executable, "-c", "from isograd.cli import main; main()")


def isograd(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=250, check=False, **options
    )


def test_it_serves_until_ctrl_c_and_ends_with_0(tmp_path: Path, sound: list[IsomerSet]) -> None:
    save_isomers(sound, tmp_path / "sets.jsonl")
    process = subprocess.Popen(
        [*COMMAND, "isomers", "review", "sets.jsonl", "--no-browser"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "sets.jsonl: 6 sets; decisions go to sets.jsonl.review.sqlite\n"
        client = Client(process.stdout.readline().removeprefix("Open ").strip()).enter()
        assert client.decide(1, "accept").status == 303
        # A browser keeps its connection open.
        idle = http.client.HTTPConnection("127.0.0.1", client.port, timeout=120)
        idle.request("GET", "/", headers={"Cookie": client.cookie})
        idle.getresponse().read()
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=200)
        idle.close()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert errors == ""
    assert told.endswith("Ended; all decisions are in sets.jsonl.review.sqlite\n")
    with Journal(tmp_path / "sets.jsonl.review.sqlite", read_only=True) as journal:
        assert [row.set_id for row in journal.decisions.history()] == [sound[0].id]


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_the_export_holds_what_was_accepted_in_file_order(
    running: Run, sound: list[IsomerSet], tmp_path: Path, name: str
) -> None:
    page = running(sound)
    page.client.decide(5, "accept")
    page.client.edit(2, answer_0="other")
    page.client.decide(3, "reject")
    page.client.decide(1, "accept")
    page.client.decide(6, "accept")
    page.client.decide(6, "undo")
    done = isograd("isomers", "review", page.file, "--journal", page.journal, "--export", tmp_path / name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = load_isomers(tmp_path / name)
    assert [item.id for item in out] == [sound[place].id for place in (0, 1, 4)]
    assert (out[0], out[2]) == (sound[0], sound[4])
    assert out[1].members[0].answer == "other"
    assert done.stdout == f"{tmp_path / name}: 3 sets; {page.file} has 2 accepted, 1 edited, 1 rejected, 2 undecided\n"
    every = export_reviewed(page.file, page.journal, tmp_path / name, undecided=True)
    assert every.written == 5
    assert [item.id for item in load_isomers(tmp_path / name)] == [sound[place].id for place in (0, 1, 3, 4, 5)]


def test_a_stale_decision_is_not_applied(running: Run, sound: list[IsomerSet], tmp_path: Path) -> None:
    page = running(sound)
    page.client.decide(1, "reject")
    page.client.decide(2, "accept")
    page.client.decide(3, "accept")
    other = sound[1].model_copy(update={"noisy": True})
    save_isomers([sound[0].model_copy(update={"noisy": True}), other, *sound[2:]], page.file)
    done = export_reviewed(page.file, page.journal, tmp_path / "out.jsonl")
    assert [item.id for item in load_isomers(tmp_path / "out.jsonl")] == [sound[2].id]
    assert done.states == {"stale": 2, "accepted": 1, "undecided": 3}


def test_an_edit_that_was_damaged_in_the_journal_is_one_line(sound: list[IsomerSet], tmp_path: Path) -> None:
    save_isomers(sound, tmp_path / "sets.jsonl")
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.decisions.add(sound[0].id, content_hash(sound[0]), "edit", content={"id": 3})
    with pytest.raises(UserError, match=r"j\.sqlite: the edit of set 'arithmetic-.*' is damaged: "):
        export_reviewed(tmp_path / "sets.jsonl", tmp_path / "j.sqlite", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing.jsonl"], "nothing.jsonl: no such file"),
        (["sets.txt"], "sets.txt: unknown file type"),
        (["sets.jsonl", "--journal", "sets.jsonl"], "sets.jsonl: not a journal of isograd"),
        (["sets.jsonl", "--journal", "."], ".: a folder; name a file"),
        (["sets.jsonl", "--undecided"], "--undecided says what to export"),
        (["sets.jsonl", "--export", "out.jsonl"], "sets.jsonl.review.sqlite: no such journal; decide first"),
        (["sets.jsonl", "--export", "out.csv"], "out.csv: unknown file type"),
        (["sets.jsonl", "--export", "sets.jsonl"], "sets.jsonl: is the file that was reviewed"),
        (["sets.jsonl", "--journal", "empty.sqlite", "--export", "o.jsonl"], "sets.jsonl: nothing to write"),
        (["broken.jsonl", "--journal", "empty.sqlite", "--export", "o.jsonl"], "broken.jsonl:1: line: not valid JSON"),
        (["sets.jsonl", "--domain", "none.yaml"], "none.yaml"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    sound: list[IsomerSet], tmp_path: Path, arguments: list[str], line: str
) -> None:
    save_isomers(sound[:1], tmp_path / "sets.jsonl")
    (tmp_path / "sets.txt").touch()
    (tmp_path / "broken.jsonl").write_text("{\n")
    Journal(tmp_path / "empty.sqlite").close()
    done = isograd("isomers", "review", "--no-browser", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "o.jsonl").exists()


def test_looking_needs_no_torch() -> None:
    code = (
        "import sys; import isograd.isomers.review.server, isograd.isomers.review.export; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=250).returncode == 0


def test_the_command_line_starts_without_the_review() -> None:
    code = (
        "import sys; import isograd.cli.app; "
        "sys.exit(any(name.startswith('isograd.isomers.review') or name == 'jinja2' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=250).returncode == 0
