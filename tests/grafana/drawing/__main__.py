"""Takes the README's pictures of the dashboards: `make picture`.

There is no Grafana here. What is drawn is the committed JSON: its panels, at their places, in
their colours and units, each from what its own queries answer, asked of a real Prometheus that
has scraped an accelerated day of simulated hosts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests import browser as chromium
from tests.grafana.boards import NAMES, load
from tests.grafana.day import Day, accelerated_day
from tests.grafana.drawing.page import WIDTH, page
from tests.grafana.machine import JOB

PICTURES = Path(__file__).resolve().parents[1]
VALUES = {"job": JOB, "instance": "docker-7:10128", "vg": ".*", "pool": ".*"}


def draw(day: Day, directory: Path) -> None:
    """Write a page and a picture of each dashboard into a folder."""
    with chromium.chromium() as browser:
        for name in NAMES:
            html, height = page(load(name), day, VALUES)
            file = directory / f"{name}.html"
            file.write_text(html, encoding="utf-8")
            chromium.show(browser, width=WIDTH, height=height)
            browser.get(file.as_uri())
            browser.save_screenshot(str(directory / f"{name}.png"))


def main() -> None:
    """Live the day, and keep the pictures beside the tests."""
    with tempfile.TemporaryDirectory(prefix="thinpool-day-") as name:
        directory = Path(name)
        with accelerated_day(directory) as day:
            draw(day, directory)
        for board in NAMES:
            (directory / f"{board}.png").replace(PICTURES / f"{board}.png")


if __name__ == "__main__":
    main()
