"""The one exception type for mistakes a user can mend."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(ValueError):
    """Bad input: one line that says what is wrong, where, and how to mend it.

    The command line prints the message without a traceback and exits with status 2.
    """
