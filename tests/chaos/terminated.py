"""p18, in a process of its own: SIGTERM while what Docker has on its disks hangs."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.chaos.faults import Board, Effect, Fault
from tests.chaos.host import ChaosHost
from tests.chaos.service import Service


def main() -> None:
    """Guard until SIGTERM, as the command does."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    host = ChaosHost()
    host.add_vg("a", extents=1000)
    host.make_pool("a/pool", profile=None)
    host.set_docker("a/pool")
    board = Board()
    with tempfile.TemporaryDirectory() as state:
        service = Service(host, board=board, state=Path(state)).start().settle()
        faults = [
            board.put(Fault(call=call, effect=Effect.HANG))
            for call in ("storage", "volume_owners", "loop_backing")
        ]
        service.wait(lambda: bool(faults[0].hits), what="Docker's directory hangs")
        sys.stdout.write("hangs\n")
        sys.stdout.flush()
        stop.wait()
        service.stop()


if __name__ == "__main__":
    main()
