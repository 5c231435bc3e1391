"""A real browser for tests: headless Chromium, without a network."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str:
    """Chromium or Chrome as the system has installed it."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium is installed: apt-get install chromium")
    return found


@contextmanager
def open_page(browser: Browser, address: str, home: str) -> Iterator[Page]:
    """Open a page; a line in its console, and a request to elsewhere than ``home``, fail the test at its end."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("request", lambda request: None if is_inside(request.url, home) else problems.append(request.url))
    page.goto(address)
    page.problems = problems  # type: ignore[attr-defined]
    yield page
    page.close()
    assert not problems, problems


def is_inside(address: str, home: str) -> bool:
    """Whether an address is the page's own."""
    return address.startswith(("data:", "blob:", home))


def wait_until(page: Page, expression: str, seconds: float = 20) -> None:
    """Wait until an expression is true; Playwright's own way evaluates text, which the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not true after {seconds} s: {expression}"
        page.wait_for_timeout(50)
