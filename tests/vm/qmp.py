"""Talk to QEMU's monitor: commands in, answers out, events ignored."""

import json
import socket
from pathlib import Path
from typing import cast, final

COMMAND_DEADLINE_SECONDS = 120.0


class MonitorError(RuntimeError):
    """QEMU refused a command, or went away."""


@final
class Monitor:
    """A QMP connection, open until `close`."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(COMMAND_DEADLINE_SECONDS)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rw", encoding="utf-8")
        self._receive()
        self.execute("qmp_capabilities")

    def close(self) -> None:
        """Hang up; QEMU keeps running."""
        self._stream.close()
        self._socket.close()

    def execute(self, command: str, **arguments: object) -> object:
        """Run a QMP command and return its answer."""
        request = {"execute": command, "arguments": arguments}
        self._stream.write(json.dumps(request) + "\n")
        self._stream.flush()
        while True:
            answer = self._receive()
            if "error" in answer:
                raise MonitorError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def human(self, line: str) -> str:
        """Run a command of the human monitor, where any answer but silence is shown."""
        return str(self.execute("human-monitor-command", **{"command-line": line}))

    def _receive(self) -> dict[str, object]:
        line = self._stream.readline()
        if not line:
            raise MonitorError("QEMU closed its monitor")
        return cast("dict[str, object]", json.loads(line))
