"""The method that the others of a page are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from isograd.common.errors import UserError
from isograd.report.summary import Method

__all__ = ["choose_baseline"]


def choose_baseline(methods: Sequence[Method], label: str | None) -> tuple[Method | None, str]:
    """The baseline, and a sentence for the page where there is something to say about the choice.

    Args:
        methods: in the order in which they were given.
        label: of the method to compare with; by default ERM, and where there is none the first trained one with scores.

    Returns:
        No baseline where the wanted one has no scores, or where there is nothing to compare.

    Raises:
        UserError: no method has this label.
    """
    wanted = next((method for method in methods if (method.label == label if label else method.is_erm)), None)
    if label and wanted is None:
        labels = ", ".join(repr(method.label) for method in methods)
        raise UserError(f"baseline {label!r}: no run has this label; there are: {labels}")
    if wanted is not None:
        if wanted.scored:
            return wanted, ""
        other = "" if label else " Another baseline is chosen with --baseline LABEL."
        return None, f"The baseline, {wanted.label}, has no run with scores: nothing is compared with it.{other}"
    trained = [method for method in methods if method.scored and not method.base]
    if len(trained) < 2:
        return None, ""
    first = trained[0].label
    return trained[0], (
        f"No method is called ERM: differences are to {first}, the first given. --baseline LABEL chooses another."
    )
