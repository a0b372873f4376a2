"""The page in a real browser: visible, quiet, and never wider than the window."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from isograd.report import build_report

CHROMIUM = Path("/usr/bin/chromium")
DRIVER = Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()),
        reason=f"needs {CHROMIUM} and {DRIVER} (Debian: chromium, chromium-driver)",
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = Options()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # An explicit driver: selenium must not look for one to download.
    service = Service(str(DRIVER), log_output=os.devnull)
    driver = Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()
        service.stop()


@pytest.fixture
def page(make_run, log_more, poison, tmp_path: Path) -> Path:
    runs = [make_run("untrained")]
    runs += [make_run(label, seed) for label in ("ERM", "IGA", "isomer consistency") for seed in range(2)]
    runs += [make_run("hostile", 0), make_run("hostile too", 1, status="failed")]
    log_more(runs[1], reward=0.5, drift=0.25, **{"cosine/a/b": 0.5, "mask/mean": 0.5, "mask/q_proj": 0.5})
    for folder in runs[-2:]:
        poison(folder)
    return build_report(runs, tmp_path / "report.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_works(browser: Chrome, page: Path, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get_log("browser")
    browser.get(page.as_uri())
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")

    assert browser.title == "Distilled students compared"  # the hostile script would have changed it
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert browser.execute_script("return document.scripts.length + document.images.length") == 0

    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    escaping = """
        const inside = e => e.closest('.scroll, pre') !== null;
        return [...document.querySelectorAll('body *')].filter(e => !inside(e) &&
            e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert browser.execute_script(escaping) == []

    assert browser.find_element(By.ID, "main-table").is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, "#examples table").is_displayed()
    assert browser.find_element(By.ID, "verdict").is_displayed()
    # What scrolls must be reachable with the keyboard, and what is drawn must be said.
    unreachable = """
        return [...document.querySelectorAll('body *')].filter(e => e.tabIndex < 0 &&
            ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth)
            .map(e => e.outerHTML.slice(0, 80))"""
    assert browser.execute_script(unreachable) == []
    silent = "return document.querySelectorAll('svg:not([aria-hidden]):not([role=img][aria-label])').length"
    assert browser.execute_script(silent) == 0
    figures = browser.find_elements(By.CSS_SELECTOR, "figure > svg")
    assert len(figures) > 8
    for figure in figures:
        assert figure.is_displayed()
        assert figure.size["width"] > 200
        assert figure.size["height"] > 60
    assert _contrast(browser) > 7
    # The first column stays in sight while a wide table scrolls.
    table = browser.find_element(By.CSS_SELECTOR, ".scroll")
    browser.execute_script("arguments[0].scrollLeft = 200", table)
    head = table.find_element(By.CSS_SELECTOR, "tbody th.first")
    assert head.rect["x"] >= table.rect["x"] - 1


def test_drawings_follow_the_color_scheme(browser: Chrome, page: Path) -> None:
    inks = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(page.as_uri())
        inks.append(browser.execute_script("return getComputedStyle(document.querySelector('figure text')).fill"))
    assert inks[0] != inks[1]
    assert inks[1] == browser.execute_script("return getComputedStyle(document.body).color")


def test_paper_gets_dark_ink_and_whole_tables(browser: Chrome, page: Path) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    browser.get(page.as_uri())
    style = "getComputedStyle(document.querySelector('.scroll'))"
    assert browser.execute_script(f"return {style}.overflowX") == "visible"
    red = "return parseInt(getComputedStyle(document.body).color.match(/\\d+/)[0])"
    assert browser.execute_script(red) < 80
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def _contrast(browser: Chrome) -> float:
    """The WCAG contrast of text on the page, from 1 to 21."""
    colors = browser.execute_script(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor].map(c => c.match(/\\d+/g))"
    )
    light, dark = sorted((_luminance([int(part) for part in color[:3]]) for color in colors), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: list[int]) -> float:
    parts = [part / 255 for part in color]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
