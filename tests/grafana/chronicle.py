"""Serves the day of every machine to a Prometheus, some hours of it with each scrape.

Other processes live through the days and write what they said into files, an hour in each;
this one hands them out in order.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

from tests.grafana.machine import Machine, Plan
from tests.grafana.story import hosts

HOURS, MINUTES_IN_AN_HOUR = 24, 60
HOURS_IN_A_SCRAPE = 6
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Chronicle:
    """The days as far as they have been lived; safe to use from several threads."""

    def __init__(self, directory: Path, plans: Sequence[Plan]) -> None:
        self._directory = directory
        self._told = dict.fromkeys((plan.name for plan in plans), 0)
        self._lock = threading.Lock()

    def next_page(self, name: str) -> tuple[int, bytes]:
        """Return the next hours of a machine's day, as far as it has come: how many, and all.

        They are told when `note_told` says so, and till then again and again.
        """
        first = self._told[name]
        pages: list[bytes] = []
        for hour in range(first, min(first + HOURS_IN_A_SCRAPE, HOURS)):
            page = self._directory / f"{name}-{hour}"
            if not page.exists():
                break
            pages.append(page.read_bytes())
        return len(pages), b"".join(pages)

    def note_told(self, name: str, hours: int) -> None:
        """Go on to what comes after: these hours were taken."""
        with self._lock:
            self._told[name] += hours

    @property
    def is_told(self) -> bool:
        """Whether every day has been taken whole."""
        return all(hours == HOURS for hours in self._told.values())


@contextmanager
def telling(directory: Path, began_at: float) -> Iterator[tuple[Chronicle, str]]:
    """Live the days from `began_at` on; the chronicle, and the address that tells it.

    A machine's page is /NAME.
    """
    plans = hosts()
    chronicle = Chronicle(directory, plans)
    context = multiprocessing.get_context("spawn")
    # The longest days first, so that no core waits for the other at the end.
    names = [plan.name for plan in sorted(plans, key=lambda plan: plan.reads)]
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(chronicle))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with context.Pool(maxtasksperchild=1) as pool:
        lives = pool.starmap_async(
            _live, [(name, directory, began_at) for name in names], chunksize=1
        )
        try:
            yield chronicle, f"127.0.0.1:{server.server_port}"
            lives.get(timeout=1)  # what went wrong in one of them
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _live(name: str, directory: Path, began_at: float) -> None:
    (plan,) = (plan for plan in hosts() if plan.name == name)
    minutes = Machine(plan, began_at).minutes(HOURS * MINUTES_IN_AN_HOUR)
    for hour in range(HOURS):
        page = b"".join(islice(minutes, MINUTES_IN_AN_HOUR))
        unfinished = directory / f"{name}-{hour}.tmp"
        unfinished.write_bytes(page)
        unfinished.rename(directory / f"{name}-{hour}")


def _handler(chronicle: Chronicle) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            hours, page = chronicle.next_page(name)
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # asked again, it says this again
                self.wfile.write(page)
                chronicle.note_told(name, hours)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

    return Handler
