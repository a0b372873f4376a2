"""The page in a real browser, by keyboard: it does what its keys say, and hostile text stays text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from tests.browser import barriers, chromium, contrast, in_a_browser, resize

from isograd.isomers import IsomerSet
from isograd.isomers.review.content import from_plain

pytestmark = in_a_browser

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("profile"), "browser", "performance") as driver:
        yield driver


@pytest.fixture(autouse=True)
def quiet(browser: Chrome) -> Iterator[None]:
    """Whatever a test does, nothing is asked of another host and nothing goes wrong on the page."""
    resize(browser, 1280)
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    yield
    told = [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert [line for line in told if "422" not in line] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith("http://127.0.0.1:")] == []


def press(browser: Chrome, *keys: str) -> None:
    """Press keys wherever the focus is, as a person does."""
    ActionChains(browser).send_keys(*keys).perform()


def until(browser: Chrome, script: str) -> None:
    # A script that meets the end of a page fails; the next one is run on the page that follows.
    WebDriverWait(browser, 120, poll_frequency=0.05, ignored_exceptions=[WebDriverException]).until(
        lambda driver: driver.execute_script(f"return document.readyState === 'complete' && Boolean({script})")
    )


def at(browser: Chrome, number: int) -> None:
    """Wait for the page of a set."""
    until(browser, f"document.querySelector('main[data-set=\"{number}\"]')")


def shown(browser: Chrome, selector: str) -> None:
    """Wait for an element, without a script of one's own."""
    WebDriverWait(browser, 120).until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))


def verdicts(page: Any) -> list[tuple[str, str]]:
    return [(row.verdict if row.set_hash else "undo", row.set_id) for row in page.decisions()]


