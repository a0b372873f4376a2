"""The subprocess that compares mathematical answers; one JSON line in, one out.

It runs by its path and imports nothing of isograd: it starts fast, and what it parses can bring down no trainer.
In: ``[gold, answer, free]``, ``free`` being true where the answer is somewhere in a longer text. Out: ``"right"``,
``"wrong"``, ``"unreadable"`` or ``"late"``. Before the first, ``"ready"``, or ``{"error": ...}`` where math-verify does
not load.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

# What math-verify 0.9 reads as something else, in a form that it reads rightly. Each in linear time.
_REWRITES = (
    (re.compile(r"\\\$"), ""),
    (re.compile(r"[−–]"), "-"),
    # 10 000 would be 10 * 0.
    (re.compile(r"(?<![\d.])\d{1,3}(?:(?:[ \u00a0\u2009\u202f]|\\[,;! ]|\{,\})\d{3}(?!\d))+"), "thousands"),
    # 1e3 would be 3e.
    (re.compile(r"(?<![\w\\])(\d+(?:\.\d+)?|\.\d+)[eE]([+-]?\d{1,6})(?!\w)"), r"\1 \\times 10^{\2}"),
    # 2√2 would be 2.
    (re.compile(r"√\s?(\d+|[a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"√\s?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"½"), r"\\frac{1}{2}"),
    (re.compile(r"⅓"), r"\\frac{1}{3}"),
    (re.compile(r"⅔"), r"\\frac{2}{3}"),
    (re.compile(r"¼"), r"\\frac{1}{4}"),
    (re.compile(r"¾"), r"\\frac{3}{4}"),
    (re.compile(r"²"), "^{2}"),
    (re.compile(r"³"), "^{3}"),
    (re.compile(r"∞"), r"\\infty "),
    (re.compile(r"≤"), r"\\le "),
    (re.compile(r"≥"), r"\\ge "),
    # ln(e) would be l * n * e.
    (re.compile(r"(?<![\\a-zA-Z])(ln|log|sin|cos|tan|exp)(?=[\s(^\d])"), r"\\\1"),
)
_SPACES = re.compile(r"[ \u00a0\u2009\u202f,;!{}\\]")
_MARKED = re.compile(r"\$|\\\(|\\\[|\\boxed")
_WORD = re.compile(r"[^\W\d_]{3,}")
_MATHS = frozenset(["sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "sqrt", "and"])
# Read wrongly and without a word: a repeating decimal as a finite one, a number in another base as a decimal one.
_MISREAD = re.compile(r"\\overline|\\bar\b|\\dot|\d_[\d{]")
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|boxed)\{([^{}]*)\}")


def rewritten(text: str) -> str:
    """The text with what math-verify misreads put in another way."""
    for pattern, new in _REWRITES:
        text = pattern.sub(new if new != "thousands" else lambda found: _SPACES.sub("", found[0]), text)
    return text


def is_words(text: str) -> bool:
    """Whether an answer is words, which math-verify would read as products of letters."""
    bare = _bare(text).strip("$ .")
    words = _WORD.findall(bare)
    return bool(words) and not re.search(r"[\d\\^=<>/*+|]", bare) and not _MATHS & {word.lower() for word in words}


def as_text(text: str) -> str:
    """A text without what says nothing: marks of LaTeX text, capitals, more than one space, a final period."""
    # Spaces are not dropped: 5 1/2 is not 51/2.
    return " ".join(_bare(text).strip("$ ").rstrip(".").split()).casefold()


def _bare(text: str) -> str:
    # Twice, for a text within a box.
    return _TEXT.sub(r"\1", _TEXT.sub(r"\1", text))


@lru_cache(maxsize=512)
def _parsed(text: str, free: bool) -> list[Any]:
    from math_verify import parse

    text = rewritten(text)
    # math-verify looks for LaTeX between marks only; the timeouts are ours.
    settings: dict[str, Any] = {"fallback_mode": "no_fallback", "parsing_timeout": None}
    found = [] if free or _MARKED.search(text) else parse(f"${text}$", **settings)
    return list(found or parse(text, **settings))


def compare(gold: str, answer: str, free: bool) -> str:
    """What the answer is worth; see the module's first lines."""
    from math_verify import verify
    from sympy.core import random

    if as_text(gold) == as_text(answer):
        return "right"
    if is_words(gold) or _MISREAD.search(gold) or _MISREAD.search(answer):
        return "wrong"
    # sympy tests equality at points that it draws.
    random.seed(0)
    found = _parsed(answer, free)
    if not found:
        return "unreadable"
    return "right" if verify(_parsed(gold, False), found, timeout_seconds=None) else "wrong"


