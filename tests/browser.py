"""A real browser for tests of pages: Chromium of this machine, steered by Playwright."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""Root may start it, and WebGL is drawn by the processor."""


@contextmanager
def chromium(**options: Any) -> Generator[Any]:
    """A fresh page; an error on it fails the test that used it.

    Skips the test where there is no browser, and says what to install.

    Args:
        options: of Playwright's `new_context`, such as `viewport`.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="a browser test needs: pip install playwright"
    )
    path = next(filter(None, map(shutil.which, NAMES)), None)
    with playwright.sync_playwright() as running:
        try:
            browser = running.chromium.launch(executable_path=path, args=[*FLAGS])
        except playwright.Error as error:
            pytest.skip(f"no browser starts here; apt-get install chromium ({error})")
        page = browser.new_context(**options).new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        try:
            yield page
        finally:
            browser.close()
    assert errors == []
