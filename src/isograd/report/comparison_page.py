"""A comparison as pages: one of each group, and where there are several, one over all."""

from __future__ import annotations

from pathlib import Path

from isograd.common.files import write_text
from isograd.report.colors import BASE, SLOTS
from isograd.report.comparison import Comparison
from isograd.report.comparison_tables import failures, group_tables
from isograd.report.page import build_report, environment
from isograd.report.words import few_seeds

__all__ = ["save_comparison_pages"]


def save_comparison_pages(comparison: Comparison, folder: Path, *, title: str) -> Path:
    """Write ``report.html``; with several groups it has the tables of all, and ``report-GROUP.html`` all of each.

    Args:
        comparison: what to write.
        folder: where to; names of groups become parts of file names.
        title: the heading.

    Returns:
        The path of ``report.html``.
    """
    several = len(comparison.groups) > 1
    names = {group.name: f"report-{group.name}.html" if several else "report.html" for group in comparison.groups}
    for group in comparison.groups:
        heading = f"{title}: {group.name}" if several else title
        build_report(
            [*group.folders],
            folder / names[group.name],
            title=heading,
            baseline=group.baseline.label,
            threshold=group.threshold,
        )
    if several:
        text = (
            environment()
            .get_template("overview.html.j2")
            .render(
                title=title,
                palette=(*SLOTS, BASE),
                groups=[
                    (group.name, names[group.name], group_tables(group), few_seeds(group.methods) + failures(group))
                    for group in comparison.groups
                ],
            )
        )
        write_text(folder / "report.html", text)
    return folder / "report.html"
