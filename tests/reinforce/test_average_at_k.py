"""The script that asks a server k times: scores, resuming after a kill, paired differences, mistakes in one line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.scripts import load_script
from tests.teacher.chat_server import Running, running_server

from isograd.common.errors import UserError

SCRIPT = Path(__file__).parents[2] / "examples" / "average_at_k.py"
ANSWER = f"{Path(__file__).with_name('aime_answers.py')}:answer"
PROBLEMS = [
    {"problem": "Find the sum of all integer bases b > 9 for which 17_b divides 97_b.", "answer": 70},
    {"problem": "Find the probability, as a fraction.", "answer": r"\frac{9}{4}"},
    {"problem": "Find the remainder when N is divided by 1000.", "answer": 0},
]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script(SCRIPT)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "aime.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    return tmp_path / "aime.jsonl"


def words(server: Running, data: Path, output: Path, model: str = "teacher", **more: object) -> list[str]:
    asked = {"model": model, "base-url": server.url, "dataset": data, "output": output, "samples": 6, **more}
    return [str(word) for name, value in asked.items() for word in (f"--{name}", value)]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_scores_and_their_paired_difference(
    script: ModuleType, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_server(tmp_path, answer=ANSWER, models=("teacher", "better")) as server:
        script.main(words(server, data, tmp_path / "one", temperature=0.7, **{"top-p": 0.9, "max-tokens": 300}))
        sent = [call["request"] for call in server.calls()]
        odd = sum(body["seed"] % 2 for body in sent if "remainder" in body["messages"][-1]["content"])
        assert 0 < odd < 6
        assert len({body["seed"] for body in sent}) == len(sent) == 18
        assert {(body["temperature"], body["top_p"], body["max_tokens"]) for body in sent} == {(0.7, 0.9, 300)}
        told = capsys.readouterr().out
        share = (1 + odd / 6) / 3
        assert f"avg@6 {share:.4f} [0.0000, 1.0000] on 3 problems; 6 of 18 answers cut off" in told
        verdicts = {(row["problem"], row["verdict"]) for row in rows_of(tmp_path / "one")}
        assert verdicts == {(0, "right"), (1, "unreadable"), (2, "right"), (2, "wrong")}

        script.main(words(server, data, tmp_path / "two", "better", samples=3, against=tmp_path / "one"))
        told = capsys.readouterr().out
        assert "avg@3 0.6667" in told
        gain = 1 - odd / 6
        assert f"minus {tmp_path / 'one'}: {gain / 3:+.4f} [+0.0000, {gain:+.4f}]" in told

        # More samples add to what is there; fewer are the first ones.
        script.main(words(server, data, tmp_path / "two", "better", samples=4))
        assert len(server.calls()) == 18 + 12
        script.main(words(server, data, tmp_path / "two", "better", samples=1))
        assert len(server.calls()) == 18 + 12
        assert "avg@1 0.6667 [0.0000, 1.0000] on 3 problems; 1 of 3 answers" in capsys.readouterr().out


@pytest.mark.slow
def test_what_is_there_after_a_kill_is_not_asked_again(data: Path, tmp_path: Path, script: ModuleType) -> None:
    output = tmp_path / "out"
    # Six answers, then none: the kill finds the script waiting.
    with running_server(tmp_path, answer=ANSWER, script=[""] * 6 + ["hang"] * 2, hang=600) as server:
        command = words(server, data, output, concurrency=2)
        process = subprocess.Popen([sys.executable, str(SCRIPT), *command], stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 240
        # Both calls that are not answered have come, too: none of them waits for the second start.
        while not (output / "samples.jsonl").exists() or len(rows_of(output)) < 6 or len(server.calls()) < 8:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate()
        there = rows_of(output)
        assert len(there) == 6
        with (output / "samples.jsonl").open("a") as file:
            file.write('{"problem": 2, "sam')
        before = len(server.calls())
        script.main(command)
        assert len(server.calls()) - before == 12
        rows = rows_of(output)
        assert rows[: len(there)] == there
        assert {(row["problem"], row["sample"]) for row in rows} == {(p, s) for p in range(3) for s in range(6)}
        script.main(words(server, data, tmp_path / "whole"))
        key = json.dumps
        assert sorted(map(key, rows_of(tmp_path / "whole"))) == sorted(map(key, rows))


def test_mistakes(script: ModuleType, data: Path, tmp_path: Path) -> None:
    with running_server(tmp_path, answer=ANSWER) as server:
        first = words(server, data, tmp_path / "first", samples=2)
        script.main(first)
        with pytest.raises(UserError, match=r"first: holds samples with other top_p; give another --output"):
            script.main([*first, "--top-p", "0.5"])
        with pytest.raises(UserError, match="no model 'teachr'; did you mean --model 'teacher'"):
            script.main(words(server, data, tmp_path / "typo", model="teachr"))
        with pytest.raises(UserError, match="row 0: nothing in 'solution'; there are: problem, answer"):
            script.main([*first, "--answer-column", "solution"])
        with pytest.raises(UserError, match=r"none\.jsonl: cannot be read as JSON lines"):
            script.main([*first, "--dataset", str(tmp_path / "none.jsonl")])
        with pytest.raises(UserError, match="several answers must differ"):
            script.main([*first, "--temperature", "0"])
        fewer = tmp_path / "fewer.jsonl"
        fewer.write_text(json.dumps(PROBLEMS[0]))
        with pytest.raises(UserError, match="other problems, which cannot be paired"):
            script.main(words(server, fewer, tmp_path / "second", against=tmp_path / "first"))
        lines = (tmp_path / "first" / "samples.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "first" / "samples.jsonl").write_text("".join(lines[:-1]))
        with pytest.raises(UserError, match="first: samples are missing"):
            script.main(words(server, data, tmp_path / "second", against=tmp_path / "first"))
    done = subprocess.run([sys.executable, str(SCRIPT), *first], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no server answers at ")
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_refuses_ends_the_run_in_one_line(script: ModuleType, data: Path, tmp_path: Path) -> None:
    with (
        running_server(tmp_path, answer=ANSWER, context=120) as server,
        pytest.raises(UserError, match="maximum context length"),
    ):
        script.main(words(server, data, tmp_path / "out"))