def test_a_set_is_reviewed_with_keys_alone(browser: Chrome, running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    ids = [item.id for item in sound]
    browser.get(page.url)
    at(browser, 1)
    assert page.server.token not in browser.current_url
    press(browser, "j")
    at(browser, 2)
    press(browser, Keys.ARROW_RIGHT)
    at(browser, 3)
    press(browser, Keys.ARROW_LEFT)
    at(browser, 2)
    press(browser, "k")
    at(browser, 1)
    press(browser, "a")
    at(browser, 2)
    press(browser, "r")
    until(browser, "document.activeElement.id === 'reason'")
    press(browser, "a jar kept: j, k, a, r, u, e", Keys.ENTER)
    at(browser, 3)
    assert verdicts(page) == [("accept", ids[0]), ("reject", ids[1])]
    assert page.decisions()[1].content == {"reason": "a jar kept: j, k, a, r, u, e"}
    press(browser, "u")
    at(browser, 2)
    until(browser, "document.querySelector('.s-undecided')")
    press(browser, "u")
    at(browser, 1)
    until(browser, "document.querySelector('.s-undecided')")
    assert [verdict for verdict, _ in verdicts(page)] == ["accept", "reject", "undo", "undo"]


def test_the_filters_and_the_way_to_a_number_have_keys(browser: Chrome, running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    page.client.decide(4, "accept")
    browser.get(page.url)
    at(browser, 1)
    press(browser, "3")
    at(browser, 4)
    assert browser.find_element(By.CSS_SELECTOR, "[aria-current]").text.split() == ["Accepted", "1"]
    press(browser, "1")
    until(browser, "location.search.includes('show=all')")
    press(browser, "g")
    press(browser, "6", Keys.ENTER)
    at(browser, 6)
    press(browser, "g")
    press(browser, sound[1].id, Keys.ENTER)
    at(browser, 2)


def test_help_opens_closes_and_keeps_the_other_keys_off(browser: Chrome, running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    browser.get(page.url)
    at(browser, 1)
    help_box = browser.find_element(By.ID, "help")
    assert not help_box.is_displayed()
    press(browser, "?")
    assert help_box.is_displayed()
    press(browser, "a")
    assert verdicts(page) == []
    press(browser, Keys.ESCAPE)
    assert not help_box.is_displayed()
    press(browser, "?")
    press(browser, "?")
    assert not help_box.is_displayed()


def test_an_edit_is_typed_saved_verified_and_shown(browser: Chrome, running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    browser.get(page.url)
    at(browser, 1)
    assert browser.find_element(By.CSS_SELECTOR, ".verdict").text.endswith("passed")
    press(browser, "e")
    until(browser, "document.activeElement.name === 'problem-0'")
    press(browser, "jokes are rare? <i>e</i> ")
    field = browser.find_element(By.NAME, "value-1-0")
    old = field.get_attribute("value")
    field.clear()
    field.send_keys("777", Keys.CONTROL, Keys.ENTER)
    until(browser, "document.getElementById('problems')")
    assert "does not say its value '777'" in browser.find_element(By.ID, "problems").text
    assert browser.find_element(By.NAME, "problem-0").get_attribute("value").startswith("jokes are rare? <i>e</i> ")
    assert verdicts(page) == []
    field = browser.find_element(By.NAME, "value-1-0")
    field.clear()
    field.send_keys(old, Keys.CONTROL, Keys.ENTER)
    at(browser, 1)
    assert "finding" in browser.find_element(By.CSS_SELECTOR, ".verdict").text
    assert "jokes are rare? <i>e</i>" in browser.find_element(By.CSS_SELECTOR, "td.changed").text
    (row,) = page.decisions()
    assert row.verdict == "edit"
    assert from_plain(row.content).members[0].problem == "jokes are rare? <i>e</i> " + sound[0].members[0].problem
    assert from_plain(row.content).members[1:] == sound[0].members[1:]
    press(browser, "o")
    until(browser, "location.search.includes('original=1')")
    assert "jokes" not in browser.find_element(By.CSS_SELECTOR, ".side-by-side").text


def test_unsaved_changes_need_a_second_escape(browser: Chrome, running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    browser.get(page.url)
    at(browser, 1)
    press(browser, "e")
    until(browser, "document.activeElement.name === 'problem-0'")
    press(browser, "x", Keys.ESCAPE)
    assert browser.find_element(By.ID, "unsaved").is_displayed()
    press(browser, Keys.ESCAPE)
    at(browser, 1)
    assert verdicts(page) == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("place", ["set/1", "set/1/edit"])
def test_hostile_text_stays_text(
    browser: Chrome, running: Run, hostile: IsomerSet, hostile_text: str, width: int, place: str
) -> None:
    page = running([hostile])
    page.client.decide(1, "reject", reason=hostile_text)
    resize(browser, width)
    browser.get(page.url)
    at(browser, 1)
    browser.get(f"http://{page.client.host}/{place}")
    assert "hacked" not in browser.title.split("·")[0].split()
    assert browser.execute_script("return [document.scripts.length, document.images.length]") == [1, 1]
    assert browser.execute_script("return document.querySelectorAll('[onerror], iframe, object').length") == 0
    shown = browser.find_element(By.TAG_NAME, "main").text
    if place.endswith("edit"):
        for number in range(len(hostile.members)):
            text = browser.find_element(By.NAME, f"problem-{number}").get_attribute("value")
            assert text == hostile.members[number].problem.replace("\r\n", "\n")
    else:
        assert shown.count("<script>document.title='hacked';alert(1)</script>") > 8
        assert "U+202E" in shown
        assert "U+0007 ×2" in shown
        assert "42091049" not in shown
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("place", ["set/1", "set/1/edit", "show?filter=rejected"])
def test_no_page_is_wider_than_the_window(
    browser: Chrome, running: Run, sound: list[IsomerSet], width: int, scheme: str, place: str
) -> None:
    long = sound[0].members[0].model_copy(update={"problem": "word <b> " * 12_000 + "x" * 5_000})
    page = running([sound[0].model_copy(update={"members": (long, *sound[0].members[1:])}), sound[1]])
    resize(browser, width, scheme)
    browser.get(page.url)
    browser.get(f"http://{page.client.host}/{place}")
    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    escaping = """
        const inside = e => e.closest('.scroll, .tabs, .hidden, [popover], svg') !== null;
        return [...document.querySelectorAll('body *')].filter(e => !inside(e) &&
            e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert browser.execute_script(escaping) == []
    assert contrast(browser) > 7
    if place == "set/1":
        graph = browser.find_element(By.CSS_SELECTOR, "svg.graph")
        assert graph.size["width"] > 300
        assert len(graph.find_elements(By.CSS_SELECTOR, "g.node")) == len(sound[0].graph.nodes)
        assert len(graph.find_elements(By.CSS_SELECTOR, "path.edge")) == len(sound[0].graph.edges)


@pytest.mark.parametrize("place", ["set/1", "set/1/edit"])
def test_no_page_has_barriers(browser: Chrome, running: Run, sound: list[IsomerSet], place: str) -> None:
    long = sound[0].members[0].model_copy(update={"problem": "word <b> " * 400})
    page = running([sound[0].model_copy(update={"members": (long, *sound[0].members[1:])}), sound[1]])
    browser.get(page.url)
    for width, scheme in ((1280, "light"), (390, "dark")):
        resize(browser, width, scheme)
        browser.get(f"http://{page.client.host}/{place}")
        assert barriers(browser) == []


def test_everything_can_be_reached_with_tab_and_the_focus_is_seen(
    browser: Chrome, running: Run, sound: list[IsomerSet]
) -> None:
    page = running(sound)
    browser.get(page.url)
    at(browser, 1)
    reached: list[str] = []
    for _ in range(30):
        press(browser, Keys.TAB)
        name, outline = browser.execute_script(
            "const e = document.activeElement; return [e.id, getComputedStyle(e).outlineStyle]"
        )
        reached.append(name)
        if name:
            assert outline != "none", name
    assert {"goto", "next", "accept", "reject", "edit", "keys"} <= set(reached)


def test_all_but_the_keys_works_without_scripts(browser: Chrome, running: Run, sound: list[IsomerSet]) -> None:
    page = running(sound)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.url)
        browser.find_element(By.ID, "accept").click()
        shown(browser, 'main[data-set="2"]')
        browser.find_element(By.ID, "reject").click()
        browser.find_element(By.ID, "reason").send_keys("why not", Keys.ENTER)
        shown(browser, 'main[data-set="3"]')
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert [verdict for verdict, _ in verdicts(page)] == ["accept", "reject"]
