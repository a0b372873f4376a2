"""How much memory this process has held."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

__all__ = ["peak_resident_bytes"]

_STATUS = Path("/proc/self/status")


def peak_resident_bytes() -> int:
    """The most memory that was resident since this program began."""
    if _STATUS.exists():
        # A process begins with its parent's peak in ``ru_maxrss``, but not here.
        found = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024
    # Kibibytes, but bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
