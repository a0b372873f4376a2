"""The page and the picture as files: whole, escaped, self-contained, and the same every time."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pytest

from isograd.common.errors import UserError
from isograd.report import build_report, save_picture
from isograd.report.baseline import choose_baseline
from isograd.report.runs import read_runs
from isograd.report.summary import group_runs

VOID = {"meta", "br", "link", "img", "line"}


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.figures: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"] or "")
        if tag == "svg" and found.get("role") == "img":
            self.figures.append(found.get("aria-label") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += " ".join(data.split()) + " "


@pytest.fixture
def many_runs(make_run) -> list[Path]:
    runs = [make_run("untrained")]
    runs += [make_run(label, seed) for label in ("ERM", "IGA", "isomer consistency") for seed in range(3)]
    runs.append(make_run("IGA", 3, status="failed", error="RuntimeError: loss is nan at step 212"))
    runs.append(make_run("PCGrad", 0, status="running"))
    return runs


def test_the_page_holds_every_part(many_runs, tmp_path) -> None:
    output = build_report(many_runs, tmp_path / "new" / "report.html", title="A title")
    assert output == tmp_path / "new" / "report.html"
    page = Page(output.read_text(encoding="utf-8"))
    for words in (
        "A title",
        "Four ways of distilling on isomer sets were compared: ERM, IGA, isomer consistency and PCGrad.",
        "failed: RuntimeError: loss is nan at step 212",
        "incomplete: still running",
        "Difference to ERM, same seeds",
        "unseen domains",
        "Isomer sets, side by side",
        "✗",
        "wrong, answered fair; chain correct",
        "no answer found",
        "3 seeds",
        "the dashed line what guessing gives",
        "Guessing gives 25%.",
        "finance",
        "sport",
    ):
        assert words in page.text, words
    assert len(page.ids) == len(set(page.ids))
    bars = [label for label in page.figures if label.startswith("Accuracy")]
    assert len(bars) == 4
    assert "ERM 9" in bars[0]
    assert "PCGrad no result" in bars[0]
    assert "95% interval" in bars[0]
    assert all(label.endswith(". Chance is 25%.") for label in bars)
    assert sum(label.startswith("Loss, ") for label in page.figures) == 5


def test_the_page_needs_no_network_and_no_script(many_runs, tmp_path) -> None:
    text = build_report(many_runs, tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    # References stay inside the page and find what they refer to.
    references = {value for name, value in page.attributes if name == "clip-path"}
    assert references
    assert {f"url(#{identity})" for identity in page.ids} >= references
    links = {value for name, value in page.attributes if name == "href"}
    assert {"#scores", "#accuracy", "#scatter", "#example"} <= links <= {f"#{identity}" for identity in page.ids}
    assert str(tmp_path) not in text


def test_equal_folders_give_equal_bytes(many_runs, tmp_path) -> None:
    first = build_report(many_runs, tmp_path / "a.html").read_bytes()
    picture = save_picture(many_runs, tmp_path / "a.png").read_bytes()
    # Neither the user's matplotlib settings nor an earlier figure may leak in.
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "lines.linewidth": 9}):
        assert build_report(many_runs, tmp_path / "b.html").read_bytes() == first
        assert save_picture(many_runs, tmp_path / "b.png").read_bytes() == picture
        assert matplotlib.rcParams["font.size"] == 20
    assert picture.startswith(b"\x89PNG")


def test_hostile_text_is_text(make_run, poison, hostile, tmp_path) -> None:
    runs = [make_run("ERM", 0), make_run("a"), make_run("b", status="failed")]
    for folder in runs[1:]:
        poison(folder)
    text = build_report(runs, tmp_path / "report.html", title=hostile).read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.text.count(hostile) > 10
    assert len(page.ids) == len(set(page.ids))
    assert not any(set("<>\"' ") & set(identity) for identity in page.ids)
    save_picture(runs, tmp_path / "picture.png")


def test_runs_without_any_result_still_make_a_page(make_run, tmp_path) -> None:
    folder = make_run("ERM", status="failed", error=None)
    (folder / "training.jsonl").unlink()
    page = Page(build_report([folder], tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "failed: no error was recorded" in page.text
    assert page.figures == []
    with pytest.raises(UserError, match="none of the runs has scores"):
        save_picture([folder], tmp_path / "picture.png")
    assert not (tmp_path / "picture.png").exists()


def test_each_panel_has_the_chance_line_of_its_split(make_run, set_chance, tmp_path) -> None:
    folder = make_run("ERM")
    set_chance(folder, 1 / 3, "id")
    set_chance(folder, None, "cue_random")
    text = build_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    said = [label.partition("%).")[2] for label in page.figures if label.startswith("Accuracy")]
    assert said == [" Chance is 33%.", " Chance is 25%.", "", " Chance is 25%."]
    assert [words in text for words in ("chance 33%", "chance 25%")] == [True, True]
    assert text.count(">chance ") == 3
    # The dashed line stands where the number says: from -0.01 to 1.01 over the drawing's width.
    assert dashes(text) == [pytest.approx(level, abs=1e-3) for level in (1 / 3, 0.25, 0.25)]
    assert "the dashed line" in page.text
    assert "Guessing" not in page.text


def test_no_chance_line_where_nobody_knows_it(make_run, set_chance, tmp_path) -> None:
    folder = make_run("ERM")
    known = save_picture([folder], tmp_path / "known.png").read_bytes()
    set_chance(folder, None)
    text = build_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert dashes(text) == []
    for word in ("chance", "guessing", "dashed"):
        assert word not in Page(text).text.lower() + " ".join(Page(text).figures).lower()
    assert save_picture([folder], tmp_path / "unknown.png").read_bytes() != known


def dashes(page: str) -> list[float]:
    """Where each panel's dashed line stands, as a share of the accuracy axis."""
    found = []
    for panel in re.findall(r'<svg [^>]*aria-label="Accuracy.*?</svg>', page, re.DOTALL):
        width = float(re.findall(r'viewBox="0 0 ([\d.]+) ', panel)[0])
        dashed = [path for path in re.findall(r"<path [^>]*>", panel) if "stroke-dasharray" in path]
        starts = {float(start) for path in dashed for start in re.findall(r' d="M ([\d.]+) ', path)}
        found += [start / width * 1.02 - 0.01 for start in starts]
    return found


