"""Edits: what may be changed, what is refused, and that the set is verified anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from isograd.isomers import IsomerSet, save_isomers
from isograd.isomers.reading import read_lines
from isograd.isomers.review.content import content_hash, from_plain
from isograd.isomers.review.editing import EditError, Texts, as_sent, edited, texts_of

Run = Callable[..., Any]


def foreign(isomer_set: IsomerSet) -> IsomerSet:
    """A set that no grammar of ours reads back, whose members carry graphs of their own."""
    members = tuple(m.model_copy(update={"graph": isomer_set.graph, "cue": None}) for m in isomer_set.members)
    source = isomer_set.provenance.model_copy(update={"generator": "somebody"})
    return isomer_set.model_copy(update={"members": members, "provenance": source})


def texts(isomer_set: IsomerSet, place: int = 0, **changes: Any) -> list[Texts]:
    sent = [texts_of(member) for member in isomer_set.members]
    sent[place] = Texts(**{**vars(sent[place]), **changes})
    return sent


def test_an_edit_is_stored_whole_shown_and_verified(running: Run, sound: list[IsomerSet]) -> None:
    page = running([foreign(item) for item in sound])
    assert "verdict good" in page.client.get("/set/1").text
    answer = page.client.edit(1, answer_0="low or so")
    assert answer.status == 303
    (row,) = page.decisions()
    assert (row.verdict, row.set_hash) == ("edit", content_hash(foreign(sound[0])))
    stored = from_plain(row.content)
    assert stored.members[0].answer == "low or so"
    assert stored.members[1:] == foreign(sound[0]).members[1:]
    text = page.client.get("/set/1").text
    assert "verdict wrong" in text
    assert "answers differ" in text
    assert text.count('class="tag">edited') == 1
    assert "low or so" not in page.client.get("/set/1?original=1").text
    assert '"findings": 1' in page.client.raw("GET", "/progress").text
    # An edit can also mend.
    assert page.client.edit(1, answer_0=sound[0].members[0].answer, problem_0="New words, 1.").status == 303
    assert "answers differ" not in page.client.get("/set/1").text


def test_a_changed_problem_loses_the_graph_that_was_read_from_the_old_words(sound: list[IsomerSet]) -> None:
    before = foreign(sound[0])
    after = edited(before, texts(before, 1, problem="Other words."))
    assert after.members[1].graph is None
    assert after.members[0] == before.members[0]
    same = edited(before, texts(before, 1, answer="x"))
    assert same.members[1].graph == before.graph


def test_values_are_found_again_wherever_they_stand(sound: list[IsomerSet], tmp_path: Any) -> None:
    before = foreign(sound[0])
    _, *rest = texts_of(before.members[0]).steps
    steps = (("16 and 6.5 make 6 in 2026", "6"), *rest)
    after = edited(before, texts(before, steps=steps, answer="a new answer"))
    member = after.members[0]
    assert [member.completion[span.start : span.end] for span in member.spans] == [
        "6", *[step.value for step in member.steps[1:]], "a new answer",
    ]  # fmt: skip
    assert member.spans[0].start == len("16 and 6.5 make ")
    save_isomers([after], tmp_path / "after.jsonl")
    assert [item for _, item in read_lines(tmp_path / "after.jsonl")] == [after]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"problem": " \n"}, "the problem is empty"),
        ({"answer": ""}, "the answer is empty"),
        ({"answer": "a\nb"}, "the answer is more than one line"),
        ({"text": "two\nlines 6"}, "is more than one line"),
        ({"text": "two\u2028lines 6"}, "is more than one line"),
        ({"text": "Answer: 6"}, "begins with 'Answer:'"),
        ({"text": "nothing"}, "does not say its value"),
        ({"text": ""}, "lacks its text or its value"),
        ({"value": ""}, "lacks its text or its value"),
        ({"value": "12345"}, "does not say its value '12345'"),
        ({"problem": "half \ud800"}, "half a character"),
    ],
)
def test_an_edit_that_breaks_the_set_is_refused(sound: list[IsomerSet], changes: dict[str, str], line: str) -> None:
    (text, value), *rest = texts_of(sound[0].members[0]).steps
    step = (changes.pop("text", text), changes.pop("value", value))
    with pytest.raises(EditError, match=line):
        edited(sound[0], texts(sound[0], steps=(step, *rest), **changes))


def test_a_refused_edit_keeps_what_was_typed_and_stores_nothing(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    answer = page.client.edit(1, problem_0="Kept <b>words</b>", value_1_0="777", answer_2="")
    assert answer.status == 422
    assert "does not say its value &#39;777&#39;" in answer.text
    assert "the answer is empty" in answer.text
    assert "Kept &lt;b&gt;words&lt;/b&gt;" in answer.text
    assert 'value="777"' in answer.text
    assert page.decisions() == []


def test_fields_that_are_missing_or_too_many_change_nothing(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    form = page.client.form("/set/1/edit", "/set/1/edit")
    bare = {name: form[name] for name in ("csrf", "hash", "since", "show")}
    assert page.client.post("/set/1/edit", bare).status == 422
    assert page.client.post("/set/1/edit", {**form, "problem-9": "x", "text-0-99": "y", "id": "z"}).status == 303
    assert page.decisions() == []


def test_an_edit_that_changes_nothing_is_no_decision_even_of_odd_line_ends(running: Run, hostile: IsomerSet) -> None:
    odd = hostile.members[0].model_copy(update={"problem": "a\rb\r\nc\nd\x00e"})
    page = running([hostile.model_copy(update={"members": (odd, *hostile.members[1:])})])
    assert page.client.edit(1).status == 303
    assert page.decisions() == []
    assert page.client.edit(1, answer_1="other").status == 303
    stored = from_plain(page.decisions()[0].content)
    assert stored.members[0].problem == "a\rb\r\nc\nd\x00e"
    assert stored.members[1].problem == hostile.members[1].problem
    assert as_sent("a\r\nb\rc\0") == "a\nb\nc\ufffd"


def test_an_edit_on_top_of_another_tabs_edit_is_told_before_it_replaces_it(
    running: Run, sound: list[IsomerSet]
) -> None:
    page = running(sound)
    old = page.client.form("/set/1/edit", "/set/1/edit")
    page.client.edit(1, problem_0="From the other tab.")
    answer = page.client.post("/set/1/edit", {**old, "problem-0": "From this tab."})
    assert answer.status == 422
    assert "elsewhere meanwhile" in answer.text
    assert "From this tab." in answer.text
    assert len(page.decisions()) == 1
    # A decision without an edit counts as well.
    fresh = page.client.form("/set/1/edit", "/set/1/edit")
    page.client.decide(1, "reject")
    assert page.client.post("/set/1/edit", {**fresh, "problem-0": "Late."}).status in (409, 422)
    assert len(page.decisions()) == 2


def test_accepting_what_is_shown_edited_keeps_the_edit(running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    page.client.edit(1, problem_0="Mine.")
    assert "done=kept" in page.client.decide(1, "accept").location
    assert [row.verdict for row in page.decisions()] == ["edit"]
    original = page.client.form("/set/1?original=1", "/set/1/accept")
    page.client.post("/set/1/accept", original)
    assert [row.verdict for row in page.decisions()] == ["edit", "accept"]
    page.client.decide(1, "undo")
    assert "Mine." in page.client.get("/set/1").text
