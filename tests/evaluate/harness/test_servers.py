"""OpenAI-compatible servers over real HTTP: chat completions, and plain completions with log-probabilities."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from scripted import INVENTED
from tests.teacher.chat_server import ChatServer
from tests.teacher.chat_server import Plan as Faults

from isograd.common.errors import UserError
from isograd.evaluate.benchmarks import Plan, evaluate_benchmarks
from isograd.evaluate.harness.backends import Backend, Subject
from isograd.student import student_path

PLAN = Plan(("reclor",), folder=INVENTED)


def first_option(request: dict[str, Any]) -> str:
    """The good model knows the ferries, the other takes A everywhere."""
    good = request["model"] == "good" and "mill" in request["messages"][-1]["content"]
    return f"We think.\nAnswer: {'B' if good else 'A'}"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    running: list[ThreadingHTTPServer] = []

    def start(server: Any) -> Any:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
        if getattr(server, "log_file", None) is not None:
            server.log_file.close()


def test_two_models_of_a_chat_server(tmp_path: Path, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    log = tmp_path / "calls.jsonl"
    server = serve(ChatServer(first_option, models=("plain", "good"), key="secret", log=log))
    subjects = [Subject("plain", "plain"), Subject("good", "good")]
    backend = Backend("openai", server.url, batch_size=2)
    results = evaluate_benchmarks(subjects, PLAN, tmp_path / "out", backend=backend)
    assert [row["accuracy"] for row in results["scores"]] == [pytest.approx(2 / 6), pytest.approx(3 / 6)]
    (gap,) = results["differences"]
    assert gap["mean"] == pytest.approx(1 / 6)
    calls = [json.loads(line)["request"] for line in log.read_text().splitlines() if '"received"' in line]
    assert len(calls) == 12
    assert all(call["max_tokens"] == 512 and call["temperature"] == 0 for call in calls)
    assert {message["role"] for call in calls for message in call["messages"]} == {"system", "user"}
    # The key is nowhere in what is kept.
    for file in (tmp_path / "out").iterdir():
        assert b"secret" not in file.read_bytes()
    # A second time nothing is asked.
    evaluate_benchmarks(subjects, PLAN, tmp_path / "out", backend=backend)
    assert log.read_text().count('"received"') == 12


def kept(output: Path) -> list[Any]:
    with contextlib.closing(sqlite3.connect(output / "responses.sqlite")) as database:
        return [json.loads(text) for (text,) in database.execute("SELECT response FROM responses")]


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_server_that_stumbles_is_asked_again(
    tmp_path: Path, serve: Any, caplog: pytest.LogCaptureFixture, batch_size: int
) -> None:
    # No request meets three of them, one at a time or all at once.
    script = ("500", "error-200", "", "429", "no-choices", "")
    server = serve(ChatServer(first_option, Faults(script=script), models=("plain",)))
    backend = Backend("openai", server.url, batch_size=batch_size)
    results = evaluate_benchmarks([Subject("plain", "plain")], PLAN, tmp_path, backend=backend)
    assert results["scores"][0]["accuracy"] == pytest.approx(2 / 6)
    assert results["empty"] == []
    assert all(text.endswith("Answer: A") for text in kept(tmp_path))
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(("fault", "batch_size"), [("500", 1), ("500", 8), ("error-200", 8)])
def test_a_server_that_gives_up_leaves_what_came(
    tmp_path: Path, serve: Any, caplog: pytest.LogCaptureFixture, fault: str, batch_size: int
) -> None:
    first = min(4 * batch_size, 6)
    server = serve(ChatServer(first_option, Faults(script=("",) * first + (fault,) * 30), models=("plain", "good")))
    backend = Backend("openai", server.url, batch_size=batch_size)
    # At eight at a time one batch holds all documents, and it is the next model's that fails.
    models = [Subject("plain", "plain"), Subject("good", "good")]
    with pytest.raises(
        UserError, match=r"^http://127.*: no answer for reclor; what came is kept, run again to go on: "
    ) as caught:
        evaluate_benchmarks(models, PLAN, tmp_path, backend=backend)
    assert "\n" not in str(caught.value)
    assert len(kept(tmp_path)) == first
    del caught
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    server.plan = Faults()
    before = server.number
    results = evaluate_benchmarks(models, PLAN, tmp_path, backend=backend)
    assert [row["n"] for row in results["scores"]] == [6, 6]
    assert server.number - before == 12 - first


@pytest.mark.parametrize("batch_size", [1, 8])
def test_an_answer_without_text_is_wrong_and_not_kept(tmp_path: Path, serve: Any, batch_size: int) -> None:
    server = serve(ChatServer(first_option, Faults(script=("null", "", "refusal")), models=("plain",)))
    backend = Backend("openai", server.url, batch_size=batch_size)
    results = evaluate_benchmarks([Subject("plain", "plain")], PLAN, tmp_path, backend=backend)
    assert results["empty"] == [{"benchmark": "reclor", "model": "plain", "n": 2}]
    assert "reclor, plain: 2 answers of the server held no text" in (tmp_path / "results.md").read_text()
    assert len(kept(tmp_path)) == 4
    results = evaluate_benchmarks([Subject("plain", "plain")], PLAN, tmp_path, backend=backend)
    assert server.number == 8
    assert (results["empty"], results["scores"][0]["accuracy"]) == ([], pytest.approx(2 / 6))


def test_a_completions_server_that_gives_no_likelihoods(tmp_path: Path, serve: Any) -> None:
    class Texts(_Completions):
        logprobs = False

    row = {"id": "0", "question": "Which?", "choices": {"text": ["7", "8"], "label": ["A", "B"]}, "answerKey": "A"}
    (tmp_path / "arc_challenge.jsonl").write_text(json.dumps(row))
    server = serve(ThreadingHTTPServer(("127.0.0.1", 0), Texts))
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    backend = Backend("completions", url, tokenizer=str(student_path()), batch_size=8)
    plan = Plan(("arc_challenge",), folder=tmp_path)
    with pytest.raises(UserError, match=r"no answer for arc_challenge; .* a reply without 'logprobs'"):
        evaluate_benchmarks([Subject("m", "m")], plan, tmp_path / "out", backend=backend)


def test_a_chat_server_cannot_compare_likelihoods(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mmlu_law compares log-likelihoods, which chat completions do not give"):
        evaluate_benchmarks(
            [Subject("m", "m")], Plan(("mmlu_law",)), tmp_path, backend=Backend("openai", "http://x/v1")
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "openai"}, "needs the server's address"),
        ({"kind": "hf", "url": "http://x/v1"}, "asks no server"),
        ({"kind": "gpt"}, "unknown backend 'gpt'; there are hf, vllm, openai, completions"),
        ({"batch_size": 0}, "at least 1"),
        ({"kind": "completions", "url": "http://x/v1", "chat_template": True}, "sends plain prompts"),
        ({"tokenizer": "x"}, "takes no tokenizer"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Backend(**settings)


class _Completions(BaseHTTPRequestHandler):
    """Echoes the prompt's tokens with log-probabilities by which the last of equally long options is best."""

    logprobs = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        tokens = request["prompt"][0] if isinstance(request["prompt"][0], list) else request["prompt"]
        values = [None, *(-1.0 / (1 + token) for token in tokens[1:]), -1.0]
        logprobs = {"token_logprobs": values, "top_logprobs": [{"x": 0.0}] * len(values)} if self.logprobs else None
        body = json.dumps({"choices": [{"index": 0, "text": "", "logprobs": logprobs}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_likelihoods_of_a_completions_server(tmp_path: Path, serve: Any) -> None:
    rows = [
        {
            "id": str(i),
            "question": "Which?",
            "choices": {"text": ["7", "8", "9"], "label": list("ABC")},
            "answerKey": key,
        }
        for i, key in enumerate("CCA")
    ]
    (tmp_path / "arc_challenge.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    server = serve(ThreadingHTTPServer(("127.0.0.1", 0), _Completions))
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    backend = Backend("completions", url, tokenizer=str(student_path()), batch_size=1)
    plan = Plan(("arc_challenge",), folder=tmp_path)
    results = evaluate_benchmarks([Subject("m", "m")], plan, tmp_path / "out", backend=backend)
    # A token's number is higher the later it stands in the vocabulary, and 9 stands after 7 and 8.
    assert results["scores"][0]["accuracy"] == pytest.approx(2 / 3)
    with pytest.raises(UserError, match=r"the tokenizer of 'm' cannot be loaded; name it by --tokenizer"):
        evaluate_benchmarks(
            [Subject("m", "m")], plan, tmp_path / "other", backend=Backend("completions", url, batch_size=1)
        )
