"""What all tests share: one thread, and hypothesis that draws the same examples in every run."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# Before any library reads them. One thread: sums in a fixed order, and no quarrel over cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
# What the caller's shell may say: all servers are on this machine, and no output goes to a terminal.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
for _name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_name, None)

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
# Among its examples are constants of the modules of src that happen to be loaded: with them, what a test draws depends
# on the tests that ran before it in the same process.
if hasattr(providers, "_get_local_constants"):
    providers._get_local_constants = lambda: providers._local_constants


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """Building a student sets torch's thread count for the whole process; torch is not imported for this alone."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
