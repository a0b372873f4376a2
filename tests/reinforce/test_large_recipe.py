"""The script for large models runs, on a small one and without vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isograd.student import student_path

SCRIPT = Path(__file__).parents[2] / "examples" / "dfpo_large.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_recipe_trains(tmp_path: Path) -> None:
    rows = [{"prompt": f"Problem: {number} and 2. Question: How many?", "solution": str(number)} for number in range(8)]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {
        "model": str(student_path()),
        "dataset": str(data),
        "output": str(tmp_path / "out"),
        "group-size": "2",
        "max-completion-length": "6",
        "max-steps": "2",
        "rank": "4",
    }
    words = [word for name, value in asked.items() for word in (f"--{name}", value)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words, "--cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert "cancellation/shared" in done.stdout
