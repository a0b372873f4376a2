"""The command ``isograd lcs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

__all__ = ["lcs"]


def lcs(
    model: Annotated[str, typer.Argument(help="Run folder, adapter folder, or model (folder, hub id, builtin).")],
    data: Annotated[Path, typer.Option("--data", "-d", help="Isomer sets, or JSON lines of paired rows.")],
    layers: Annotated[str, typer.Option(help="four (a quarter, half, last but one, last) or all.")] = "four",
    pooling: Annotated[
        str | None, typer.Option(help="Any of mean,last,spans (default: all that the data allow).")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts at a time.")] = 16,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let a model's repository run its own code.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")] = Path("lcs.json"),
) -> None:
    """Take the Logical Consistency Score of a student, by layer and pooling, beside the distance between sets."""
    from rich.console import Console

    from isograd.common.errors import UserError
    from isograd.common.files import write_json
    from isograd.common.quiet import quiet_libraries
    from isograd.evaluate.lcs_data import iter_read_sets

    if layers not in ("four", "all"):
        raise UserError(f"--layers {layers!r}: choose four or all")
    # A fault of the file is told before a model is loaded.
    count, spans = 0, True
    domains: tuple[str, ...] = ()
    for item in iter_read_sets(data):
        count, spans, domains = count + 1, spans and item.has_spans, domains or item.domains
    if not count:
        raise UserError(f"{data}: holds no sets")
    quiet_libraries()
    from isograd.evaluate.lcs import all_layers, consistency_record, four_layers, logical_consistency
    from isograd.evaluate.suite import load_student
    from isograd.experiment.measure import named_subjects

    (subject,) = named_subjects([model], trust_remote_code=trust_remote_code)
    student, tokenizer = load_student(subject.model, subject.adapter, trust_remote_code=trust_remote_code)
    depth = student.config.get_text_config().num_hidden_layers
    names = ["mean", "last", *(["spans"] if spans and tokenizer.is_fast else [])]
    if pooling is not None:
        names = [name.strip() for name in pooling.split(",")]
    scores = logical_consistency(
        student,
        tokenizer,
        iter_read_sets(data),
        layers=(four_layers if layers == "four" else all_layers)(depth),
        poolings=names,
        batch_size=batch_size,
    )
    record = {
        "format": 1,
        "model": model,
        "data": str(data),
        "n_sets": count,
        "domains": list(domains),
        "depth": depth,
        "by_layer": {
            str(layer): {name: consistency_record(forms) for name, forms in by_pooling.items()}
            for layer, by_pooling in scores.items()
        },
    }
    write_json(output, record)
    Console().print(_view(record), markup=False)
    collapsed = _collapsed(record)
    if collapsed:
        from isograd.evaluate.lcs_sums import COLLAPSED

        typer.echo(
            f"warning: collapsed: {', '.join(collapsed)}: different problems are less than {COLLAPSED:g} apart there, "
            "so a small distance within sets says nothing",
            err=True,
        )
    typer.echo(str(output))


def _collapsed(record: Mapping[str, Any]) -> list[str]:
    return [
        f"layer {layer} {name}"
        for layer, by_pooling in record["by_layer"].items()
        for name, scores in by_pooling.items()
        if scores["collapsed"]
    ]


def _view(record: Mapping[str, Any]) -> RenderableType:
    from rich.table import Table

    table = Table(title=f"Distances within and between {record['n_sets']} sets (lower is closer)")
    for title in ("layer", "pooling", "cosine within", "between", "1 - CKA within", "between"):
        table.add_column(title, justify="left" if title == "pooling" else "right")
    for layer, by_pooling in record["by_layer"].items():
        for name, scores in by_pooling.items():
            values = (form[side] for form in (scores, scores["cka"]) for side in ("within", "between"))
            table.add_row(layer, name, *("-" if value is None else f"{value:.3f}" for value in values))
    return table
