"""A comparison as tables of texts, for Markdown, pages and terminals alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from isograd.report.comparison import Group, Metric
from isograd.report.learning import SMOOTHED
from isograd.report.summary import Cell, Method, chance_level
from isograd.report.words import collapses, repeated_problems, shorten

__all__ = ["TextTable", "cost_table", "failures", "group_tables", "learning_table", "rich_view", "run_count"]

NOT_MEASURED: Final = "not measured"
_LONGEST_REASON = 300
_NARROW: Final = " Such intervals are too narrow for few seeds: of five, one in six misses, not one in twenty."


@dataclass(frozen=True)
class TextTable:
    """A table; the first column holds the methods. ``key`` says which of the tables it is."""

    key: str
    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def group_tables(group: Group) -> list[TextTable]:
    """Accuracy, chain accuracy, their paired differences, the LCS and the cost."""
    base = group.baseline.label
    splits = [metric.key.partition("/")[2] for metric in group.accuracies()]
    chance = chance_level(group.methods, splits)
    guess = "" if chance is None else f" Guessing gives {_plain(chance)}."
    repeated = "".join(f" {sentence}" for sentence in repeated_problems(group.methods, splits))
    same = f"Minus {base} on the same seeds: mean [95% bootstrap interval]; of how many seeds, where not all have both."
    tells = f" An interval that holds zero does not tell the two apart.{_NARROW}"
    between = " A low distance within sets says something only beside accuracy and beside the one between sets."

    def differences(method: Method, metric: Metric) -> str:
        cell = group.difference(method, metric)
        told = _cell(cell, lambda number: _signed(number, metric.digits), spread=False)
        return told if cell is None or cell.n == len(group.seeds) else f"{told}; of {cell.n}"

    rivals = [method for method in group.methods if method is not group.baseline]
    tables = [
        _table(
            "accuracy",
            "Accuracy",
            f"Mean ± standard deviation [95% bootstrap interval] over seeds.{guess}{repeated}{_NARROW}",
            group,
            _means,
        ),
        _table(
            "chain", "Chain accuracy", "Every step right, apart from the answer.", group, _means, metrics=group.chains()
        ),
    ]
    if rivals:
        of = f"Paired difference to {base}"
        tables += [
            _table("accuracy_difference", f"{of}: accuracy", same + tells, group, differences, methods=rivals),
            _table(
                "chain_difference",
                f"{of}: chain accuracy",
                same,
                group,
                differences,
                methods=rivals,
                metrics=group.chains(),
            ),
        ]
    if group.learning():
        tables.append(learning_table(group))
        if rivals:
            title = f"Paired difference to {base}: reinforcement learning"
            tables.append(
                _table("learning_difference", title, same, group, differences, methods=rivals, metrics=group.learning())
            )
    lcs = " ".join(
        [f"Mean distance of representations, in distribution, by pooling.{between}", *collapses(group.methods)]
    )
    tables.append(_table("lcs", "Logical Consistency Score", lcs, group, _means, metrics=group.distances()))
    if rivals:
        title = f"Paired difference to {base}: Logical Consistency Score"
        tables.append(
            _table("lcs_difference", title, same, group, differences, methods=rivals, metrics=group.distances())
        )
    if group.layers():
        note = (
            "Distance within sets over distance between sets, in distribution, by layer: below 1 where "
            "problems of the same logic are closer than others. None where representations are collapsed."
        )
        tables.append(_table("lcs_ratio", "Consistency by layer", note, group, _means, metrics=group.layers()))
    return [*tables, cost_table(group)]


def learning_table(group: Group) -> TextTable:
    """What the training logs of reinforcement runs tell; it needs no baseline."""
    reach = ""
    if group.threshold is not None:
        reach = (
            f" The threshold is a reward of {_plain(group.threshold)}, the mean of {SMOOTHED} generations; "
            "a run that never reaches it counts with all its steps."
        )
    note = f"From the training logs.{reach} The end is the last fifth."
    return _table("learning", "Reinforcement learning", note, group, _means, metrics=group.learning())


def _table(
    key: str,
    title: str,
    note: str,
    group: Group,
    text: Callable[[Method, Metric], str],
    *,
    methods: Sequence[Method] | None = None,
    metrics: Sequence[Metric] | None = None,
) -> TextTable:
    shown = group.accuracies() if metrics is None else metrics
    # How many seeds stand behind each line is said in the first table; failures are told below it.
    first = key == "accuracy"
    rows = [
        (method.label, *([run_count(method)] if first else []), *(text(method, metric) for metric in shown))
        for method in (group.methods if methods is None else methods)
    ]
    head = ("method", *(["runs"] if first else []), *(metric.title for metric in shown))
    return TextTable(key, title, note, head, tuple(rows))


def cost_table(group: Group) -> TextTable:
    """Time and memory of training, and their ratios to the baseline."""
    seconds, memory = group.costs()

    def value(cell: Cell | None, form: Callable[[float], str]) -> str:
        return NOT_MEASURED if cell is None else _cell(cell, form, spread=False)

    rows = tuple(
        (
            method.label,
            value(method.over_seeds(seconds.value), lambda number: f"{number:.3g}"),
            value(group.ratio(method, seconds), lambda number: f"{number:.2f}"),
            value(method.over_seeds(memory.value), lambda number: f"{number / 2**20:.0f}"),
            value(group.ratio(method, memory), lambda number: f"{number:.2f}"),
        )
        for method in group.methods
        if not method.base
    )
    base = group.baseline.label
    note = (
        f"Seconds of a training step (median) and most memory of the process, beside the ratio to {base} of the same "
        "seed: mean [95% bootstrap interval]. Runs that share a machine slow each other down; one worker tells best."
    )
    head = ("method", "seconds per step", f"step, × {base}", "peak memory, MiB", f"memory, × {base}")
    return TextTable("cost", "Cost", note, head, rows)


def run_count(method: Method) -> str:
    """How many runs have scores, and what has become of the others."""
    missing = len(method.runs) - len(method.scored)
    return f"{len(method.scored)} of {len(method.runs)}" + (f"; {missing} missing" if missing else "")


def failures(group: Group) -> list[str]:
    """One line for each run without scores: whose it is, and why."""
    return [
        f"{method.label}: {run_count(method).partition(';')[0]} runs; seed {run.seed} "
        f"{shorten(' '.join(run.trouble.split()), _LONGEST_REASON)}"
        for method in group.methods
        for run in method.runs
        if run.trouble
    ]


def rich_view(table: TextTable) -> Table:
    """A table for the terminal: narrow columns, words whole."""
    view = Table(title=Text(table.title), box=SIMPLE_HEAD, padding=0, show_edge=False)
    for place, title in enumerate(table.head):
        view.add_column(Text("\n".join(wrap(title, 12))), justify="right" if place else "left", no_wrap=True)
    for label, *cells in table.rows:
        texts = [Text(cell.replace(" ±", "\n±").replace(" [", "\n[").replace("; ", ";\n")) for cell in cells]
        view.add_row(Text("\n".join(wrap(label, 13))), *texts)
    return view


def _means(method: Method, metric: Metric) -> str:
    return _cell(method.over_seeds(metric.value), lambda number: _plain(number, metric.digits))


def _cell(cell: Cell | None, form: Callable[[float], str], *, spread: bool = True) -> str:
    if cell is None:
        return "-"
    text = form(cell.mean)
    if spread and cell.sd is not None:
        text += f" ± {form(cell.sd)}"
    if cell.interval is not None:
        text += f" [{form(cell.interval[0])}, {form(cell.interval[1])}]"
    return text


def _plain(number: float, digits: int = 3) -> str:
    """No zero before the point."""
    # Adding zero turns a rounded -0.0 into 0.0.
    text = f"{round(number, digits) + 0.0:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _signed(number: float, digits: int) -> str:
    text = _plain(number, digits)
    return text if text.startswith("-") else f"+{text}"
