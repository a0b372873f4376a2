"""Drawings give up whatever could clash, leak or load once they stand inside a page."""

from __future__ import annotations

from xml.etree import ElementTree

from matplotlib.figure import Figure

from isograd.report.svg import INK, drawing, slot_color, to_svg


def draw(key: str) -> str:
    with drawing(12):
        figure = Figure(figsize=(2, 2))
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.plot([0, 1], [0, 1], marker="o", color=slot_color(3))
        axes.set_title("a <b> $x^ 漢", color=INK)
        return str(to_svg(figure, key, 'said "so" & <so>'))


def test_two_drawings_share_no_ids_and_keep_their_references() -> None:
    first, second = (ElementTree.fromstring(draw(key)) for key in ("one", "two"))
    ids = [{element.attrib["id"] for element in root.iter() if "id" in element.attrib} for root in (first, second)]
    assert ids[0]
    assert ids[1]
    assert ids[0].isdisjoint(ids[1])
    uses = {element.attrib["href"] for element in first.iter("use")}
    clips = {element.attrib["clip-path"] for element in first.iter() if "clip-path" in element.attrib}
    assert uses
    assert clips
    assert {f"#{identity}" for identity in ids[0]} >= uses
    assert {f"url(#{identity})" for identity in ids[0]} >= clips


def test_colors_and_fonts_come_from_the_page_and_nothing_else_does() -> None:
    text = draw("one")
    assert "var(--m3)" in text
    assert "var(--ink)" in text
    assert "#0a0a" not in text
    assert "#0b0b" not in text
    assert "font-family" not in text
    assert "http" not in text
    root = ElementTree.fromstring(text)
    assert list(root.iter("style")) == []
    assert list(root.iter("metadata")) == []


def test_words_survive_as_text() -> None:
    root = ElementTree.fromstring(draw("one"))
    assert root.attrib["aria-label"] == 'said "so" & <so>'
    assert root.attrib["role"] == "img"
    assert "a <b> $x^ 漢" in [element.text for element in root.iter("text")]