def test_scores_alone_are_enough(make_run, tmp_path) -> None:
    folder = make_run("ERM")
    (folder / "training.jsonl").unlink()
    (folder / "examples.jsonl").unlink()
    (folder / "metrics.json").write_text('{"format": 3, "splits": {"id": {"n": 8, "accuracy": 0.5}}}')
    page = Page(build_report([folder], tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.figures == ["Accuracy, in distribution: ERM 50%."]
    assert save_picture([folder], tmp_path / "picture.png").stat().st_size > 1000


def test_long_logs_stay_small(make_run, tmp_path) -> None:
    folder = make_run("ERM")
    rows = (json.dumps({"step": step, "loss": 1 + step % 7}) for step in range(20_000))
    (folder / "training.jsonl").write_text("\n".join(rows))
    assert build_report([folder], tmp_path / "report.html").stat().st_size < 100_000


def test_curves_choose_a_logarithmic_axis_only_where_it_helps(make_run, tmp_path) -> None:
    wide, narrow = make_run("ERM"), make_run("IGA")
    (wide / "training.jsonl").write_text('{"step": 1, "loss": 8.0}\n{"step": 2, "loss": 0.01}\n')
    (narrow / "training.jsonl").write_text('{"step": 1, "loss": 8.0}\n{"step": 2, "loss": 0.0}\n')
    labels = [
        Page(build_report([folder], tmp_path / "report.html").read_text(encoding="utf-8")).figures[-1]
        for folder in (wide, narrow)
    ]
    assert labels == [
        "Loss, all domains by training step (logarithmic): ERM from 8 at step 1 to 0.01 at step 2.",
        "Loss, all domains by training step: IGA from 8 at step 1 to 0 at step 2.",
    ]


def test_a_baseline_that_no_run_has_is_refused(make_run, tmp_path) -> None:
    runs = [make_run("ERM"), make_run("IGA")]
    with pytest.raises(UserError, match=r"^baseline 'EMR': no run has this label; there are: 'ERM', 'IGA'$"):
        build_report(runs, tmp_path / "report.html", baseline="EMR")
    assert not (tmp_path / "report.html").exists()


def test_a_baseline_without_scores_is_told(make_run, tmp_path) -> None:
    runs = [make_run("ERM", status="failed"), make_run("GRPO"), make_run("DFPO")]
    page = Page(build_report(runs, tmp_path / "report.html", baseline="ERM").read_text(encoding="utf-8"))
    said = "The baseline, ERM, has no run with scores: nothing is compared with it."
    assert said in page.text
    assert "verdict" not in page.ids
    hint = f"{said} Another baseline is chosen with --baseline LABEL."
    assert choose_baseline(group_runs(read_runs(runs)), None) == (None, hint)


def test_without_erm_the_first_method_is_the_baseline(make_run, set_accuracy, tmp_path) -> None:
    runs = [make_run("untrained"), make_run("SFT", status="failed"), make_run("GRPO"), make_run("DFPO")]
    for folder, score in zip(runs[2:], (0.5, 0.6), strict=True):
        set_accuracy(folder, score)
    page = Page(build_report(runs, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "DFPO is ahead of GRPO, 60.0% against 50.0%" in page.text
    assert "No method is called ERM: differences are to GRPO, the first given. --baseline LABEL chooses" in page.text
    assert choose_baseline(group_runs(read_runs(runs[:3])), None) == (None, "")
