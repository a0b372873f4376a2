"""Tables of a teacher's runs for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from isograd.isomers.teacher.costs import Estimate
from isograd.isomers.teacher.dry_run import Forecast
from isograd.isomers.teacher.journal import Status

__all__ = ["forecast_view", "status_view"]


def status_view(status: Status) -> RenderableType:
    """Where a run stands: stages by domain, seeds by state, reasons, tokens, and when it will be done."""
    # Eleven columns in eighty characters.
    stages = Table(title="Stages; tokens in and out", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("stage", "domain"):
        stages.add_column(name)
    for name in ("calls", "open", "passed", "failed", "rate", "in", "out", "s/call", "cost"):
        stages.add_column(name, justify="right")
    for one in status.stages:
        stages.add_row(
            Text(one.stage),
            Text(one.domain),
            str(one.calls),
            str(one.in_flight),
            str(one.passed),
            str(one.failed),
            "" if one.pass_rate is None else f"{one.pass_rate:.1%}",
            str(one.prompt_tokens),
            str(one.completion_tokens),
            f"{one.seconds / one.calls:.2f}" if one.calls else "",
            "" if one.cost is None else f"{one.cost:.4f}",
        )
    parts: list[RenderableType] = [stages]
    if status.reasons:
        reasons = Table(title="Most frequent reasons")
        for name in ("stage", "reason"):
            reasons.add_column(name)
        reasons.add_column("tries", justify="right")
        for reason in status.reasons:
            reasons.add_row(Text(reason.stage), Text(reason.reason), str(reason.count))
        parts.append(reasons)
    return Group(*parts, *map(Text, _lines(status)))


def _lines(status: Status) -> list[str]:
    total = sum(status.seeds.values())
    states = ", ".join(f"{number} {state}" for state, number in status.seeds.items())
    cost = "" if status.cost is None else f", cost {status.cost:.4f}"
    lines = [
        f"{total} seeds: {states}",
        f"{status.calls} calls, {status.prompt_tokens} tokens in, {status.completion_tokens} out{cost}",
    ]
    if status.abandoned:
        lines.append(f"{status.abandoned} calls were under way in processes that died; the next run makes them anew")
    if status.eta_seconds is None:
        lines.append("time left: not known yet" if status.in_flight else "nothing is under way")
    elif status.eta_seconds:
        lines.append(f"{status.calls_per_minute:.0f} calls a minute; time left: {_duration(status.eta_seconds)}")
    else:
        lines.append("all seeds are finished")
    return lines


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def forecast_view(forecast: Forecast) -> RenderableType:
    """What a run would take, by stage."""
    table = Table(title="If every telling passes at once")
    table.add_column("stage")
    for name in ("calls", "tokens in", "tokens out", "at most", "price", "at most"):
        table.add_column(name, justify="right")
    for stage, estimate in forecast.stages.items():
        table.add_row(stage, *_numbers(estimate))
    table.add_section()
    table.add_row("all", *_numbers(forecast.total))
    return table


def _numbers(estimate: Estimate) -> list[str]:
    return [
        str(estimate.calls),
        str(estimate.prompt_tokens),
        str(estimate.completion_tokens),
        str(estimate.most_completion_tokens),
        f"{estimate.cost:.4f}",
        f"{estimate.most_cost:.4f}",
    ]
