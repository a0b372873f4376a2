"""A real browser for tests: headless Chromium as Debian installs it, and axe-core to find what keeps people out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium_axe_python import Axe

CHROMIUM = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)

in_a_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()),
        reason=f"needs {CHROMIUM} and {DRIVER} (Debian: chromium, chromium-driver)",
    ),
]
"""Marks of a module whose tests need the browser."""


@contextmanager
def chromium(profile: Path, *logs: str) -> Iterator[Chrome]:
    """A browser with an empty profile that keeps the ``logs`` named."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
    # A dialog must be seen by the test, not closed before it looks.
    options.unhandled_prompt_behavior = "ignore"
    # An explicit driver: selenium must not look for one to download.
    service = Service(str(DRIVER), log_output=os.devnull)
    driver = Chrome(options=options, service=service)
    # For axe-core, which takes seconds on a long page, and a minute on a busy machine.
    driver.set_script_timeout(110)
    try:
        yield driver
    finally:
        driver.quit()
        service.stop()


def resize(browser: Chrome, width: int, scheme: str = "light") -> None:
    """A window of that width in CSS pixels (below 500 a phone's), for readers who like ``light`` or ``dark``."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def contrast(browser: Chrome) -> float:
    """The WCAG contrast of plain text on the page, from 1 to 21."""
    colors = browser.execute_script(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor].map(c => c.match(/\\d+/g))"
    )
    light, dark = sorted((_luminance([int(part) for part in color[:3]]) for color in colors), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def barriers(browser: Chrome) -> list[str]:
    """What axe-core finds on the page as it stands, of serious or critical impact: rule, element and why."""
    axe = Axe(browser)
    axe.inject()
    # A drawing is told by its name; its thousand strokes cost seconds and hold nothing to read.
    found = axe.run({"exclude": [["svg[role=img] > *"]]}, {"resultTypes": ["violations"]})
    # A page on which no rule applies was not looked at.
    assert found["passes"]
    return [
        f"{fault['id']}: {node['html'][:120]}: {node['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def _luminance(color: list[int]) -> float:
    parts = [part / 255 for part in color]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
