"""Takes the README's pictures of the dashboards: `make picture`.

A real Prometheus, which has scraped an accelerated day of simulated hosts, answers the queries
of the committed dashboards. A page made of Grafana's own libraries draws the answers, and
Chromium takes its picture. There is no Grafana server.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome

from tests import browser as chromium
from tests.grafana.boards import NAMES, Board, Target, filled, load
from tests.grafana.day import Day, Series, accelerated_day
from tests.grafana.machine import JOB
from tests.programs import need
from tests.waiting import wait_for

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"
# Grafana's global styles ask for these two weights, under these names.
FONTS = {"Inter-Regular": "inter-latin-400-normal", "Inter-Medium": "inter-latin-500-normal"}
WIDTH = 1240
STEP_SECONDS = 120
BUNDLE_SECONDS, DRAWN_SECONDS = 300.0, 120.0
ALL = ".*"
VALUES = {"cluster": ALL, "job": JOB, "instance": "docker-7:10128", "vg": ALL, "pool": ALL}


def ask(day: Day, target: Target) -> list[Series]:
    """Ask a panel's query as Grafana does: at the end of the day, or through it."""
    expr = filled(target.expr, VALUES)
    return day.at_end(expr) if target.is_instant else day.over(expr, step=STEP_SECONDS)


def answers(board: Board, day: Day) -> Mapping[str, Any]:
    """Collect what the page needs: the dashboard, what is chosen, and the queries' answers."""
    chosen = {
        variable["label"]: "All"
        if VALUES[variable["name"]] == ALL
        else VALUES[variable["name"]]
        for variable in board.variables
    }
    found = {
        panel.raw["id"]: {
            target.ref: [asdict(series) for series in ask(day, target)]
            for target in panel.targets
        }
        for panel in board.panels
    }
    return {
        "board": board.raw,
        "chosen": chosen,
        "answers": found,
        "began_at": day.began_at,
        "ended_at": day.ended_at,
        "step_seconds": STEP_SECONDS,
    }


def bundle(directory: Path) -> None:
    """Check the page's types, and write the page with all that it needs into a folder."""
    npm = need("npm", "npm")
    out = f"--outdir={directory}"
    for argv in (
        [npm, "run", "--silent", "types"],
        [npm, "run", "--silent", "bundle", "--", out],
    ):
        subprocess.run(argv, cwd=HERE, check=True, timeout=BUNDLE_SECONDS)
    shutil.copy(HERE / "index.html", directory)
    # Where Grafana's components expect fonts and icons to be served.
    fonts = directory / "public/fonts/inter"
    fonts.mkdir(parents=True)
    for name, source in FONTS.items():
        file = MODULES / f"@fontsource/inter/files/{source}.woff2"
        shutil.copy(file, fonts / f"{name}.woff2")
    (directory / "public/build").symlink_to(MODULES / "@grafana/ui/dist/public")


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Serve a folder: a page that is opened as a file may fetch nothing."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=directory))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Say nothing."""


def drawn_height(browser: Chrome) -> int | None:
    """Read how high the page is, once all of it is drawn. Fails if the page has an error."""
    errors = [entry for entry in chromium.complaints(browser) if entry["level"] == "SEVERE"]
    assert not errors, errors
    height = browser.execute_script("return document.body.dataset.height")
    return int(height) if height else None


def photograph(browser: Chrome, url: str, file: Path) -> None:
    """Open a dashboard's page, and take a picture of all of it."""
    chromium.show(browser, width=WIDTH)
    browser.get(url)
    height = wait_for(lambda: drawn_height(browser), seconds=DRAWN_SECONDS, what=url)
    chromium.show(browser, width=WIDTH, height=height)
    browser.save_screenshot(str(file))


def main() -> None:
    """Live the day, draw it, and keep the pictures beside the tests."""
    with tempfile.TemporaryDirectory(prefix="thinpool-picture-") as name:
        directory = Path(name)
        page, lived = directory / "page", directory / "lived"
        page.mkdir()
        lived.mkdir()
        bundle(page)
        with accelerated_day(lived) as day:
            for board in NAMES:
                (page / f"{board}.json").write_text(json.dumps(answers(load(board), day)))
        with serving(page) as address, chromium.chromium() as browser:
            for board in NAMES:
                url = f"{address}/?board={board}"
                photograph(browser, url, HERE.parent / f"{board}.png")


if __name__ == "__main__":
    main()
