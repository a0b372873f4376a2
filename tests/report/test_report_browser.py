"""The page in a real browser: visible, quiet, and never wider than the window."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from tests.browser import barriers, chromium, contrast, in_a_browser, resize

from isograd.report import build_report
from isograd.report.comparison import read_comparison
from isograd.report.comparison_page import save_comparison_pages

pytestmark = in_a_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile"), "browser") as driver:
        yield driver


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
    resize(browser, width, scheme)
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
    assert contrast(browser) > 7
    # The first column stays in sight while a wide table scrolls.
    table = browser.find_element(By.CSS_SELECTOR, ".scroll")
    browser.execute_script("arguments[0].scrollLeft = 200", table)
    head = table.find_element(By.CSS_SELECTOR, "tbody th.first")
    assert head.rect["x"] >= table.rect["x"] - 1


def test_the_page_has_no_barriers(browser: Chrome, make_run, log_more, poison, tmp_path: Path) -> None:
    costs = {"step_seconds": 0.5, "peak_memory_bytes": 2**30}
    runs = [make_run(label, seed, **costs) for label in ("ERM", "IGA") for seed in (0, 1)]
    runs += [make_run("ERM", 2, status="failed"), make_run("hostile")]
    log_more(runs[0], reward=0.5, **{"cosine/a/b": 0.5, "cosine/a/b/c": 0.5, "mask/mean": 0.5, "mask/q_proj": 0.5})
    poison(runs[-1])
    for folder in runs[2:4]:
        # Two seeds for the tables; further answers and curves would only cost time.
        (folder / "examples.jsonl").unlink()
        (folder / "training.jsonl").unlink()
    scores = [{"benchmark": "gsm8k", "model": model, "n": 4, "accuracy": 0.5} for model in ("a", "b")]
    gaps = [{"benchmark": "gsm8k", "model": "b", "minus": "a", "mean": 0.0}]
    (tmp_path / "results.json").write_text(json.dumps({"format": 1, "scores": scores, "differences": gaps}))
    page = build_report(runs, tmp_path / "report.html", benchmarks=[tmp_path])
    text = page.read_text(encoding="utf-8")
    for words in ("Difference to ERM, same seeds", "memory, × ERM", "paired differences", "Not drawn, as the slash"):
        assert words in text
    for width, scheme in ((1280, "dark"), (390, "light")):
        assert barriers_of(browser, page, width, scheme) == []


def test_a_comparison_has_no_barriers(browser: Chrome, make_run, tmp_path: Path) -> None:
    families = {
        name: [make_run(label, name=f"{name}-{label}") for label in ("ERM", "IGA")]
        for name in ("arithmetic", "ordering")
    }
    families["ordering"].append(make_run("V-REx", status="failed"))
    overview = save_comparison_pages(read_comparison(families, "ERM"), tmp_path / "out", title="Two families")
    assert barriers_of(browser, overview, 390, "dark") == []
    assert barriers_of(browser, overview, 1280, "light") == []
    assert barriers_of(browser, overview.with_name("report-ordering.html"), 390, "dark") == []


def barriers_of(browser: Chrome, page: Path, width: int, scheme: str) -> list[str]:
    resize(browser, width, scheme)
    browser.get(page.as_uri())
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    return barriers(browser)


def test_barriers_are_found(browser: Chrome, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text('<html lang="en"><title>bad</title><p style="color: #ccc">pale</p><img src="data:,"><p>plain</p>')
    browser.get(file.as_uri())
    assert sorted(line.partition(":")[0] for line in barriers(browser)) == ["color-contrast", "image-alt"]


def test_drawings_follow_the_color_scheme(browser: Chrome, page: Path) -> None:
    inks = []
    for scheme in ("light", "dark"):
        resize(browser, 1280, scheme)
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
    # What is folded on the screen is open on paper.
    hidden = """return [...document.querySelectorAll('details pre, details table')]
        .map(e => e.checkVisibility() && e.getBoundingClientRect().height > 0)"""
    printed = browser.execute_script(hidden)
    assert len(printed) > 8
    assert all(printed)
    red = "return parseInt(getComputedStyle(document.body).color.match(/\\d+/)[0])"
    assert browser.execute_script(red) < 80
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert not any(browser.execute_script(hidden))
