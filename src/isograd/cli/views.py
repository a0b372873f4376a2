"""Tables for the terminal. Texts from files are shown as they are, never as markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from isograd.common.errors import UserError
from isograd.isomers import Fault, IsomerSet
from isograd.isomers.verify import Verdict, Verification
from isograd.student.corpus import SYMBOLS

__all__ = [
    "benchmarks_view",
    "metrics_view",
    "named_files",
    "probe_view",
    "set_view",
    "verdict_line",
    "verification_view",
]


def named_files(option: str, values: Sequence[str]) -> dict[str, Path]:
    """Parse ``NAME=FILE`` values of an option.

    Raises:
        UserError: no equals sign, or no such file.
    """
    files = {}
    for value in values:
        name, sign, file = value.partition("=")
        if not sign or not Path(file).is_file():
            raise UserError(f"{option} {value!r}: write it as NAME=FILE with a file that exists")
        files[name] = Path(file)
    return files


def set_view(isomer_set: IsomerSet) -> RenderableType:
    """A set side by side: one column a domain, steps aligned, aligned values in bold, the cue underlined."""
    head = Text.assemble(
        (isomer_set.id, "bold"),
        f"  family {isomer_set.family}  structure {isomer_set.structure}",
        ("  stated answer is wrong on purpose (label noise)" if isomer_set.noisy else "", "italic"),
    )
    table = Table(show_lines=True, expand=True)
    for member in isomer_set.members:
        table.add_column(Text(member.domain), ratio=1, vertical="top")
    table.add_row(*(_marked(member.problem, member.cue) for member in isomer_set.members))
    for number in range(max(len(member.steps) for member in isomer_set.members)):
        table.add_row(*(_step(member, number) for member in isomer_set.members))
    table.add_row(*(Text.assemble("Answer: ", (member.answer, "bold")) for member in isomer_set.members))
    return Group(head, table)


def _step(member: Any, number: int) -> Text:
    if number >= len(member.steps):
        return Text("")
    step = member.steps[number]
    text = _marked(step.text, member.cue)
    start = step.text.rindex(step.value) if step.value in step.text else 0
    text.stylize("bold", start, start + len(step.value))
    return text


def _marked(content: str, cue: str | None) -> Text:
    text = Text(content)
    if cue:
        text.highlight_words([cue], "underline")
    return text


def probe_view(tables: Mapping[str, Mapping[str, Mapping[str, float]]], items: int) -> RenderableType:
    """What the student can do, by family and domain."""
    views: list[RenderableType] = []
    for family, rows in tables.items():
        skills = Table(title=f"{family} before fine-tuning: fraction right of {items}")
        skills.add_column("domain")
        domains = [name for name in rows if name != SYMBOLS]
        for skill in rows[domains[0]]:
            skills.add_column(skill, justify="right")
        for name in domains:
            skills.add_row(Text(name), *(f"{value:.2f}" for value in rows[name].values()))
        symbols = ", ".join(f"{skill} {value:.2f}" for skill, value in rows[SYMBOLS].items())
        views += [skills, Text(f"In neutral symbols: {symbols}")]
    return Group(*views)


def verdict_line(file: Path, verdict: Verdict) -> str:
    """Why a line was rejected, in one line: file, line number, field and mend, or the first reason."""
    first, *more = verdict.rejections
    if isinstance(first, Fault):
        return f"{file}:{first}"
    rest = f" (and {len(more)} more)" if more else ""
    return f"{file}:{verdict.line}: {first.reason}: {first.where}: {first.detail}{rest}"


def verification_view(summary: Verification) -> RenderableType:
    """What a file of isomer sets is made of and how it fared."""
    families = Table(title="Sets by family")
    for title in ("family", "sets", "passed", "pass rate"):
        families.add_column(title, justify="left" if title == "family" else "right")
    for name, (sets, passed) in sorted(summary.families.items()):
        families.add_row(Text(name), f"{sets:,}", f"{passed:,}", f"{passed / sets:.2%}")
    families.add_section()
    rate = f"{summary.passed / summary.sets:.2%}" if summary.sets else "-"
    families.add_row("all", f"{summary.sets:,}", f"{summary.passed:,}", rate)
    composition = Table(title="Composition")
    composition.add_column("what")
    composition.add_column("count", justify="right")
    for size, count in sorted(summary.sizes.items()):
        composition.add_row(f"sets of {size} members", f"{count:,}")
    for domain, count in sorted(summary.domains.items()):
        composition.add_row(Text(f"members in {domain}"), f"{count:,}")
    composition.add_row("different graphs with values", f"{len(summary.graphs):,}")
    views: list[RenderableType] = [families, composition]
    if summary.overlap:
        overlap = Table(title="Jaccard overlap of content words, rounded up")
        for title in ("domains", "pairs", "median", "95%", "largest"):
            overlap.add_column(title, justify="left" if title == "domains" else "right")
        for pair, histogram in sorted(summary.overlap.items()):
            shares = (f"{summary.overlap_quantile(pair, share):.2f}" for share in (0.5, 0.95, 1.0))
            overlap.add_row(Text(", ".join(pair)), f"{histogram.total():,}", *shares)
        views.append(overlap)
    if summary.reasons:
        reasons = Table(title="Reasons of rejection")
        reasons.add_column("reason")
        reasons.add_column("count", justify="right")
        for reason, count in summary.reasons.most_common():
            reasons.add_row(reason, f"{count:,}")
        views.append(reasons)
    return Group(*views)


def metrics_view(metrics: Mapping[str, Any]) -> RenderableType:
    """Accuracies with intervals, by split, and the LCS."""
    table = Table(title="Accuracy with 95% intervals (reasoning graphs resampled)")
    for title in ("split", "completions", "different problems", "accuracy", "chain accuracy"):
        table.add_column(title, justify="left" if title == "split" else "right")
    for name, split in metrics["splits"].items():
        counts = str(split["n"]), str(split["n_graphs"])
        table.add_row(Text(name), *counts, _interval(split, "accuracy"), _interval(split, "chain_accuracy"))
    scores = Table(title=f"Logical Consistency Score on {metrics['lcs']['split']} (cosine distance, lower is closer)")
    for title in ("pooling", "within sets", "between sets"):
        scores.add_column(title, justify="left" if title == "pooling" else "right")
    for pooling in (name for name in ("mean", "last", "spans") if name in metrics["lcs"]):
        found = metrics["lcs"][pooling]
        name = f"{pooling} (collapsed: it tells no problem from another)" if found["collapsed"] else pooling
        scores.add_row(name, *(_number(found[side]) for side in ("within", "between")))
    return Group(table, scores)


def benchmarks_view(results: Mapping[str, Any]) -> RenderableType:
    """Benchmark accuracies of models, and their differences on the same documents."""
    from isograd.evaluate.harness.results import told_empty

    table = Table(title="Benchmark accuracy with 95% intervals")
    for title in ("benchmark", "model", "documents", "accuracy", "chance"):
        table.add_column(title, justify="left" if title in ("benchmark", "model") else "right")
    for row in results["scores"]:
        accuracy = f"{row['accuracy']:.3f} [{_number(row['low'])}, {_number(row['high'])}]"
        table.add_row(Text(row["benchmark"]), Text(row["model"]), str(row["n"]), accuracy, _number(row["chance"]))
    views: list[RenderableType] = [table]
    if results["differences"]:
        gaps = Table(title="Differences on the same documents with 95% intervals (paired bootstrap)")
        for title in ("benchmark", "models", "difference"):
            gaps.add_column(title, justify="right" if title == "difference" else "left")
        for row in results["differences"]:
            gap = f"{row['mean']:+.3f} [{_number(row['low'])}, {_number(row['high'])}]"
            gaps.add_row(Text(row["benchmark"]), Text(f"{row['model']} - {row['minus']}"), gap)
        views.append(gaps)
    views += [Text(line) for line in told_empty(results)]
    if results["left_out"]:
        views.append(Text("\n".join(f"Left out: {line}" for line in results["left_out"])))
    return Group(*views)


def _interval(split: Mapping[str, Any], name: str) -> str:
    low, high = split[f"{name}_ci"]
    return f"{split[name]:.3f} [{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