@contextlib.contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """End this process when the body takes longer: the system does it, also in the midst of one long operation."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _limit_memory(count: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def judged(line: bytes, seconds: float) -> str:
    """The verdict on one line of input."""
    try:
        with processor_time(seconds):
            return compare(*json.loads(line))
    except BaseException:
        # Among others sympy's own errors, no memory left, and nesting that is too deep.
        return "wrong"


class Fork:
    """A copy of this process that judges, and is killed and copied anew where it takes too long.

    A copy costs milliseconds; a new process would load math-verify for seconds. After ``LIFE`` lines it is replaced:
    tables of the parser grow with all that it reads, and memory is limited.
    """

    LIFE = 5000

    def __init__(self, seconds: float, wall: float, inherited: int) -> None:
        self._seconds, self._wall, self._inherited = seconds, wall, inherited
        self._pid, self._asked = 0, 0

    def ask(self, line: bytes) -> str:
        """The verdict; a copy that dies of anything but its limits is asked once more."""
        for _ in range(2):
            if self._pid and self._asked >= self.LIFE:
                self._end()
            if not self._pid:
                self._start()
            self._asked += 1
            try:
                self._questions.write(line)
                self._questions.flush()
                ready, _, _ = select.select([self._answers], [], [], None if math.isinf(self._wall) else self._wall)
                if not ready:
                    self._end()
                    return "late"
                answer = self._answers.readline()
                if answer.endswith(b"\n"):
                    return str(json.loads(answer))
            except OSError:
                pass
            if self._end() == signal.SIGPROF:
                return "late"
        return "late"

    def _start(self) -> None:
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        self._pid, self._asked = os.fork(), 0
        if self._pid == 0:
            # This copy must hold no end by which its parent's death is to be seen.
            for end in (0, self._inherited, to_write, from_read):
                os.close(end)
            with os.fdopen(to_read, "rb") as questions:
                for line in questions:
                    os.write(from_write, json.dumps(judged(line, self._seconds)).encode() + b"\n")
            os._exit(0)
        os.close(to_read)
        os.close(from_write)
        self._questions, self._answers = os.fdopen(to_write, "wb"), os.fdopen(from_read, "rb")

    def _end(self) -> int:
        """End the copy; the signal that it died of."""
        with contextlib.suppress(ProcessLookupError):
            if not os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                # At the end of its output it may still be on its way out, and only then says of what.
                select.select([], [], [], 0.05)
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        for end in (self._questions, self._answers):
            # What was not sent yet cannot be any more.
            with contextlib.suppress(OSError):
                end.close()
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(seconds: float, memory: int, wall: float) -> None:
    """Answer until the input ends."""
    # Ctrl-C is for the trainer, which ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    _limit_memory(memory)
    with os.fdopen(os.dup(1), "w", encoding="ascii") as out:
        # Nothing that a library prints may get between the answers.
        os.dup2(2, 1)
        try:
            # The first parses build tables for seconds; no answer is to pay for that.
            for gold, answer in ((r"\frac{1}{2}", "0.5"), ("(x+1)^2", "x^2+2x+1"), (r"\{1,2\}", "[0,1)")):
                compare(gold, answer, False)
            sound = compare(r"\sqrt{8}", r"2\sqrt{2}", False) == "right"
            first: Any = "ready" if sound else {"error": "math-verify takes sqrt(8) and 2 sqrt(2) for different"}
        except Exception as error:
            first = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(first), file=out, flush=True)
        fork = Fork(seconds, wall, out.fileno()) if hasattr(os, "fork") else None
        for line in sys.stdin.buffer:
            print(json.dumps(judged(line, seconds) if fork is None else fork.ask(line)), file=out, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
