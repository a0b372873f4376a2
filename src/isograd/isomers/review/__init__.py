"""Looking at isomer sets one by one in a browser, and deciding on them; the decisions go to a journal.

A server for one person on one machine: it listens on the loopback address alone, asks for a secret that only the
terminal was told, and shows every text of a file as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isograd.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from isograd.isomers.review.catalog import Catalog
    from isograd.isomers.review.export import Exported, export_reviewed
    from isograd.isomers.review.ledger import Ledger, journal_path
    from isograd.isomers.review.server import ReviewServer

__all__ = ["Catalog", "Exported", "Ledger", "ReviewServer", "export_reviewed", "journal_path"]

__getattr__, _ = lazy_attributes(
    __name__,
    {
        "Catalog": "isograd.isomers.review.catalog",
        "Exported": "isograd.isomers.review.export",
        "Ledger": "isograd.isomers.review.ledger",
        "ReviewServer": "isograd.isomers.review.server",
        "export_reviewed": "isograd.isomers.review.export",
        "journal_path": "isograd.isomers.review.ledger",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
