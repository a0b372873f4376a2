"""A round trip with an inference server that is not ours: ``transformers serve`` with the student's weights."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from isograd.student import student_path

SEEDS = [
    {"question": "Ann had 3 apples and was given 4 more. How many has she now?", "answer": "3+4=<<3+4=7>>7\n#### 7"},
    {"question": "A clinic used 2 of its 9 kits. How many are left?", "answer": "9-2=<<9-2=7>>7\n#### 7"},
]


def started(command: list[str], environment: dict[str, str], log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server that answers, and its address. It takes a port that was free a moment ago: another process may be
    faster, and then the server ends."""
    deadline = time.monotonic() + 500
    for _ in range(3):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with log.open("w") as file:
            server = subprocess.Popen([*command, "--port", str(port)], env=environment, stdout=file, stderr=file)
        try:
            while server.poll() is None:
                assert time.monotonic() < deadline
                try:
                    httpx.get(f"http://localhost:{port}/health").raise_for_status()
                    return server, f"http://localhost:{port}"
                except httpx.TransportError:
                    time.sleep(0.2)
        except BaseException:
            server.kill()
            server.wait()
            raise
        if "address already in use" not in log.read_text():
            break
    raise AssertionError(log.read_text()[-2000:])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_call_is_answered_and_every_seed_ends_with_a_reason(tmp_path: Path) -> None:
    for package in ("fastapi", "uvicorn", "openai"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"transformers serve needs {package}: pip install transformers[serving]")
    model = tmp_path / "model"
    shutil.copytree(student_path(), model)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings["chat_template"] = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    seeds = tmp_path / "train.jsonl"
    seeds.write_text("".join(json.dumps(row) + "\n" for row in SEEDS))
    (tmp_path / "cache").mkdir()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "cache")}
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--device", "cpu"]
    server, url = started(command, environment, tmp_path / "server.log")
    try:
        teach = [
            sys.executable,
            "-m",
            "isograd",
            "isomers",
            "teach",
            str(seeds),
            "--format",
            "gsm8k",
            "--split",
            "train",
        ]
        taught = subprocess.run(
            [*teach, "--output", str(tmp_path / "out"), "--model", str(model), "--base-url", f"{url}/v1"],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        server.terminate()
        server.wait()
    assert taught.returncode == 0, taught.stderr
    # A student of a million parameters cannot abstract anything: what matters is that it was asked, and was heard.
    rejects = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert len(rejects) == len(SEEDS)
    for reject in rejects:
        assert reject["stage"] == "abstract"
        assert reject["reasons"] in (["not_json"], ["truncated"], ["schema"])
        assert reject["texts"][""].strip()
    assert (tmp_path / "server.log").read_text().count('POST /v1/chat/completions HTTP/1.1" 200') >= 2
