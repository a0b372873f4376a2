"""Run folders in, one self-contained HTML page (or one picture) out.

This room reads files only: it never imports what made them, so any program that writes the run-folder format can be
reported on. The format is described in :mod:`isograd.report.runs`.
"""

from isograd.report.page import build_report
from isograd.report.picture import save_picture

__all__ = ["build_report", "save_picture"]
