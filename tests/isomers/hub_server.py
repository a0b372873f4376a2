"""The few endpoints of a dataset hub that pushing and loading need, over real HTTP on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_testtesttesttesttesttesttesttest"


class Hub(ThreadingHTTPServer):
    """A hub that keeps the files of its repositories in memory.

    Attributes:
        repos: files by path, by repository.
        private: the repositories that were made private.
        commits: what each commit did: (message, paths added, paths deleted).
        refuse: status to answer with, by the first path that begins with the key.
        texts: everything that clients sent but their authorization.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.commits: list[tuple[str, list[str], list[str]]] = []
        self.refuse: dict[str, int] = {}
        self.texts: list[bytes] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def sha(self) -> str:
        return hashlib.sha1(str(len(self.commits)).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def _answer(self, content: Any, status: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _respond(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub.texts.append(path.encode() + b"\n" + body)
        for start, status in hub.refuse.items():
            if path.startswith(start):
                self._answer({"error": "refused"}, status, X_Error_Message="refused")
                return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid username or password."}, 401)
        elif path == "/api/validate-yaml":
            known = b"no-such-license" not in body
            faults = [] if known else [{"message": '"license" must be one of [apache-2.0, ...]'}]
            self._answer({"warnings": [], "errors": faults}, 200 if known else 400)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'user'}/{asked['name']}"
            assert asked["type"] == "dataset"
            new = name not in hub.repos
            hub.repos.setdefault(name, {})
            if new and asked.get("visibility") == "private":
                hub.private.add(name)
            self._answer({"url": f"{hub.address}/datasets/{name}"}, 200 if new else 409)
        else:
            self._repository(path, body)

    def _repository(self, path: str, body: bytes) -> None:
        hub = self.server
        parts = path.removeprefix("/api").removeprefix("/datasets/").split("/")
        name, action, rest = "/".join(parts[:2]), parts[2:3], "/".join(parts[4:])
        if name not in hub.repos:
            self._answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            return
        files = hub.repos[name]
        if action == ["preupload"]:
            asked = [file["path"] for file in json.loads(body)["files"]]
            self._answer({"files": [{"path": file, "uploadMode": "regular", "shouldIgnore": False} for file in asked]})
        elif action == ["commit"]:
            self._commit(name, body)
        elif action == ["tree"]:
            self._answer(
                [
                    {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for file, data in files.items()
                ]
            )
        elif action == ["resolve"] and rest in files:
            data = files[rest]
            self._answer(data, X_Repo_Commit=hub.sha, ETag=f'"{hashlib.sha1(data).hexdigest()}"')
        elif action in ([], ["revision"]):
            siblings = [{"rfilename": file} for file in files]
            self._answer({"id": name, "sha": hub.sha, "private": name in hub.private, "siblings": siblings})
        else:
            self._answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")

    def _commit(self, name: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        hub, added, deleted = self.server, [], []
        files = hub.repos[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
                added.append(value["path"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
                deleted.append(value["path"])
        hub.commits.append((header["summary"], added, deleted))
        address = f"{hub.address}/datasets/{name}/commit/{hub.sha}"
        self._answer({"commitOid": hub.sha, "commitUrl": address, "success": True})

    do_GET = do_HEAD = do_POST = _respond  # noqa: N815


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
