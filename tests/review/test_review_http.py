"""Who is let in, what is refused, and what every answer carries."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from review_client import Client

from isograd.common.errors import UserError
from isograd.isomers import IsomerSet
from isograd.isomers.review import Catalog, Ledger, ReviewServer
from isograd.isomers.review import server as server_module
from isograd.isomers.review.queue import Queue
from isograd.isomers.teacher.journal import Journal

Run = Callable[..., Any]


@pytest.fixture
def page(running: Run, sound: list[IsomerSet]) -> Any:
    return running(sound)


def test_it_listens_on_the_loopback_address_alone(page: Any) -> None:
    assert page.server.server_address[0] == "127.0.0.1"
    assert page.url.startswith(f"http://127.0.0.1:{page.server.server_port}/?token=")


def test_the_secret_of_the_address_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(page: Any) -> None:
    answer = Client(page.url).raw("GET", Client(page.url).entry)
    assert (answer.status, answer.location) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {
        part.strip() for part in answer.headers["set-cookie"].split(";")
    }


@pytest.mark.parametrize(
    "path", ["/", "/set/1", "/set/1/edit", "/progress", "/review.js", "/icon.svg", "/?token=", "/?token=x"]
)
def test_nothing_is_shown_without_the_secret(page: Any, path: str) -> None:
    for cookie in (None, "", f"{page.server.cookie}=wrong", f"{page.server.cookie}=", "other=1", "\x01;=;"):
        answer = page.client.raw("GET", path, headers={"Cookie": cookie})
        assert answer.status == 403
        assert "set-cookie" not in answer.headers
        assert "arithmetic" not in answer.text
    assert page.client.get(path if "token" not in path else "/").status == 200


def test_another_review_on_another_port_has_a_cookie_of_its_own(
    page: Any, running: Run, sound: list[IsomerSet], tmp_path: Path
) -> None:
    other = running(sound, path=tmp_path / "other.jsonl", journal=tmp_path / "other.sqlite")
    assert other.server.cookie != page.server.cookie
    both = {"Cookie": f"{page.client.cookie}; {other.client.cookie}"}
    assert page.client.raw("GET", "/set/1", headers=both).status == 200
    assert other.client.raw("GET", "/set/1", headers=both).status == 200
    assert other.client.raw("GET", "/set/1", headers={"Cookie": page.client.cookie}).status == 403


@pytest.mark.parametrize(
    "host", [None, "", "elsewhere.invalid", "elsewhere.invalid:{port}", "127.0.0.1.invalid:{port}", "localhost"]
)
def test_other_names_that_lead_here_are_refused(page: Any, host: str | None) -> None:
    name = host.format(port=page.client.port) if host is not None else None
    assert page.client.raw("GET", "/set/1", headers={"Host": name}).status == 403
    assert page.client.post("/set/1/accept", page.client.form("/set/1", "/set/1/accept"), {"Host": name}).status == 403
    assert page.decisions() == []


def test_localhost_with_a_port_is_let_in(page: Any) -> None:
    assert page.client.raw("GET", "/set/1", headers={"Host": f"localhost:{page.client.port}"}).status == 200


@pytest.mark.parametrize("action", ["accept", "reject", "undo", "edit"])
def test_a_form_counts_only_with_its_secret_its_origin_and_its_type(page: Any, action: str) -> None:
    path = f"/set/1/{action}"
    form = page.client.form(
        "/set/1/edit" if action == "edit" else "/set/1", path if action == "edit" else "/set/1/accept"
    )
    post = page.client.post
    assert post(path, {**form, "csrf": ""}).status == 403
    assert post(path, {**form, "csrf": form["csrf"][:-1]}).status == 403
    assert post(path, {name: value for name, value in form.items() if name != "csrf"}).status == 403
    assert post(path, form, {"Cookie": None}).status == 403
    for origin in (
        None,
        "null",
        "http://elsewhere.invalid",
        f"http://127.0.0.1:{page.client.port + 1}",
        f"https://{page.client.host}",
    ):
        assert post(path, form, {"Origin": origin}).status == 403
    for kind in ("text/plain", "application/json", "multipart/form-data; boundary=x"):
        assert post(path, form, {"Content-Type": kind}).status == 415
    assert page.decisions() == []


def test_the_form_that_was_refused_without_its_secret_is_taken_with_it(page: Any) -> None:
    assert page.client.decide(1, "accept").status == 303
    assert [decision.verdict for decision in page.decisions()] == ["accept"]


def test_a_get_decides_nothing(page: Any) -> None:
    for action in ("accept", "reject", "undo"):
        assert page.client.get(f"/set/1/{action}").status == 404
    assert page.decisions() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(page: Any, method: str) -> None:
    answer = page.client.raw(method, "/set/1")
    assert answer.status == 405
    assert answer.headers["x-frame-options"] == "DENY"


def test_head_answers_without_a_body(page: Any) -> None:
    answer = page.client.raw("HEAD", "/set/1")
    assert (answer.status, answer.text) == (200, "")
    assert int(answer.headers["content-length"]) > 1000


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/review.css/../../catalog.py",
        "/templates/set.html.j2",
        "/catalog.py",
        "/set/0",
        "/set/-1",
        "/set/01",
        "/set/7",
        "/set/99999999999999999999",
        "/set/1/",
        "/set/1/delete",
        "/set/%D9%A1",
        "/set/1%0d%0aX:%20y",
        "//elsewhere.invalid/set",
        "/go?to=nobody",
        "/go",
        "http://elsewhere.invalid/nothing",
    ],
)
def test_other_addresses_lead_nowhere(page: Any, path: str) -> None:
    answer = page.client.raw("GET", path)
    assert answer.status == 404
    assert "root:" not in answer.text
    assert "location" not in answer.headers


@pytest.mark.parametrize("path", ["/set/1?show=%ff", "/set/1?" + "&".join("a" for _ in range(30000)), "http://[x"])
def test_an_address_that_cannot_be_read_is_one_line(page: Any, path: str) -> None:
    answer = page.client.raw("GET", path)
    assert answer.status == 400
    assert answer.text.count("\n") == 1


@pytest.mark.parametrize(
    "path", ["/", "/set/1", "/set/1/edit", "/nothing", "/review.css", "/review.js", "/icon.svg", "/progress"]
)
def test_every_answer_forbids_what_it_does_not_need(page: Any, path: str) -> None:
    headers = page.client.raw("GET", path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "python" not in headers["server"].lower()


@pytest.mark.parametrize(
    ("length", "status"), [("", 411), ("x", 411), ("-1", 411), (str(2**40), 413), ("9" * 5000, 413), (None, 411)]
)
def test_a_form_without_an_honest_length_is_not_read(page: Any, length: str | None, status: int) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{page.client.host}"}
    answer = page.client.raw("POST", "/set/1/accept", None, {**form, "Content-Length": length})
    assert answer.status == status


def test_a_form_that_was_cut_off_changes_nothing(page: Any) -> None:
    client = page.client
    body = "&".join(f"{name}={value}" for name, value in client.form("/set/1", "/set/1/accept").items()).encode()
    head = (
        f"POST /set/1/accept HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\nOrigin: http://{client.host}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body) + 5}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", client.port), timeout=120) as connection:
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert page.decisions() == []


def test_what_is_no_http_gets_an_answer_and_no_traceback(page: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        b"\x16\x03\x01\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"/" * 70000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", page.client.port), timeout=120) as connection:
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert page.client.get("/set/1").status == 200
    assert capsys.readouterr() == ("", "")


def test_a_form_with_too_many_fields_is_not_read(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    form = page.client.form("/set/1", "/set/1/accept")
    monkeypatch.setattr(server_module, "MOST_FIELDS", 3)
    assert page.client.post("/set/1/accept", form).status == 400
    assert page.decisions() == []


def test_a_port_that_is_taken_is_one_line(page: Any, tmp_path: Path) -> None:
    with Catalog(page.file) as catalog, Journal(tmp_path / "new.sqlite") as journal:
        queue = Queue(catalog, Ledger(journal))
        with pytest.raises(UserError, match=rf"^port {page.client.port} is taken; name another"):
            ReviewServer(queue, page.client.port)


def test_after_its_end_nothing_is_answered_from_closed_files(
    running: Run, sound: list[IsomerSet], capsys: pytest.CaptureFixture[str]
) -> None:
    page = running(sound)
    client = page.client
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=120)
    request = f"GET /set/1 HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\n\r\n".encode()
    with connection:
        connection.sendall(request)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        page.server.shutdown()
        page.server.server_close()
        threading.Event().wait(0.2)
        page_text = b""
        while b"</html>" not in page_text:
            more = connection.recv(1 << 20)
            assert more
            page_text += more
        connection.sendall(request)
        assert connection.recv(15) == b"HTTP/1.1 503 Se"
    assert capsys.readouterr().err == ""
