"""Mathematically equal answers: a real subprocess that is bombed, killed and restarted."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from isograd.common.errors import UserError
from isograd.common.mathematics import MathWorker
from isograd.common.mathematics_worker import as_text, is_words, rewritten
from isograd.reinforce.rewards import MathEqual, math_equal

BOMB = "9^(9^(9^9))"

EQUAL = [
    (r"\frac{1}{2}", "0.5"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    ("x^2+2x+1", "(x+1)^2"),
    (r"\{1,2\}", r"\{2,1\}"),
    ("[0,1)", "[0,1)"),
    (r"[1,2]\cup[3,4]", r"[3,4]\cup[1,2]"),
    (r"x\le 2", r"(-\infty,2]"),
    ("50%", "0.5"),
    ("5 cm", "5"),
    ("18", "$18.00"),
    ("1,234", "1234"),
    ("10000", "10 000"),
    (r"1\,000", "1000"),
    ("1000", "1e3"),
    ("0.0015", "1.5e-3"),
    (r"2\sqrt{2}", "2√2"),
    ("½", "0.5"),
    ("-5", "−5"),
    ("x=5", "5"),
    ("1", "ln(e)"),
    ("3628800", "10!"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    ("5", r"\boxed{5}"),
    (r"\text{yes}", "Yes."),
    ("north", "North"),
]

DIFFERENT = [
    ("[0,1)", "[0,1]"),
    ("(1,2)", "(2,1)"),
    ("4", "3 or 4"),
    ("4", "$3$ or $4$"),
    ("4", "3, 4"),
    ("0", "10 000"),
    ("2", "2√2"),
    ("0", r"0.\overline{3}"),
    ("51/2", "5 1/2"),
    ("silent", "listen"),
    ("x", "y"),
    (r"\pi", "3.14"),
]


@pytest.fixture(scope="module")
def worker() -> Iterator[MathWorker]:
    worker = MathWorker()
    yield worker
    worker.close()


def _stated(pairs: list[tuple[str, str]]) -> list[tuple[str, str, bool]]:
    return [(gold, answer, False) for gold, answer in pairs]


def test_what_is_equal_and_what_is_not(worker: MathWorker) -> None:
    verdicts = worker.compare(_stated(EQUAL + DIFFERENT))
    wanted = ["right"] * len(EQUAL) + ["wrong"] * len(DIFFERENT)
    assert [
        (pair, verdict)
        for pair, verdict, want in zip(EQUAL + DIFFERENT, verdicts, wanted, strict=True)
        if verdict != want
    ] == []


def test_what_math_verify_does_not_know(worker: MathWorker) -> None:
    # Not wished for: recorded, so that a new version that does better is noticed.
    taken_for_equal = [("50%", "50"), ("5 cm", "5 m"), ("1/3", "0.333333")]
    taken_for_different = [("3.5", "3 1/2"), ("-1", "i^2"), (r"(-\infty,2]", r"x\le 2"), (r"0.\overline{3}", "1/3")]
    assert worker.compare(_stated(taken_for_equal)) == ["right"] * len(taken_for_equal)
    assert worker.compare(_stated(taken_for_different)) == ["wrong"] * len(taken_for_different)


def test_an_answer_in_a_text(worker: MathWorker) -> None:
    texts = [r"so we get $\frac{2}{4}$.", r"thus \boxed{0.5}, as 7 is odd", "that makes 1/2", "no idea", "it is 3"]
    verdicts = worker.compare([("0.5", text, True) for text in texts])
    assert verdicts == ["right", "right", "right", "unreadable", "wrong"]


def test_a_bomb_changes_nothing_for_the_others() -> None:
    quiet = [("0.5", r"\frac{1}{2}"), ("4", "5"), (r"\sqrt{8}", r"2\sqrt{2}"), ("x+1", "1+x")]
    worker = MathWorker(timeout=1.0)
    before = worker.compare(_stated(quiet))
    first = worker.pid
    bombed = worker.compare(_stated([quiet[0], ("4", BOMB), quiet[1], ("4", r"(10^9)!"), *quiet[2:]]))
    # The bomb was judged in a copy; the process that copies itself is as it was.
    assert worker.pid == first
    assert [bombed[row] for row in (0, 2, 4, 5)] == before == ["right", "wrong", "right", "right"]
    assert bombed[1] in ("late", "wrong")
    assert bombed[3] == "late"
    worker.close()
    assert worker.pid is None


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a system that can stop a process")
def test_a_child_killed_from_outside_changes_no_verdict(worker: MathWorker) -> None:
    pairs = _stated([(f"x^2+{2 * k}x+{k * k}", f"(x+{k + (k % 3 == 0)})^2") for k in range(1, 13)])
    wanted = ["wrong" if k % 3 == 0 else "right" for k in range(1, 13)]
    assert worker.compare(pairs) == wanted
    first = worker.pid
    assert first is not None
    # Stopped, it is in the midst of the first pair for certain when it is killed.
    os.kill(first, signal.SIGSTOP)
    killer = threading.Timer(0.5, os.kill, (first, signal.SIGKILL))
    killer.start()
    assert worker.compare(pairs) == wanted
    killer.join()
    second = worker.pid
    assert second not in (None, first)
    # Also a kill between two calls.
    os.kill(second or 0, signal.SIGKILL)
    assert worker.compare(pairs[::-1]) == wanted[::-1]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a system that can stop a process")
def test_a_child_that_does_nothing_is_given_up() -> None:
    worker = MathWorker(patience=6.0)
    worker.compare(_stated([("1", "1")]))
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    assert worker.compare(_stated([("1", "2")])) == ["late"]
    assert not psutil.pid_exists(first)
    worker.close()


def test_hostile_texts_are_not_equal() -> None:
    worker = MathWorker(timeout=0.5)
    texts = ["(" * 1500 + "1" + ")" * 1500, "\x00" * 50, "\ud800\udfff", "{" * 3000, r"\frac{" * 300, "1/0", "\n\n"]
    assert set(worker.compare(_stated([("4", text) for text in texts]))) <= {"wrong", "unreadable", "late"}
    assert worker.compare(_stated([("\ud800", "4"), ("\x00", "4")])) == ["wrong", "wrong"]
    worker.close()


def test_the_reward_reads_completions() -> None:
    completions = [
        "We add.\nAnswer: 2/4",
        "We add.\n#### 0.5",
        "We add, so \\boxed{\\frac{1}{2}}",
        [{"role": "assistant", "content": "Answer: $0.50$"}],
        "Answer: 3",
        "",
        "Answer: " + "1+" * 500_000 + "1",
        "x" * 1_000_000,
        "Answer: 1/2",
    ]
    golds = ["0.5", "6 / 12 = 0.5 #### 0.5", 0.5, r"\frac12", "0.5", "0.5", "0.5", "0.5", None]
    metrics = {}
    found = MathEqual(wrong=-1.0, unreadable=-2.0)(
        prompts=[""] * 9, completions=completions, answer=golds, log_metric=metrics.__setitem__
    )
    assert found[:7] == [1.0, 1.0, 1.0, 1.0, -1.0, -2.0, -1.0]
    assert found[7] in (-1.0, -2.0)
    assert found[8] is None
    assert metrics == {"math_equal/late": 0.0}
    assert math_equal.__name__ == "math_equal"
    assert pickle.loads(pickle.dumps(math_equal)) == math_equal


def test_the_child_ends_with_its_parent() -> None:
    code = (
        "from isograd.common.mathematics import MathWorker\n"
        "worker = MathWorker()\n"
        "worker.compare([('1', '2', False)])\n"
        "print(worker.pid, flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not psutil.pid_exists(int(done.stdout))


def test_the_child_ends_when_its_parent_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from isograd.common.mathematics import MathWorker\n"
        "worker = MathWorker()\n"
        "worker.compare([('1', '2', False)])\n"
        "print(worker.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert _gone(int(done.stdout))


def _gone(pid: int) -> bool:
    for _ in range(600):
        # Nobody may be there to wait for an orphan.
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def test_without_math_verify_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(
        UserError, match=r"^comparing mathematical answers needs math-verify; pip install 'isograd\[math\]'$"
    ):
        MathEqual(timeout=3.25)(completions=["Answer: 1"], answer=["2"])


def test_a_math_verify_that_does_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with open(f"{tmp_path}/math_verify.py", "w") as file:  # noqa: PTH123
        file.write("raise ImportError('Unsupported ANTLR version')\n")
    with pytest.raises(UserError, match=r"^math-verify does not work here: ImportError: Unsupported ANTLR version$"):
        MathWorker().compare([("1", "2", False)])


def test_limits_must_be_positive() -> None:
    for settings in ({"timeout": 0.0}, {"timeout": float("nan")}, {"memory": -1}):
        with pytest.raises(UserError, match="math_equal"):
            MathEqual(**settings)  # type: ignore[arg-type]


def test_rewriting() -> None:
    assert rewritten("1 234 567.5") == "1234567.5"
    assert rewritten("12 34, 1234 567") == "12 34, 1234 567"
    assert rewritten(r"1{,}000") == "1000"
    assert rewritten("2e3") == r"2 \times 10^{3}"
    assert rewritten("2x") == "2x"
    assert rewritten(r"\ln x, ln x") == r"\ln x, \ln x"
    assert is_words(r"\text{north east}")
    assert not is_words("sin x")
    assert not is_words("ab")
    assert as_text(r"$\boxed{\text{Yes}}.$") == "yes"
