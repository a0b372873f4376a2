"""Atomic files: whatever happens while writing, a reader sees the old file or the new one."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isograd.common.errors import UserError
from isograd.common.files import atomic_writer, read_json, write_json, write_text


def test_writes_text_and_bytes_and_makes_the_folder(tmp_path: Path) -> None:
    text, raw = tmp_path / "a" / "b" / "text.txt", tmp_path / "a" / "raw.bin"
    with atomic_writer(text) as file:
        file.write("ä\n")
    with atomic_writer(raw, "wb") as file:
        file.write(b"\x00\xff")
    assert text.read_bytes() == "ä\n".encode()
    assert raw.read_bytes() == b"\x00\xff"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "raw.bin", "text.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_leaves_the_old_file_and_no_litter(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")
    with pytest.raises(error), atomic_writer(target) as file:  # noqa: PT012
        file.write("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_new_content_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")
    with atomic_writer(target) as file:
        file.write("new")
        file.flush()
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_a_failing_rename_raises_and_leaves_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_text(target, "text")
    assert list(tmp_path.iterdir()) == [target]


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")
    script = f"""
        import os, signal
        from isograd.common.files import atomic_writer

        with atomic_writer({str(target)!r}) as file:
            file.write("half" * 100_000)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    litter = [path for path in tmp_path.iterdir() if path != target]
    # What the dead process could not remove is hidden and marked, and does not keep the next writer from its work.
    assert [path.name.startswith(".file.txt.") and path.suffix == ".part" for path in litter] == [True]
    write_text(target, "new")
    assert target.read_text() == "new"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_usual_permissions(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "atomic", "")
        (tmp_path / "plain").write_text("")
        assert os.umask(umask) == umask, "the process's umask is as it was"
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("atomic", "plain")]
    assert modes == [0o666 & ~umask] * 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON)
def test_json_round_trip(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    write_json(path, value)
    assert read_json(path) == value
    assert path.read_bytes().endswith(b"\n")
    assert json.loads(path.read_bytes()) == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b": }', ":2:7: not valid JSON: Expecting value"),
        (b"", ":1:1: not valid JSON: Expecting value"),
        (b'{"a": "\xff"}', ": not UTF-8 text (byte 7); save it as UTF-8"),
    ],
)
def test_read_json_names_file_and_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape(str(path) + message)}$"):
        read_json(path)


def test_read_json_of_nothing_and_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.json: no such file"):
        read_json(tmp_path / "missing.json")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_json(tmp_path)
