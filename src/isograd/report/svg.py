"""matplotlib figures as small inline SVG that takes its font and colors from the page."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from isograd.report.colors import SLOTS

__all__ = ["GRID", "INK", "MUTED", "PAGE", "drawing", "slot_color", "to_svg"]

# Colors no one would choose: matplotlib draws with them and the page's CSS variables take their place.
INK = "#0a0a01"
MUTED = "#0a0a02"
GRID = "#0a0a03"
PAGE = "#0a0a04"
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAGE: "var(--page)"}
_VARIABLES |= {f"#0b0b{number:02x}": f"var(--m{number})" for number in range(len(SLOTS) + 1)}

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"


def slot_color(number: int) -> str:
    """The stand-in for the color of a slot."""
    return f"#0b0b{number:02x}"


@contextlib.contextmanager
def drawing(font_size: float) -> Iterator[None]:
    """matplotlib's own defaults, whatever the user's matplotlibrc says, so that equal data gives equal bytes."""
    settings: dict[Any, Any] = {
        "svg.hashsalt": "isograd",
        "svg.fonttype": "none",
        # A dollar sign in a label is a dollar sign, not the start of a formula.
        "text.parse_math": False,
        "font.size": font_size,
        "axes.unicode_minus": False,
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        # Only the width of a text depends on matplotlib's font; the browser has glyphs for the rest.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def to_svg(figure: Figure, key: str, description: str) -> Markup:
    """Turn a figure into inline SVG.

    Args:
        figure: drawn with the stand-in colors above, one point per CSS pixel.
        key: unique on the page; prefixes the ids that the drawing refers to.
        description: what the figure shows, in words, for those who do not see it.

    Returns:
        An ``<svg>`` element that scales with its container, without ids that could clash, styles that could leak,
        metadata, dates or addresses.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    root = ElementTree.fromstring(buffer.getvalue())
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": description})
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{_SVG}style", f"{_SVG}metadata"):
                parent.remove(child)
    used = {reference for element in root.iter() for reference in _references(element)}
    for element in root.iter():
        _adapt(element, key, used)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _references(element: ElementTree.Element) -> list[str]:
    """The ids an element refers to."""
    found = [element.attrib[_HREF][1:]] if _HREF in element.attrib else []
    clip = element.attrib.get("clip-path", "")
    if clip.startswith("url(#"):
        found.append(clip[len("url(#") : -1])
    return found


def _adapt(element: ElementTree.Element, key: str, used: set[str]) -> None:
    """Drop the namespace and unused ids, prefix the others, and hand colors and fonts over to the page."""
    element.tag = element.tag.removeprefix(_SVG)
    attributes = element.attrib
    identity = attributes.pop("id", None)
    if identity in used:
        attributes["id"] = f"{key}-{identity}"
    if _HREF in attributes:
        attributes["href"] = f"#{key}-{attributes.pop(_HREF)[1:]}"
    if "clip-path" in attributes:
        attributes["clip-path"] = attributes["clip-path"].replace("url(#", f"url(#{key}-")
    if "style" in attributes:
        parts = [part.strip() for part in attributes["style"].split(";")]
        style = "; ".join(part for part in parts if not part.startswith("font-family"))
        for stand_in, variable in _VARIABLES.items():
            style = style.replace(stand_in, variable)
        attributes["style"] = style
    # matplotlib indents its output; inside a page that is only weight.
    element.tail = None
    if element.tag != "text":
        element.text = None
    if "d" in attributes:
        attributes["d"] = " ".join(attributes["d"].split())
