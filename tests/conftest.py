"""What all tests share: one thread, and hypothesis that draws the same examples in every run."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest
from hypothesis import HealthCheck, settings

# Before any library reads them. One thread: sums in a fixed order, and no quarrel over cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell starts background jobs with Ctrl-C ignored, and what the tests start would inherit that.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "isograd",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("isograd")


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """Building a student sets torch's thread count for the whole process; torch is not imported for this alone."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
