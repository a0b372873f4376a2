"""Run folders to one self-contained HTML page: no scripts, no network, equal folders give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from isograd.common.errors import UserError
from isograd.common.files import write_text
from isograd.report.baseline import choose_baseline
from isograd.report.benchmarks import benchmark_tables
from isograd.report.colors import BASE, SLOTS
from isograd.report.comparison import Group
from isograd.report.comparison_tables import TextTable, cost_table, group_tables, learning_table
from isograd.report.cosines import cosine_panel, unread_cosines
from isograd.report.examples import sets_side_by_side
from isograd.report.figures import accuracy_panel
from isograd.report.layers import collapsed_layers, consistency_panel, distances_by_layer, masks
from isograd.report.learning import reinforced
from isograd.report.panels import REINFORCED, TRAINED, domain_panels, log_panels
from isograd.report.runs import LAYER_POOLINGS, POOLINGS, read_runs
from isograd.report.scatter import scatter_panel
from isograd.report.slips import SLIPS, slip_counts
from isograd.report.summary import Method, chance_level, describe_split, group_runs, split_order
from isograd.report.verdict import verdict
from isograd.report.words import findings, guessing, headline, notices, shorten

__all__ = ["build_report", "environment"]

_T = TypeVar("_T")

# Tables of a comparison that the page has in another form.
_SHOWN = ("accuracy", "accuracy_difference", "lcs", "cost")


def build_report(
    run_dirs: Sequence[Path],
    output: Path,
    *,
    title: str = "Distilled students compared",
    baseline: str | None = None,
    threshold: float | None = None,
    benchmarks: Sequence[Path] = (),
) -> Path:
    """Write one HTML page that compares runs.

    The page needs nothing beside itself. Methods appear in the order of ``run_dirs``; runs with one label are the
    seeds of one method. Runs that failed, or that were not evaluated, stay in the tables with the reason.

    Args:
        run_dirs: run folders, each with a ``run.json`` (formats: :mod:`isograd.report.runs`).
        output: the file to write; its folder is made if need be, an old file is replaced whole.
        title: the page's heading.
        baseline: label of the method that the others are compared with, which brings the tables of a comparison too;
            by default ERM, else the first trained method with scores, and of these tables the costs and what the logs
            of reinforcement learning say.
        threshold: the mean reward in [0, 1] that reinforcement learning is to reach; without one, the steps to it are
            not counted.
        benchmarks: folders that ``isograd evaluate --tasks`` wrote (format: :mod:`isograd.report.benchmarks`), whose
            scores and paired differences stand in tables of their own.

    Returns:
        ``output`` as a path.

    Raises:
        UserError: no folders, a folder without ``run.json`` (``results.json``), a file that does not hold what its
            format asks for, two scored runs of one label with the same seed, a baseline that no run is labelled, or a
            threshold that is no mean reward.
    """
    # Said so that NaN is refused too.
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"threshold is {threshold}; it must be a mean reward from 0 to 1")
    runs = read_runs(run_dirs)
    methods = group_runs(runs)
    splits = split_order(methods)
    base, chosen = choose_baseline(methods, baseline)
    judged = verdict(methods, base)
    page = environment().get_template("page.html.j2")
    text = page.render(
        title=title,
        palette=(*SLOTS, BASE),
        headline=headline(methods),
        verdict=judged,
        findings=guessing(methods, splits) if judged else findings(methods),
        notices=[*([chosen] if chosen else []), *notices(methods)],
        methods=methods,
        erm=base,
        rivals=_rivals(methods, base, splits),
        tables=_further_tables(
            Group("", dict(zip(map(Path, run_dirs), runs, strict=True)), methods, base or methods[0], threshold),
            compared=bool(base and baseline),
        ),
        costs=_costs(methods, base),
        benchmarks=benchmark_tables([Path(folder) for folder in benchmarks]),
        runs=runs,
        splits=[(split, describe_split(split)) for split in splits],
        bars=[
            (describe_split(split), accuracy_panel(methods, split, f"bars-{number}"))
            for number, split in enumerate(splits)
        ],
        guessed=any(chance_level(methods, [split]) is not None for split in splits),
        domains=[(split, domain) for split in splits for domain in _domains(methods, split)],
        scatters=_drawn(
            (describe_split(split), scatter_panel(methods, split, f"scatter-{number}"))
            for number, split in enumerate(splits)
            if split != "id"
        ),
        poolings=POOLINGS,
        by_layer=_drawn(
            (title, consistency_panel(methods, pooling, f"lcs-{pooling}")) for pooling, title in LAYER_POOLINGS.items()
        ),
        distances=distances_by_layer(methods),
        collapsed=collapsed_layers(methods),
        overall_curves=log_panels(methods, TRAINED, "overall"),
        domain_curves=domain_panels(methods, runs),
        reinforced=log_panels(methods, REINFORCED, "rl") if any(reinforced(run) for run in runs) else [],
        cosines=_drawn((method, cosine_panel(method, f"cosines-{method.index}")) for method in methods),
        unread=unread_cosines(methods),
        masks=masks(methods, "mask-layers"),
        slip_names=SLIPS,
        slips=slip_counts(methods),
        examples=sets_side_by_side(methods),
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


def _drawn(panels: Iterable[tuple[_T, Markup | None]]) -> list[tuple[_T, Markup]]:
    """The panels that had something to show."""
    return [(name, panel) for name, panel in panels if panel is not None]


def _further_tables(group: Group, *, compared: bool) -> list[TextTable]:
    """The tables of a comparison that the page does not have in another form; else those that need no baseline."""
    if not compared:
        return [learning_table(group)] if group.learning() else []
    return [table for table in group_tables(group) if table.key not in _SHOWN]


def _costs(methods: Sequence[Method], base: Method | None) -> list[TextTable]:
    if base is None or not any(run.step_seconds or run.peak_memory_bytes for run in base.scored):
        return []
    return [cost_table(Group("", {}, methods, base))]


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
