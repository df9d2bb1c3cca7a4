"""One process that guards and serves: the end of its web side is its own end."""

from __future__ import annotations

import threading
import urllib.request
from concurrent.futures import Future

import pytest

from exporter.cli.host import CLOCKS
from exporter.config import Settings
from exporter.errors import ExporterError
from exporter.service.reloading import Reloading
from exporter.service.service import Service
from exporter.service.serving import WebOptions
from exporter.simulation.demo import demo_host
from tests.fakes import FakeLog
from tests.threads import end_thread, thread_named
from tests.waiting import PATIENCE_SECONDS

OPTIONS = WebOptions(addresses=["127.0.0.1:0"], telemetry_path="/metrics")


def test_ends_when_the_web_server_has_ended() -> None:
    """So that systemd starts it anew; the message names the part."""
    log, stop, is_ready = FakeLog(), threading.Event(), threading.Event()
    end: Future[None] = Future()
    settings = Settings()
    reloading = Reloading(lambda: settings, wall_clock=CLOCKS.wall, log=log)
    host = demo_host().access()
    service = Service(host, settings, OPTIONS, reloading=reloading, clocks=CLOCKS, log=log)

    def run() -> None:
        try:
            service.run(stop, is_ready.set)
        except ExporterError as error:
            end.set_exception(error)

    main = threading.Thread(target=run)
    main.start()
    try:
        assert is_ready.wait(PATIENCE_SECONDS)
        url = f"http://{service.addresses[0]}/"
        end_thread(thread_named("web"), lambda: urllib.request.urlopen(url, timeout=10).close())

        with pytest.raises(ExporterError, match="the web server has ended: SystemExit"):
            end.result(PATIENCE_SECONDS)
        assert stop.is_set()
    finally:
        stop.set()
        main.join()
