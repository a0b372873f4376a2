"""The peak of resident memory is this process's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from isograd.common.memory import _STATUS

PROGRAM = """
from isograd.common.memory import peak_resident_bytes
first = peak_resident_bytes()
held = bytearray(200 * 2**20)
for place in range(0, len(held), 4096):
    held[place] = 1
second = peak_resident_bytes()
del held
print(first // 2**20, second // 2**20, peak_resident_bytes() // 2**20)
"""


@pytest.mark.skipif(not _STATUS.exists(), reason="no /proc/self/status: the peak may be the parent's")
def test_a_small_child_of_a_large_parent() -> None:
    large = b"x" * 300 * 2**20
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert len(large) == 300 * 2**20
    first, second, third = map(int, done.stdout.split())
    assert first < 100
    assert 200 <= second - first < 220
    assert third == second
