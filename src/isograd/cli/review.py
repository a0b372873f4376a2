"""``isograd isomers review``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["review"]


def review(
    file: Annotated[Path, typer.Argument(help="Isomer sets, .jsonl or .parquet.")],
    journal: Annotated[
        Path | None,
        typer.Option(help="Where decisions go; by default journal.sqlite beside FILE if it exists, else a new file."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; a free one if 0.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address and open nothing.")] = False,
    reviewer: Annotated[str, typer.Option(help="Your name, kept with each decision.")] = "",
    domain: Annotated[list[str] | None, typer.Option(help="Domain file (.yaml) of your own.")] = None,
    max_overlap: Annotated[
        float | None, typer.Option(help="Largest share of content words two members may share.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write the accepted and edited sets here (.jsonl, .parquet); serve nothing.")
    ] = None,
    undecided: Annotated[bool, typer.Option("--undecided", help="Export undecided sets, too.")] = False,
) -> None:
    """Look at isomer sets side by side in a browser; accept, reject or edit them with the keyboard."""
    from isograd.common.errors import UserError
    from isograd.isomers.review import export_reviewed, journal_path
    from isograd.isomers.verify import MAX_OVERLAP

    kept = journal or journal_path(file)
    if export is not None:
        done = export_reviewed(file, kept, export, undecided=undecided)
        states = ", ".join(f"{count} {state}" for state, count in sorted(done.states.items()))
        typer.echo(f"{export}: {done.written} sets; {file} has {states}")
        return
    if undecided:
        raise UserError("--undecided says what to export; name a file with --export")
    _serve(
        file, kept, port, not no_browser, reviewer, domain or [], MAX_OVERLAP if max_overlap is None else max_overlap
    )


def _serve(
    file: Path, kept: Path, port: int, browser: bool, reviewer: str, domains: list[str], max_overlap: float
) -> None:
    import webbrowser

    from isograd.isomers.review import Catalog, Ledger, ReviewServer
    from isograd.isomers.review.queue import Queue
    from isograd.isomers.symbolic.domains import load_domain
    from isograd.isomers.teacher.journal import Journal

    own = {load_domain(path).name: path for path in domains}
    with (
        Catalog(file, max_overlap=max_overlap, domains=own) as catalog,
        Journal(kept) as opened,
        ReviewServer(Queue(catalog, Ledger(opened, reviewer=reviewer)), port) as server,
    ):
        typer.echo(f"{file}: {catalog.total} sets; decisions go to {kept}")
        typer.echo(f"Open {server.url}")
        typer.echo("Press Ctrl-C to end.")
        if browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo(f"\nEnded; all decisions are in {kept}")
