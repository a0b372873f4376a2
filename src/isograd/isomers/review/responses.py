"""An answer of the server's, and the headers that every answer carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

__all__ = ["HEADERS", "HTML", "Response", "plain", "see_other"]

HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"

HEADERS: Final[Mapping[str, str]] = {
    # Should a text ever slip through the escaping, it can neither run nor load nor send anything.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A page that was gone back to must show what was decided meanwhile.
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Response:
    """Status, body and what is not the same for all answers."""

    status: int
    body: bytes
    type: str = HTML
    headers: Mapping[str, str] = field(default_factory=dict)


def plain(status: int, line: str) -> Response:
    """One line of text."""
    return Response(status, f"{line}\n".encode(), TEXT)


def see_other(path: str, query: Mapping[str, str | int] | None = None, *, cookie: str = "") -> Response:
    """Go on with another page of this server."""
    pairs = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in (query or {}).items() if value != "")
    headers = {"Location": f"{path}?{pairs}" if pairs else path}
    return Response(303, b"", TEXT, {**headers, "Set-Cookie": cookie} if cookie else headers)
