"""The command line: a thin layer, no logic of its own. Heavy imports happen inside the commands."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of ``isograd``: a user's mistake is one line on standard error and exit status 2."""
    from isograd.cli.app import app
    from isograd.common.errors import UserError

    try:
        app(prog_name="isograd")
    except UserError as error:
        sys.stderr.write(f"isograd: error: {error}\n")
        sys.exit(2)
    except BrokenPipeError:
        # The reader of a pipe has left (as in `| head`); there is nobody to tell.
        sys.stderr.close()
        sys.exit(141)
