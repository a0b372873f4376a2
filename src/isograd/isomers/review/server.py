"""The server: loopback only, for one browser that knows the secret, and for no other page in that browser."""

from __future__ import annotations

import contextlib
import errno
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from isograd.common.errors import UserError
from isograd.isomers.review.queue import Queue
from isograd.isomers.review.responses import HEADERS, Response, plain, see_other
from isograd.isomers.review.site import Site

__all__ = ["ADDRESS", "ReviewServer"]

ADDRESS: Final = "127.0.0.1"
_NAMES: Final = (ADDRESS, "localhost")
LARGEST_BODY: Final = 64 * 2**20
"""A set of the largest size that is read, with every character of it escaped."""
MOST_FIELDS: Final = 20_000
_OPEN: Final = "Open the whole address that isograd printed in the terminal."


class ReviewServer(ThreadingHTTPServer):
    """Serves the review of a queue.

    Attributes:
        url: the address to open, secret included.
    """

    daemon_threads = True
    # Another server's port must not be taken over.
    allow_reuse_port = False

    def __init__(self, queue: Queue, port: int = 0) -> None:
        """Listen.

        Args:
            queue: what to review.
            port: of the loopback address; a free one if 0.

        Raises:
            UserError: the port cannot be listened on.
        """
        # Before the base class, which closes what it cannot listen on.
        self._lock = threading.Lock()
        self._closed = False
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "is taken; name another with --port, or none" if taken else f"cannot be listened on: {error}"
            raise UserError(f"port {port} {why}") from None
        self.token: Final = secrets.token_urlsafe(32)
        self.csrf: Final = secrets.token_urlsafe(32)
        self._site = Site(queue, self.csrf)
        # Cookies know hosts and no ports: two reviews at a time must not log each other out.
        self.cookie: Final = f"isograd-review-{self.server_port}"
        self.url: Final = f"http://{ADDRESS}:{self.server_port}/?token={self.token}"

    def answered(self, work: Callable[[Site], Response]) -> Response:
        """One answer after the other: there is one reader, and what they see must be of one piece."""
        with self._lock:
            if self._closed:
                return plain(503, "The review has ended.")
            try:
                return work(self._site)
            except UserError as error:
                return plain(500, str(error))

    def server_close(self) -> None:
        """Stop listening; returns when no answer is being made any more."""
        super().server_close()
        with self._lock:
            self._closed = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that leaves in the middle of an answer is no error; whatever else is, is told as ever."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "isograd"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        """A page, an asset, or the way in with the secret."""
        refusal = self._foreign()
        if refusal is not None:
            self._answer(refusal)
            return
        try:
            url = urlsplit(self.path)
            query = _pairs(url.query)
        except ValueError:
            self._answer(plain(400, "The address cannot be read."))
            return
        if url.path == "/" and _same(query.get("token", ""), self._review.token):
            cookie = f"{self._review.cookie}={self._review.token}; Path=/; HttpOnly; SameSite=Strict"
            self._answer(see_other("/", cookie=cookie))
        elif not self._known():
            self._answer(plain(403, _OPEN))
        else:
            self._answer(self._review.answered(lambda site: site.get(url.path, query)))

    def do_HEAD(self) -> None:
        """A GET without its body."""
        self.do_GET()

    def do_POST(self) -> None:
        """A decision, if it comes from our own page."""
        refusal = self._foreign() or self._refused_post()
        if refusal is not None:
            # Its body was not read, so nothing that follows can be told from it.
            self.close_connection = True
            self._answer(refusal)
            return
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        try:
            # Half of a form would be saved as a text cut short.
            if len(body) < length:
                raise ValueError
            path, fields = urlsplit(self.path).path, _pairs(body.decode("ascii"))
        except ValueError:
            self.close_connection = True
            self._answer(plain(400, "The form cannot be read."))
            return
        if not _same(fields.get("csrf", ""), self._review.csrf):
            self._answer(plain(403, "This form is not of this server; load the page again."))
        else:
            self._answer(self._review.answered(lambda site: site.post(path, fields)))

    @property
    def _review(self) -> ReviewServer:
        return cast(ReviewServer, self.server)

    def _foreign(self) -> Response | None:
        """A name that someone else's DNS made point here (rebinding) is refused; so are doubled headers."""
        hosts = self.headers.get_all("Host", [])
        name = hosts[0].rpartition(":")[0] if len(hosts) == 1 else ""
        return None if name in _NAMES else plain(403, "Only the address that isograd printed is served.")

    def _refused_post(self) -> Response | None:
        if not self._known():
            return plain(403, _OPEN)
        # A browser says where a form comes from; other pages on this machine are foreign, too.
        if self.headers.get("Origin") != f"http://{self.headers['Host']}":
            return plain(403, "This form is not of this server.")
        if self.headers.get_content_type() != "application/x-www-form-urlencoded":
            return plain(415, "Only forms are read.")
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            return plain(411, "The form's length is missing.")
        if len(length) > 12 or int(length) > LARGEST_BODY:
            return plain(413, f"The form is larger than {LARGEST_BODY} bytes.")
        return None

    def _known(self) -> bool:
        try:
            cookies = SimpleCookie(self.headers.get("Cookie", ""))
        except CookieError:
            return False
        found = cookies.get(self._review.cookie)
        return found is not None and _same(found.value, self._review.token)

    def _answer(self, response: Response) -> None:
        self.send_response(response.status)
        headers = {"Content-Type": response.type, "Content-Length": str(len(response.body)), **HEADERS}
        for name, value in {**headers, **response.headers}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """What the base class refuses (a broken request line, an unknown method), with our headers and in one line."""
        self.close_connection = True
        # A request that could not be parsed has no command.
        self.command = getattr(self, "command", None) or ""
        refused = plain(code, "The request cannot be answered.")
        if code == HTTPStatus.NOT_IMPLEMENTED:
            refused = Response(
                405, b"Only GET, HEAD and POST are answered.\n", refused.type, {"Allow": "GET, HEAD, POST"}
            )
        with contextlib.suppress(ConnectionError):
            self._answer(refused)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses hold the secret."""


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode("utf-8", "replace"), other.encode())


def _pairs(text: str) -> Mapping[str, str]:
    """Names and values of a query or a form; too many of them, or half a character, are refused with ValueError."""
    return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"))
