"""Run folders to one self-contained HTML page: no scripts, no network, equal folders give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from isograd.common.files import write_text
from isograd.report.colors import BASE, SLOTS
from isograd.report.comparison import read_comparison
from isograd.report.comparison_tables import TextTable, group_tables
from isograd.report.examples import side_by_side
from isograd.report.figures import accuracy_panel, curve_panel
from isograd.report.runs import Run, read_runs
from isograd.report.summary import Method, chance_level, describe_split, group_runs, split_order
from isograd.report.words import findings, headline, notices, shorten

__all__ = ["build_report", "environment"]

_LOSS = "loss/"
# Tables of a comparison that the page has in another form.
_SHOWN = ("accuracy", "accuracy_difference", "lcs")


def build_report(
    run_dirs: Sequence[Path],
    output: Path,
    *,
    title: str = "Distilled students compared",
    baseline: str | None = None,
) -> Path:
    """Write one HTML page that compares runs.

    The page needs nothing beside itself. Methods appear in the order of ``run_dirs``; runs with one label are the
    seeds of one method. Runs that failed, or that were not evaluated, stay in the tables with the reason.

    Args:
        run_dirs: run folders, each with a ``run.json`` (formats: :mod:`isograd.report.runs`).
        output: the file to write; its folder is made if need be, an old file is replaced whole.
        title: the page's heading.
        baseline: label of the method that the others are compared with, which brings the tables of a comparison too;
            by default ERM, if there is one.

    Returns:
        ``output`` as a path.

    Raises:
        UserError: no folders, a folder without ``run.json``, a file that does not hold what its format asks for, or
            two scored runs of one label with the same seed.
    """
    runs = read_runs(run_dirs)
    methods = group_runs(runs)
    splits = split_order(methods)
    base = next((m for m in methods if (m.label == baseline if baseline else m.is_erm) and m.scored), None)
    page = environment().get_template("page.html.j2")
    text = page.render(
        title=title,
        palette=(*SLOTS, BASE),
        headline=headline(methods),
        findings=findings(methods),
        notices=notices(methods),
        methods=methods,
        erm=base,
        rivals=_rivals(methods, base, splits),
        tables=_further_tables(run_dirs, baseline) if baseline else [],
        runs=runs,
        splits=[(split, describe_split(split)) for split in splits],
        bars=[
            (describe_split(split), accuracy_panel(methods, split, f"bars-{number}"))
            for number, split in enumerate(splits)
        ],
        guessed=any(chance_level(methods, [split]) is not None for split in splits),
        domains=[(split, domain) for split in splits for domain in _domains(methods, split)],
        overall_curves=_panels(methods, [("loss", "all domains"), ("consistency", "isomer consistency term")]),
        domain_curves=_panels(methods, [(f"{_LOSS}{name}", name) for name in _logged_domains(runs)]),
        example=side_by_side(methods),
        versions=_shared((run.name, run.versions) for run in runs),
        machines=_shared((run.name, run.machine) for run in runs),
    )
    write_text(output, text)
    return Path(output)


def environment() -> Environment:
    """Templates of this package, escaping what they are given."""
    environment = Environment(
        loader=PackageLoader("isograd.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["pretty_json"] = _pretty_json
    environment.filters["shorten"] = shorten
    return environment


def _pretty_json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def _further_tables(run_dirs: Sequence[Path], baseline: str) -> list[TextTable]:
    """The tables of a comparison that the page does not have in another form."""
    (group,) = read_comparison({"": run_dirs}, baseline).groups
    return [table for table in group_tables(group) if table.key not in _SHOWN]


def _rivals(methods: Sequence[Method], erm: Method | None, splits: Sequence[str]) -> list[Method]:
    """The trained methods that share at least two seeds with ERM."""
    if erm is None:
        return []
    trained = [method for method in methods if method is not erm and not method.base]
    return [method for method in trained if any(method.difference(erm, split) for split in splits)]


def _shared(items: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, list[str]]]:
    """``(pretty text, names)`` of each distinct value."""
    groups: dict[str, list[str]] = {}
    for name, value in items:
        groups.setdefault(_pretty_json(value), []).append(name)
    return list(groups.items())


def _domains(methods: Sequence[Method], split: str) -> list[str]:
    """The domains of a split, by name."""
    scores = (run.splits[split] for method in methods for run in method.scored if split in run.splits)
    return sorted({domain for score in scores for domain in score.by_domain})


def _logged_domains(runs: Sequence[Run]) -> list[str]:
    keys = {key for run in runs for row in run.training for key in row if key.startswith(_LOSS)}
    return sorted(key.removeprefix(_LOSS) for key in keys)


def _panels(methods: Sequence[Method], wanted: Sequence[tuple[str, str]]) -> list[tuple[str, Markup]]:
    """``(name, drawing)`` of each logged number that any run has."""
    panels = []
    for number, (key, name) in enumerate(wanted):
        word = "Loss" if key.startswith("loss") else "Value"
        # Not the name: it comes from a file and would have to be a valid id.
        figure_key = f"{'domain' if key.startswith(_LOSS) else 'overall'}-{number}"
        together = [other for other, _ in wanted if key.startswith(_LOSS)]
        panel = curve_panel(methods, key, figure_key, f"{word}, {name}", together)
        if panel is not None:
            panels.append((name, panel))
    return panels
