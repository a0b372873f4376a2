"""From an experiment to its files: what every command of the lab writes, and how."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from matplotlib.figure import Figure

from isograd.common.errors import UserError
from isograd.common.files import atomic_writer, write_json, write_text
from isograd.lab.records import Findings
from isograd.report.svg import drawing

__all__ = ["Picture", "Progress", "Scale", "Ticker", "run_lab"]

# Steps done, steps in all, and what is running.
Progress = Callable[[int, int, str], None]

# Draws on the figure; and the size in inches.
Picture = tuple[Callable[[Figure, Findings], None], tuple[float, float]]


class Ticker:
    """Counts the steps of an experiment and tells of them.

    Args:
        progress: called with steps done, steps in all, and what is running.
        total: steps in all.

    Attributes:
        name: what is running.
    """

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.name = ""
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self) -> None:
        """One step is done."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total, self.name)


class Scale(Protocol):
    """How much is run: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def seeds(self) -> int:
        """Seeds of every comparison, from 0."""


def run_lab(
    output: str | os.PathLike[str],
    name: str,
    scale: Scale,
    experiment: Callable[[], Findings],
    page: Callable[[Findings, int, Sequence[str]], str],
    pictures: Mapping[str, Picture],
) -> list[Path]:
    """Run an experiment and write ``results.json``, ``results.csv``, ``NAME.md`` and ``NAME-PICTURE.png``.

    Equal scales give equal bytes on the same machine.

    Args:
        output: the folder; made if missing, its files of the same names are replaced.
        name: of the experiment.
        scale: how much; recorded.
        experiment: the work; runs with one torch thread.
        page: from findings, the number of seeds and the pictures' file names to Markdown.
        pictures: by name.

    Returns:
        The files.

    Raises:
        UserError: too few seeds, or the folder cannot be written.
    """
    folder = Path(output)
    if scale.seeds < 2:
        raise UserError(f"seeds is {scale.seeds}; an interval needs at least 2, a claim at least 5")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from None
    before = torch.get_num_threads()
    # One thread: the tensors are small, and sums keep their order.
    torch.set_num_threads(1)
    try:
        findings = experiment()
    finally:
        torch.set_num_threads(before)
    records = [_rounded(asdict(record)) for record in findings.records]
    lines = [_rounded(asdict(line)) for line in findings.lines]
    write_json(folder / "results.json", {"scale": asdict(scale), "records": records, "lines": lines})
    text = io.StringIO()
    table = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(records)
    write_text(folder / "results.csv", text.getvalue())
    plots = [_save(folder / f"{name}-{picture}.png", findings, *how) for picture, how in pictures.items()]
    write_text(folder / f"{name}.md", page(findings, scale.seeds, [path.name for path in plots]))
    return [folder / "results.json", folder / "results.csv", folder / f"{name}.md", *plots]


def _save(path: Path, findings: Findings, draw: Callable[[Figure, Findings], None], size: tuple[float, float]) -> Path:
    # Fixed margins: a layout that measures text would move with the labels.
    with drawing(9), atomic_writer(path, "wb") as file:
        figure = Figure(figsize=size, facecolor="white")
        draw(figure, findings)
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    return path


def _rounded(value: Any) -> Any:
    """Six digits: more are noise, and differ between processors. What is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
