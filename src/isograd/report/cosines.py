"""How far the gradients of domains agree: heat maps of their cosines over training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from isograd.report.runs import Run
from isograd.report.summary import Method
from isograd.report.svg import GRID, INK, MUTED, drawing, slot_color, to_svg
from isograd.report.words import shorten

__all__ = ["cosine_panel", "unread_cosines"]

COSINE = "cosine/"
LOSS = "loss/"
_PARTS = ("first third", "middle third", "last third")
_AGREE, _CONFLICT = 0, 1
# A full color would drown the number that stands on it.
_STRONGEST = 0.6
_FONT = 12
_PER_INCH = 72
_CELL = 40
_MARGIN = 104

Matrix = Mapping[tuple[str, str], float]


def cosine_panel(method: Method, figure_key: str) -> Markup | None:
    """Three maps, of the first, middle and last third of training: domain against domain, cosines of their gradients.

    Read from the numbers ``cosine/DOMAIN/DOMAIN`` of the training log, averaged over each third and over scored runs.

    Returns:
        None where no scored run of the method logged such numbers.
    """
    thirds: list[dict[tuple[str, str], list[float]]] = [{}, {}, {}]
    for run in method.scored:
        for part, matrix in zip(thirds, _thirds(run), strict=True):
            for pair, value in matrix.items():
                part.setdefault(pair, []).append(value)
    means: list[Matrix] = [{pair: math.fsum(values) / len(values) for pair, values in part.items()} for part in thirds]
    domains = sorted({domain for part in means for pair in part for domain in pair})
    if not domains:
        return None
    count = len(domains)
    shown = [(name, matrix) for name, matrix in zip(_PARTS, means, strict=True) if matrix]
    width, height = _MARGIN + count * _CELL + 8, len(shown) * (count * _CELL + 30) + 8
    with drawing(_FONT):
        figure = Figure(figsize=(width / _PER_INCH, height / _PER_INCH))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        for number, (name, matrix) in enumerate(shown):
            _draw(axes, domains, matrix, name, number * (count * _CELL + 30))
        said = "; ".join(
            f"{name}: " + ", ".join(f"{a} and {b} {value:.2f}" for (a, b), value in sorted(matrix.items()))
            for name, matrix in shown
        )
        return to_svg(figure, figure_key, f"Cosines of domain gradients, {method.label}. {said}.")


def unread_cosines(methods: Sequence[Method]) -> list[str]:
    """Logged cosines whose two domains cannot be told apart, as a slash in a name may do: keys of the log."""
    found: set[str] = set()
    for run in (run for method in methods for run in method.scored):
        keys, domains = {key for row in run.training for key in row}, _domains(run)
        found |= {key for key in keys if key.startswith(COSINE) and _pair(key, domains) is None}
    return sorted(found)


def _thirds(run: Run) -> list[Matrix]:
    rows = [row for row in run.training if any(key.startswith(COSINE) for key in row)]
    cuts = [round(len(rows) * part / 3) for part in range(4)]
    domains = _domains(run)
    return [_mean(rows[start:end], domains) for start, end in itertools.pairwise(cuts)]


def _domains(run: Run) -> set[str]:
    """The domains that the log names, which is where a name with a slash can be seen whole."""
    return {key.removeprefix(LOSS) for row in run.training for key in row if key.startswith(LOSS)}


def _mean(rows: Sequence[Mapping[str, float]], domains: AbstractSet[str]) -> Matrix:
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for key, value in row.items():
            if key.startswith(COSINE) and (pair := _pair(key, domains)) is not None:
                found.setdefault(pair, []).append(value)
    return {pair: math.fsum(values) / len(values) for pair, values in found.items()}


def _pair(key: str, domains: AbstractSet[str]) -> tuple[str, str] | None:
    """The two domains of a key, in order; None where the slash between them could be any of several."""
    parts = key.removeprefix(COSINE).split("/")
    splits = [("/".join(parts[:cut]), "/".join(parts[cut:])) for cut in range(1, len(parts))]
    if len(splits) > 1:
        splits = [split for split in splits if domains >= set(split)]
    return (min(splits[0]), max(splits[0])) if len(splits) == 1 else None


def _draw(axes: Axes, domains: Sequence[str], matrix: Matrix, name: str, top: float) -> None:
    axes.text(_MARGIN, top + 16, name, color=MUTED, ha="left")
    for row, one in enumerate(domains):
        y = top + 24 + row * _CELL
        axes.text(_MARGIN - 8, y + _CELL / 2, shorten(one, 12), color=INK, ha="right", va="center_baseline")
        for column, other in enumerate(domains):
            x = _MARGIN + column * _CELL
            value = 1.0 if one == other else matrix.get((min(one, other), max(one, other)))
            box = (x + 1, y + 1), _CELL - 2, _CELL - 2
            if value is None:
                axes.add_patch(Rectangle(*box, facecolor="none", edgecolor=GRID, linewidth=1))
                continue
            color = slot_color(_AGREE if value >= 0 else _CONFLICT)
            strength = min(abs(value), 1) * _STRONGEST
            axes.add_patch(Rectangle(*box, facecolor=color, alpha=strength, linewidth=0))
            text = f"{value:.2f}".replace("-", "−")
            axes.text(x + _CELL / 2, y + _CELL / 2, text, color=INK, ha="center", va="center_baseline", fontsize=11)
