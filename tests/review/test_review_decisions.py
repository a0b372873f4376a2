"""What is decided, what the journal holds of it, and what becomes of it when sets or tabs change."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from isograd.isomers import IsomerSet, load_isomers, save_isomers
from isograd.isomers.review.content import content_hash
from isograd.isomers.review.ledger import journal_path
from isograd.isomers.teacher.journal import Journal

Run = Callable[..., Any]


def state(page: Any, number: int) -> str:
    text = page.client.get(f"/set/{number}").text
    return text.split('<span class="state s-', 1)[1].split('"', 1)[0]


def changed(isomer_set: IsomerSet) -> IsomerSet:
    first = isomer_set.members[0].model_copy(update={"problem": isomer_set.members[0].problem + " Please."})
    return isomer_set.model_copy(update={"members": (first, *isomer_set.members[1:])})


def test_a_decision_is_in_the_journal_with_time_hash_reviewer_and_reason(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    begun = time.time()
    answer = page.client.decide(1, "accept")
    assert answer.location.startswith("/set/2?")
    assert page.client.decide(2, "reject", reason="  too\nlong ").status == 303
    first, second = page.decisions()
    assert (first.set_id, first.set_hash, first.verdict, first.content) == (
        sound[0].id, content_hash(sound[0]), "accept", None,
    )  # fmt: skip
    assert (second.set_id, second.verdict, second.content) == (sound[1].id, "reject", {"reason": "too long"})
    assert first.reviewer == "Ada"
    assert begun - 1 <= first.at < second.at <= time.time() + 1
    assert (state(page, 1), state(page, 2), state(page, 3)) == ("accepted", "rejected", "undecided")
    text = page.client.get("/set/2").text
    assert "too long" in text
    assert datetime.fromtimestamp(second.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC by") in " ".join(
        text.replace("<bdi>", "").split()
    )


def test_the_next_undecided_set_follows_and_the_last_one_stays(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    page.client.decide(2, "accept")
    assert page.client.decide(1, "accept").location.startswith("/set/3?")
    for number in (3, 4, 5):
        page.client.decide(number, "reject")
    assert page.client.decide(6, "accept").location.startswith("/set/6?")
    assert page.client.raw("GET", "/").location == "/set/6"


def test_undo_takes_decisions_back_one_by_one_and_erases_nothing(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    page.client.decide(1, "accept")
    page.client.decide(1, "reject")
    assert state(page, 1) == "rejected"
    page.client.decide(1, "undo")
    assert state(page, 1) == "accepted"
    page.client.decide(1, "undo")
    assert state(page, 1) == "undecided"
    rows = page.decisions()
    assert [row.set_hash for row in rows] == [content_hash(sound[0])] * 2 + ["", ""]
    assert [row.content for row in rows[2:]] == [{"takes_back": rows[1].at}, {"takes_back": rows[0].at}]
    assert page.client.get("/set/1").text.count(": undone") == 2


def test_undo_of_the_next_page_takes_back_what_was_just_decided(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    first = page.client.decide(1, "accept").location
    second = page.client.post("/set/2/accept", page.client.form(first, "/set/2/accept")).location
    assert page.client.post("/set/2/undo", page.client.form(second, "/set/2/undo")).status == 303
    assert (state(page, 1), state(page, 2)) == ("accepted", "undecided")
    after = page.client.post("/set/1/undo", page.client.form("/set/2?trail=1", "/set/1/undo"))
    assert after.location.startswith("/set/1?")
    assert state(page, 1) == "undecided"


def test_an_undo_of_what_another_tab_replaced_is_refused(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    page.client.decide(1, "accept")
    old = page.client.form("/set/1", "/set/1/undo")
    page.client.decide(1, "reject")
    answer = page.client.post("/set/1/undo", old)
    assert answer.status == 409
    assert "decided on elsewhere" in answer.text
    assert state(page, 1) == "rejected"
    assert len(page.decisions()) == 2


def test_of_two_processes_the_last_decision_counts_in_both_and_after_a_restart(
    running: Run, sound: list[IsomerSet]
) -> None:
    one = running(sound)
    two = running(path=one.file, journal=one.journal)
    one.client.decide(1, "accept")
    assert state(two, 1) == "accepted"
    two.client.decide(1, "reject")
    assert (state(one, 1), state(two, 1)) == ("rejected", "rejected")
    assert state(running(path=one.file, journal=one.journal), 1) == "rejected"
    assert [row.verdict for row in one.decisions()] == ["accept", "reject"]


def test_a_decision_on_other_content_is_stale_and_counts_again_for_its_own(
    running: Run, sound: list[IsomerSet]
) -> None:
    page = running(sound)
    page.client.decide(1, "accept")
    page.client.decide(2, "accept")
    save_isomers([changed(sound[0]), *sound[1:]], page.file)
    assert "The file has changed since it was opened" in page.client.get("/set/1").text
    again = running(path=page.file, journal=page.journal)
    assert (state(again, 1), state(again, 2)) == ("stale", "accepted")
    text = again.client.get("/set/1").text
    assert "of other content" in text
    again.client.decide(1, "reject")
    assert state(again, 1) == "rejected"
    save_isomers(sound, page.file)
    assert state(running(path=page.file, journal=page.journal), 1) == "accepted"


def test_a_decision_on_another_hash_than_the_one_here_is_refused(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    form = page.client.form("/set/1", "/set/1/accept")
    assert page.client.post("/set/2/accept", form).status == 409
    assert page.client.post("/set/1/accept", {**form, "hash": ""}).status == 409
    assert page.decisions() == []


def test_filters_show_and_count(running: Run, sound: list[IsomerSet]) -> None:
    wrong = sound[5].model_copy(update={"structure": "0" * 24})
    page = running([*sound[:5], wrong])
    for number, action in ((1, "accept"), (2, "reject"), (3, "accept")):
        page.client.decide(number, action)
    counts = page.client.raw("GET", "/progress").text
    assert '"counts": {"all": 6, "undecided": 3, "accepted": 2, "rejected": 1, "findings": 1}' in counts
    where = {
        name: page.client.raw("GET", f"/show?filter={name}&from=2").location
        for name in ("all", "undecided", "accepted", "rejected", "findings")
    }
    assert where == {
        "all": "/set/2?show=all",
        "undecided": "/set/4?show=undecided",
        "accepted": "/set/3?show=accepted",
        "rejected": "/set/2?show=rejected",
        "findings": "/set/6?show=findings",
    }
    text = page.client.get("/set/3?show=accepted").text
    assert 'id="previous" href="/set/1?show=accepted"' in text
    assert 'id="next"' not in text
    assert "structure hash" in page.client.get("/set/6").text
    assert page.client.raw("GET", "/").location == "/set/4"
    assert page.client.raw("GET", f"/go?to={sound[4].id}").location == "/set/5?show=all"


def test_a_line_that_is_no_set_is_shown_and_cannot_be_decided_on(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound[:2])
    with page.file.open("a") as file:
        file.write("{broken <b>\n")
    page = running(path=page.file, journal=page.journal)
    text = page.client.get("/set/3").text
    assert "Line 3 is not a set" in text
    assert "/set/3/accept" not in text
    form = {**page.client.form("/set/1", "/set/1/accept"), "hash": ""}
    assert page.client.post("/set/3/accept", form).status == 409
    assert page.client.get("/set/3/edit").status == 409
    assert page.decisions() == []


def test_a_journal_that_fails_is_told_and_nothing_is_lost(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    page.client.decide(1, "accept")
    form = page.client.form("/set/2", "/set/2/accept")
    moved = page.journal.with_name("moved.sqlite")
    page.journal.rename(moved)
    answer = page.client.post("/set/2/accept", form)
    assert answer.status == 500
    assert "moved or removed while in use" in answer.text
    moved.rename(page.journal)
    assert page.client.post("/set/2/accept", form).status == 303
    assert len(page.decisions()) == 2


def test_the_journal_of_the_pipeline_is_used_where_it_lies_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "sets.jsonl"
    assert journal_path(file) == tmp_path / "sets.jsonl.review.sqlite"
    Journal(tmp_path / "journal.sqlite").close()
    assert journal_path(file) == tmp_path / "journal.sqlite"


@pytest.mark.parametrize("name", ["sets.jsonl", "sets.parquet"])
def test_a_set_has_one_hash_in_every_file_format(tmp_path: Path, sound: list[IsomerSet], name: str) -> None:
    save_isomers(sound, tmp_path / name)
    assert [content_hash(item) for item in load_isomers(tmp_path / name)] == [content_hash(item) for item in sound]
    assert content_hash(changed(sound[0])) != content_hash(sound[0])


def test_a_large_file_opens_at_once_and_its_end_is_waited_for(
    running: Run, sound: list[IsomerSet], tmp_path: Path
) -> None:
    line = sound[0].model_dump_json(exclude_defaults=True)
    assert line.startswith('{"id":"')
    rest = line.removeprefix(f'{{"id":"{sound[0].id}"')
    file = tmp_path / "large.jsonl"
    file.write_text("".join(f'{{"id":"s{number}"{rest}\n' for number in range(10_000)))
    begun = time.perf_counter()
    page = running(path=file, wait=False)
    text = page.client.get("/").text
    took = time.perf_counter() - begun
    assert page.catalog.busy
    assert took < 100  # however busy the machine; and not all of it had been read
    assert "of 10000" in text
    assert len(text) < 60_000
    waiting = page.client.get("/set/10000")
    assert waiting.status == 200
    assert "was not read yet" in waiting.text
    assert page.client.decide(1, "accept").status == 303
    assert page.client.get("/set/10001").status == 404
    assert len(page.client.raw("GET", "/progress").text) < 300
