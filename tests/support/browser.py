"""A headless Chromium for tests of pages: where it is found, and visits that must cause no error and reach no other host."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MILLISECONDS = 300_000
"""Only a page that hangs takes longer, however busy the machine is."""
OPTIONS = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run")


@contextmanager
def browsing() -> Iterator["Browser"]:
    """A browser while the block lasts; skips the test where there is none. No asyncio.run in this thread meanwhile."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with playwright.sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, NAMES)), driver.chromium.executable_path)
        if not Path(found).exists():
            pytest.skip("no Chromium: apt-get install chromium")
        sandbox = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
        browser = driver.chromium.launch(executable_path=found, args=[*OPTIONS, *sandbox])
        yield browser
        browser.close()


@contextmanager
def visiting(browser: "Browser", url: str, refused: int = 0, **options: Any) -> Iterator["Page"]:
    """A page in a context of its own; it must only ask `url`'s host, and log no more than `refused` failed requests."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MILLISECONDS)
    asked: list[str] = []
    logged: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    yield page
    context.close()
    host = "/".join(url.split("/")[:3]) + "/"
    assert asked
    assert not [address for address in asked if not address.startswith((host, "data:"))]
    failed = [text for text in logged if text.startswith("Failed to load resource")]
    assert len(failed) == refused, logged
    assert failed == logged
