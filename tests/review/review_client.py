"""Speaks to a running review server as a browser would, and as one should not."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from urllib.parse import urlencode, urlsplit


@dataclass(frozen=True)
class Answer:
    """Status, headers by lower-case name, and text."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def location(self) -> str:
        """Where it leads."""
        return self.headers["location"]


class Client:
    """A browser without a screen. ``url`` is what the server printed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self.port = int(parts.port or 0)
        self.cookie = ""
        self.entry = f"{parts.path}?{parts.query}"

    def enter(self) -> Client:
        """Take the cookie that the printed address gives."""
        answer = self.raw("GET", self.entry)
        assert answer.status == 303
        self.cookie = answer.headers["set-cookie"].split(";")[0]
        return self

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        """One request; a header that is None is left out."""
        wanted: dict[str, str | None] = {"Host": self.host, "Cookie": self.cookie or None, **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if body is not None and "Content-Length" not in wanted:
                wanted["Content-Length"] = str(len(body))
            for name, value in wanted.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body)
            got = connection.getresponse()
            data = got.read()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, data.decode())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """A page, redirections followed."""
        answer = self.raw("GET", path)
        while answer.status == 303:
            answer = self.raw("GET", answer.location)
        return answer

    def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str | None] | None = None) -> Answer:
        """A form, sent as a browser sends it."""
        usual = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.host}"}
        return self.raw("POST", path, urlencode(fields).encode(), {**usual, **(headers or {})})

    def form(self, page: str, action: str) -> dict[str, str]:
        """The fields of a form of a page, by its action."""
        text = self.get(page).text
        found = re.search(rf'<form[^>]* action="{re.escape(action)}">(.*?)</form>', text, re.DOTALL)
        assert found, action
        return fields_of(found[1])

    def decide(self, number: int, action: str, **fields: str) -> Answer:
        """Press a button of a set's page."""
        path = f"/set/{number}/{action}"
        return self.post(path, {**self.form(f"/set/{number}", path), **fields})

    def edit(self, number: int, **fields: str) -> Answer:
        """Change fields of a set's edit page and save."""
        path = f"/set/{number}/edit"
        changed = {name.replace("_", "-"): value for name, value in fields.items()}
        return self.post(path, {**self.form(path, path), **changed})


def fields_of(html: str) -> dict[str, str]:
    """Names and values of inputs and textareas, as a browser would send them."""
    fields = {}
    for tag in re.findall(r"<input[^>]*>", html):
        name, value = re.search(r' name="([^"]*)"', tag), re.search(r' value="([^"]*)"', tag)
        if name:
            fields[unescape(name[1])] = unescape(value[1]) if value else ""
    for name, text in re.findall(r'<textarea name="([^"]*)"[^>]*>\n?(.*?)</textarea>', html, re.DOTALL):
        fields[name] = unescape(text).replace("\r\n", "\n").replace("\n", "\r\n")
    return fields
