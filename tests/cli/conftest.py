"""The command line in this process: what is told, and the exit status."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_done import Done, Isograd

from isograd.cli import main


@pytest.fixture
def isograd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Isograd:
    """Run ``isograd`` with arguments, as a terminal 200 characters wide would."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["isograd", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told, errors = capsys.readouterr()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, told, errors)

    return run
