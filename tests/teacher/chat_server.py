"""A small chat server with faults on order, stdlib only: ``/v1/chat/completions`` and ``/v1/models`` over real HTTP.

In its own process: ``python tests/teacher/chat_server.py --port 0 --log calls.jsonl`` prints its port; in a test::

    with running_server(tmp_path, answer=f"{__file__}:answer", faults={"429": 0.2}) as server:
        TeacherClient(server.url, "teacher")
        server.calls()

Each call received is one line of the log, each call answered in full another one.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = Callable[[dict[str, Any]], "str | dict[str, Any]"]

FAULTS = (
    "429",  # with Retry-After in seconds
    "429-date",  # with Retry-After as an HTTP date
    "500",
    "502",
    "503",  # with Retry-After
    "504",
    "529",
    "drip",  # a byte every 50 ms, for ever longer than the client's patience
    "drop",  # the connection closes in the middle of the body
    "close",  # the connection closes before the status
    "hang",  # no answer for `hang` seconds
    "broken-json",  # status 200
    "html",  # status 200
    "no-choices",  # status 200
    "error-200",  # status 200 with an error inside
    "truncated",  # half the answer, finish_reason length
    "fenced",  # the answer in a fence, with words around it
    "prose",  # words instead of the schema's JSON
    "null",  # no content
    "thinking",  # <think> before the answer
    "thinking-field",  # reasoning_content beside the answer
    "thinking-cut",  # <think> that never ends, finish_reason length
    "no-usage",
    "refusal",
    "slow",  # ten times the latency
)


@dataclass
class Plan:
    """Which call meets which fault.

    A fault is drawn from a hash of seed, call and try, not from the order in which calls arrive: the plan is the same
    whatever the concurrency.

    Attributes:
        script: faults of the first calls received, in order; ``""`` for none.
        faults: probability of each fault for the calls after the script.
        most: faults that one call can meet before it is answered.
        seed: of the draws.
        retry_after: seconds in ``Retry-After``.
    """

    script: Sequence[str] = ()
    faults: Mapping[str, float] = field(default_factory=dict)
    most: int = 3
    seed: int = 0
    retry_after: float = 1.0

    def __post_init__(self) -> None:
        unknown = {*self.script, *self.faults} - {*FAULTS, ""}
        if unknown:
            raise SystemExit(f"unknown faults {sorted(unknown)}; there are {', '.join(FAULTS)}")

    def fault(self, number: int, call: str, tries: int) -> str:
        """The fault of the ``number``-th call received, which is the ``tries``-th try of ``call``; both from 0."""
        if number < len(self.script):
            return self.script[number]
        if tries >= self.most:
            return ""
        digest = hashlib.blake2b(f"{self.seed} {call} {tries}".encode(), digest_size=8).digest()
        draw = random.Random(int.from_bytes(digest, "big")).random()
        for name, probability in self.faults.items():
            draw -= probability
            if draw < 0:
                return name
        return ""


def echo(request: dict[str, Any]) -> str:
    """The default answer: JSON with the last message."""
    return json.dumps({"echo": request["messages"][-1]["content"]})


class ChatServer(ThreadingHTTPServer):
    """The server. ``answer`` may return the text, or a whole message as a dictionary.

    Two entries of such a message are not sent: ``finish_reason`` goes where it belongs, and ``fault``, the name of what
    is wrong with the content, into the log.

    Args:
        answer: what to say.
        plan: which call meets which fault.
        models: names that ``/v1/models`` lists; empty to answer it with 404.
        latency: seconds before each answer.
        log: file for one JSON line per event.
        port: 0 for a free one.
        refuses: fields or values of the request that are answered with 400: ``json_schema``, ``json_object``,
            ``max_tokens``, ``seed``; ``bad`` for a last message that begins so.
        key: the bearer token that is asked for.
        capacity: calls under way beyond which 429 is answered; 0 for no limit.
        context: characters of all messages beyond which 400 is answered; 0 for no limit.
        hang: seconds of the fault of that name.
        brief: whether the log leaves out what was asked.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(
        self,
        answer: Answer = echo,
        plan: Plan | None = None,
        *,
        models: Sequence[str] = ("teacher",),
        latency: float = 0.0,
        log: Path | None = None,
        port: int = 0,
        refuses: Sequence[str] = (),
        key: str = "",
        capacity: int = 0,
        context: int = 0,
        hang: float = 30.0,
        brief: bool = False,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer, self.plan, self.models, self.latency = answer, plan or Plan(), models, latency
        self.refuses, self.key, self.capacity, self.context, self.hang = refuses, key, capacity, context, hang
        self.brief = brief
        self.lock = threading.Lock()
        self.number = self.under_way = self.most_under_way = 0
        self.tries: Counter[str] = Counter()
        self.log_file = log.open("a", encoding="utf-8") if log else None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def note(self, event: str, **what: Any) -> None:
        if self.log_file is not None:
            with self.lock:
                self.log_file.write(json.dumps({"event": event, "time": time.time()} | what) + "\n")
                self.log_file.flush()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    content_fault = ""
    wbufsize = -1  # status, headers and body leave together

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self._locked():
            return
        if self.path == "/v1/models" and self.server.models:
            self._send(
                200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.models]}
            )
        else:
            self._error(404, "Not Found")

    def do_POST(self) -> None:
        server = self.server
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._locked():
            return
        if self.path != "/v1/chat/completions":
            self._error(404, "Not Found")
            return
        request = json.loads(raw)
        call = call_name(request)
        with server.lock:
            number, tries = server.number, server.tries[call]
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
            under_way = server.under_way
            refusal = self._refusal(request)
            if not refusal:  # a refusal uses up no fault
                server.number += 1
                server.tries[call] += 1
        fault = "" if refusal else server.plan.fault(number, call, tries)
        server.note(
            "received", number=number, call=call, tries=tries, fault=fault, refused=bool(refusal), under_way=under_way,
            **({} if server.brief else {"request": request}),
        )  # fmt: skip
        try:
            time.sleep(server.latency * (10 if fault == "slow" else 1))
            if refusal:
                self._error(*refusal)
            elif server.capacity and under_way > server.capacity:
                self._error(429, "too many calls", {"Retry-After": "0"})
            elif self._complete(request, fault):
                server.note("answered", number=number, call=call, content_fault=self.content_fault)
        finally:
            with server.lock:
                server.under_way -= 1

    def _locked(self) -> bool:
        if self.server.key and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self._error(401, f"Incorrect API key provided: {self.headers.get('Authorization')}")
            return True
        return False

    def _refusal(self, request: dict[str, Any]) -> tuple[int, str] | None:
        server, format_ = self.server, (request.get("response_format") or {}).get("type")
        if server.models and request["model"] not in server.models:
            return 404, f"The model `{request['model']}` does not exist."
        if server.context and sum(len(message["content"]) for message in request["messages"]) > server.context:
            return 400, f"This model's maximum context length is {server.context} tokens."
        if format_ in server.refuses:
            return 400, f"response_format: type {format_} is not supported by this server"
        if "bad" in server.refuses and request["messages"][-1]["content"].startswith("bad"):
            return 400, "response_format: unwelcome"
        if "max_tokens" in server.refuses and "max_tokens" in request:
            return 400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        if "seed" in server.refuses and "seed" in request:
            return 422, "Unexpected fields in the request: {'seed'}"
        return None

    def _complete(self, request: dict[str, Any], fault: str) -> bool:
        """Answer; whether the client got a chat completion."""
        plan = self.server.plan
        if fault == "429-date":
            self._error(429, "slow down", {"Retry-After": formatdate(time.time() + plan.retry_after, usegmt=True)})
            return False
        if fault.isdigit():
            headers = {"Retry-After": f"{plan.retry_after:g}"} if fault in ("429", "503") else {}
            self._error(int(fault), f"fault {fault}", headers)
            return False
        if fault in ("close", "hang"):
            time.sleep(self.server.hang if fault == "hang" else 0)
            self.close_connection = True
            return False
        if fault in ("html", "broken-json"):
            text = "<html>502 bad gateway</html>" if fault == "html" else '{"choices": [{"message": {"content": "ab'
            self._send(200, text)
            return False
        body = self._completion(request, fault)
        if fault in ("drop", "drip"):
            self._partly(json.dumps(body).encode(), fault)
            return False
        self._send(200, body)
        return bool(body.get("choices"))

    def _completion(self, request: dict[str, Any], fault: str) -> dict[str, Any]:
        if fault == "no-choices":
            return {"object": "chat.completion", "choices": []}
        if fault == "error-200":
            return {"error": {"message": "provider returned an error", "code": 502}}
        answer = self.server.answer(request)
        message = {"role": "assistant", "content": answer} if isinstance(answer, str) else dict(answer)
        self.content_fault = message.pop("fault", "")
        text, finish = message.get("content") or "", message.pop("finish_reason", "stop")
        if fault == "truncated":
            message["content"], finish = text[: len(text) // 2], "length"
        elif fault == "fenced":
            message["content"] = f"Here you are:\n\n```json\n{text}\n```\n\nDoes this help?"
        elif fault == "prose":
            message["content"] = "The answer has three parts. First, consider the premises."
        elif fault == "null":
            message["content"] = None
        elif fault == "thinking":
            message["content"] = f"<think>\nLet me see {{}}.\n</think>\n\n{text}"
        elif fault == "thinking-field":
            message["reasoning_content"] = "Let me see."
        elif fault == "thinking-cut":
            message["content"], finish = "<think>\nLet me see, and see", "length"
        elif fault == "refusal":
            message |= {"content": None, "refusal": "I can't help with that."}
        prompt = sum(len(entry["content"]) for entry in request["messages"]) // 4 + 8
        usage = {"prompt_tokens": prompt, "completion_tokens": len(text) // 4 + 1}
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": request["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        }
        return body if fault == "no-usage" else body | {"usage": usage}

    def _partly(self, body: bytes, fault: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = True
        if fault == "drop":
            self.wfile.write(body[: len(body) // 2])
            return
        for place in range(len(body) - 1):
            self.wfile.write(body[place : place + 1])
            self.wfile.flush()
            time.sleep(0.05)

    def _error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, {"error": {"message": message, "type": "test", "code": status}}, headers)

    def _send(self, status: int, body: dict[str, Any] | str, headers: Mapping[str, str] | None = None) -> None:
        raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


def call_name(request: Mapping[str, Any]) -> str:
    """What makes two requests the same call, however the server's dialect was found out."""
    own = {name: request.get(name) for name in ("model", "messages", "temperature")}
    own["limit"] = request.get("max_tokens") or request.get("max_completion_tokens")
    own["seed"] = request.get("seed") if (request.get("temperature") or 0) > 0 else None
    return hashlib.blake2b(json.dumps(own, sort_keys=True).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Running:
    """A server in its own process."""

    url: str
    log: Path
    process: subprocess.Popen[str]

    def events(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one kind."""
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        # The server may be in the midst of the last line.
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [line for line in lines if line["event"] == event]

    def calls(self) -> list[dict[str, Any]]:
        """The calls received, in order."""
        return self.events("received")

    def answered_twice(self) -> list[str]:
        """The calls that were answered in full more than once."""
        counts = Counter(line["call"] for line in self.events("answered"))
        return [call for call, count in counts.items() if count > 1]


@contextmanager
def running_server(
    folder: Path,
    *,
    answer: str = "",
    script: Sequence[str] = (),
    faults: Mapping[str, float] | None = None,
    models: Sequence[str] = ("teacher",),
    refuses: Sequence[str] = (),
    log: str = "calls.jsonl",
    **numbers: float | str,
) -> Iterator[Running]:
    """A server in its own process, until the block ends.

    Args:
        folder: where its log is written.
        answer: ``FILE.py:FUNCTION`` of ``answer(request) -> str``.
        script: see :class:`Plan`.
        faults: see :class:`Plan`.
        models: see :class:`ChatServer`.
        refuses: see :class:`ChatServer`.
        log: name of the log in ``folder``.
        numbers: any other option of the command line, such as ``latency=0.1, retry_after=2, seed=3, capacity=4``.
    """
    command = [sys.executable, str(Path(__file__)), "--log", str(folder / log), "--models", *models]
    command += ["--refuses", *refuses, "--faults", *(f"{name}={share}" for name, share in (faults or {}).items())]
    command += [f"--script={','.join(script)}"] if script else []
    command += ["--answer", answer] if answer else []
    command += [f"--{name.replace('_', '-')}={value}" for name, value in numbers.items()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port.isdigit(), f"the server did not start: {' '.join(command)}"
            yield Running(f"http://127.0.0.1:{port}/v1", folder / log, process)
        finally:
            process.kill()


def _load(spec: str) -> Answer:
    file, _, name = spec.rpartition(":")
    sys.path.insert(0, str(Path(file).resolve().parent))
    found = importlib.util.spec_from_file_location("chat_server_answer", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return getattr(module, name)  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--answer", default="", help="FILE.py:FUNCTION")
    parser.add_argument("--models", nargs="*", default=["teacher"])
    parser.add_argument("--refuses", nargs="*", default=[])
    parser.add_argument("--faults", nargs="*", default=[], help="NAME=PROBABILITY")
    parser.add_argument("--script", default=None, help="faults of the first calls, comma-separated")
    for name, kind, default in (
        ("most", int, 3), ("seed", int, 0), ("retry-after", float, 1.0), ("latency", float, 0.0),
        ("capacity", int, 0), ("context", int, 0), ("hang", float, 30.0), ("key", str, ""), ("brief", int, 0),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, default=default)
    args = parser.parse_args()
    faults = {name: float(share) for name, _, share in (pair.partition("=") for pair in args.faults)}
    script = [] if args.script is None else args.script.split(",")
    server = ChatServer(
        _load(args.answer) if args.answer else echo,
        Plan(script, faults, args.most, args.seed, args.retry_after),
        models=args.models, latency=args.latency, log=args.log, port=args.port, refuses=args.refuses, key=args.key,
        capacity=args.capacity, context=args.context, hang=args.hang, brief=bool(args.brief),
    )  # fmt: skip
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
