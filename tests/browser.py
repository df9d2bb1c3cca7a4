"""Debian's Chromium, driven through its own driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.programs import need

PACKAGES = "chromium chromium-driver"
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # root may not start it otherwise
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


@contextmanager
def chromium() -> Iterator[Chrome]:
    """Run a browser of our own."""
    options = Options()
    options.binary_location = need("chromium", PACKAGES)
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(need("chromedriver", PACKAGES)))
    try:
        yield browser
    finally:
        browser.quit()


def show(
    browser: Chrome, *, width: int = 1100, height: int = 900, scheme: str = "light"
) -> None:
    """Choose the size of the page in CSS pixels, and light or dark."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def complaints(browser: Chrome) -> list[dict[str, Any]]:
    """Read what the browser found wrong since this was last asked."""
    return list(browser.get_log("browser"))
