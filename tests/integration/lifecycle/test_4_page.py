# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""The page in a browser (Debian's chromium and chromium-driver): looked at, and an answer given on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from stand import CLIENTS, ROOT, Controller, Site, alert

PICTURES = ROOT / "tests" / "output"
WIDE, NARROW = (1280, 1000), (500, 900)  # a window of Chromium's isn't narrower than 500


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    if not (driver and program):
        pytest.skip("no Chromium is here (apt-get install chromium chromium-driver)")
    options = ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-sync", "no-proxy-server"):
        options.add_argument(f"--{flag}")
    for flag in ("disable-background-networking", "disable-component-update", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    with Chrome(options, Service(driver)) as running:
        running.set_page_load_timeout(60)
        yield running


def show(browser: Chrome, controller: Controller, client: str) -> None:
    """As somebody who gave name and password."""
    address = controller.url.removeprefix("http://")
    browser.get(f"http://{client}:{CLIENTS[client]['secret']}@{address}/")


def waiting(browser: Chrome) -> WebDriverWait[Chrome]:
    """The page that is left may be found once more while the next one comes."""
    return WebDriverWait(browser, 60, ignored_exceptions=[StaleElementReferenceException])


def row_of(browser: Chrome, heading: str, model: str) -> WebElement:
    """The first of that model in the table below a heading."""
    path = f"//h2[text()='{heading}']/following-sibling::div[1]/table/tbody/tr[td[contains(., '{model}')]]"
    return browser.find_element(By.XPATH, path)


def picture(browser: Chrome, name: str) -> Path:
    PICTURES.mkdir(exist_ok=True)
    file = PICTURES / f"page-{name}.png"
    assert browser.save_screenshot(str(file))
    return file


def complaints(browser: Chrome) -> list[str]:
    """What the browser itself has to say of the page: what its policy refused, what it couldn't find."""
    return [entry["message"] for entry in browser.get_log("browser") if "favicon" not in entry["message"]]


def test_a_person_approves_on_the_page(controller: Controller, site: Site, browser: Chrome) -> None:
    asked = controller.knows(site.model(action="ask"))
    controller.send(alert(asked))
    show(browser, controller, "person")
    assert browser.title == "Models and decisions"
    assert row_of(browser, "Models", asked).text.startswith(f"{asked} 1 since ")
    row = row_of(browser, "Alerts that stand", asked)
    assert f"Drift: {asked} drifts" in row.text and "asked" in row.text
    picture(browser, "asked")
    # Who types a reason isn't interrupted by the page loading itself anew.
    assert not browser.find_elements(By.CSS_SELECTOR, "meta[http-equiv=refresh]")
    row.find_element(By.NAME, "reason").send_keys("looks <b>real</b> & new")
    row.find_element(By.XPATH, ".//button[text()='Approve']").click()
    waiting(browser).until(lambda _: "accepted" in row_of(browser, "Alerts that stand", asked).text)
    assert browser.current_url.endswith("/") and "episodes" not in browser.current_url
    assert "approved by person: looks <b>real</b> & new" in row_of(browser, "Alerts that stand", asked).text
    controller.run_of(asked, "completed")
    browser.refresh()
    assert "completed" in row_of(browser, "Episodes", asked).text
    assert complaints(browser) == []
    picture(browser, "completed")


def test_a_person_refuses_on_the_page(controller: Controller, site: Site, browser: Chrome) -> None:
    asked = controller.knows(site.model(action="ask"))
    controller.send(alert(asked))
    show(browser, controller, "person")
    row_of(browser, "Alerts that stand", asked).find_element(By.XPATH, ".//button[text()='Refuse']").click()
    waiting(browser).until(lambda _: "refused" in row_of(browser, "Alerts that stand", asked).text)
    assert site.runs(asked) == []


def test_who_only_reads_has_nothing_to_press(controller: Controller, site: Site, browser: Chrome) -> None:
    asked = controller.knows(site.model(action="ask"))
    controller.send(alert(asked))
    show(browser, controller, "reader")
    assert "asked" in row_of(browser, "Alerts that stand", asked).text
    assert not browser.find_elements(By.TAG_NAME, "button")
    assert browser.find_elements(By.CSS_SELECTOR, "meta[http-equiv=refresh]")


def test_nothing_is_cut_off_on_a_narrow_screen(controller: Controller, site: Site, browser: Chrome) -> None:
    controller.send(alert(controller.knows(site.model(action="ask"))))
    try:
        for name, size in {"wide": WIDE, "narrow": NARROW}.items():
            browser.set_window_size(*size)
            show(browser, controller, "person")
            picture(browser, name)
            beyond = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert browser.execute_script(beyond) <= 0, name
    finally:
        browser.set_window_size(*WIDE)
