"""One command at a time in an output folder, and none while workers of a killed one still run."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from isograd.common.errors import UserError
from isograd.experiment.compare import run_compare
from isograd.experiment.compare_config import load_compare
from isograd.experiment.lock import LOCK_FILE, held_locks, output_lock
from isograd.experiment.tune import run_tune
from isograd.experiment.tune_config import load_tune

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

PARENT = """
# The worker reads what the test holds open, so it lives on without this process.
import subprocess, sys
from pathlib import Path
from isograd.experiment.lock import held_locks, output_lock
with output_lock(Path(sys.argv[1])):
    worker = subprocess.Popen(["cat"], pass_fds=held_locks())
    print(worker.pid, flush=True)
    worker.wait()
"""


def test_workers_of_a_killed_process_keep_its_lock_until_they_end(tmp_path: Path) -> None:
    output = tmp_path / "new" / "out"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        worker = int(parent.stdout.readline())
        with pytest.raises(UserError) as refused, output_lock(output):
            pass
        told = str(refused.value)
        assert told.startswith(f"{output}: process {parent.pid} on ")
        assert told.endswith(" is running here; wait for it or stop it, or choose another output folder")
        assert "\n" not in told
        parent.kill()
        parent.wait()
        ended = rf"process {parent.pid} .* has ended, but its workers .* still run here"
        with pytest.raises(UserError, match=ended), output_lock(output):
            pass
        os.kill(worker, signal.SIGTERM)
        # Its end of the pipe closes with it.
        assert parent.stdout.read() == ""
    with output_lock(output):
        about = json.loads((output / LOCK_FILE).read_text())
        assert about["process"] == os.getpid()


def test_who_holds_it_may_ask_again(tmp_path: Path) -> None:
    with output_lock(tmp_path):
        (file,) = held_locks()
        with output_lock(tmp_path / "." / "x" / ".."):
            assert held_locks() == (file,)
        with output_lock(tmp_path / "other"):
            assert len(held_locks()) == 2
        assert held_locks() == (file,)
    assert held_locks() == ()


def test_comparisons_and_tunings_are_refused_before_they_write_anything(tmp_path: Path) -> None:
    import fcntl

    output, config = tmp_path / "out", tmp_path / "c.yaml"
    output.mkdir()
    config.write_text(yaml.safe_dump({"families": ["arithmetic"], "methods": {"ERM": None}}))
    console = Console(file=io.StringIO())
    with (output / LOCK_FILE).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is starting here; wait for it, or choose another output"):
            run_compare(load_compare(config), output, console=console)
        with pytest.raises(UserError, match="another process is starting here"):
            run_tune(load_tune(config), output, console=console)
    assert [file.name for file in output.iterdir()] == [LOCK_FILE]
