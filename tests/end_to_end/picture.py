"""Takes the README's picture of the status page: `make picture`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests import browser as chromium
from tests.end_to_end.program import Program
from tests.waiting import wait_for

PICTURE = Path(__file__).with_name("status-page.png")
WIDTH, HEIGHT = 1100, 1180
GROWN_SECONDS = 90.0


def has_grown(program: Program) -> bool | None:
    """Whether the guard has done something that the page can show."""
    name = "thinpool_guard_clamped_extends_total"
    metrics = program.metrics()
    return any(metrics[series] for series in metrics if series.startswith(name)) or None


def main() -> None:
    """Wait until one pool of the demo could grow by a part alone, and take the picture."""
    with (
        tempfile.TemporaryDirectory(prefix="thinpool-picture-") as directory,
        Program("demo", directory=Path(directory)) as program,
        chromium.chromium() as browser,
    ):
        wait_for(lambda: has_grown(program), seconds=GROWN_SECONDS, what="a pool grows")
        chromium.show(browser, width=WIDTH, height=HEIGHT)
        browser.get(f"http://{program.address}/")
        # The machine's own name means nothing to a reader.
        browser.execute_script(
            "document.querySelector('h1').textContent = 'Thin pools of docker-host-1'"
        )
        browser.save_screenshot(str(PICTURE))


if __name__ == "__main__":
    main()
