"""A simulated host at which time stands still: its answers cost next to nothing.

What is measured on it is the program's own cost, as on a host whose kernel and LVM do
their work in other processes and microseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from exporter.collection import HostAccess
from exporter.command import Output, Running
from exporter.devmapper import DmDevice, DmStatus, status_of
from exporter.errors import HostError
from exporter.simulation import SimulatedHost


class FrozenKernel:
    """Answers as the simulated kernel did at the beginning."""

    def __init__(self, host: SimulatedHost) -> None:
        self._devices = host.devices()
        self._by_name = {device.name: device for device in self._devices}
        self._names = {device.name: device.number for device in self._devices}
        self._statuses = {name: status_of(device) for name, device in self._by_name.items()}
        self._closed = threading.Event()

    def names(self) -> Mapping[str, str]:
        """See Kernel.names."""
        return self._names

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        return self._statuses.get(name)

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        return self._devices

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return self._by_name.get(name)

    def arm(self) -> None:
        """See Kernel.arm; nothing ever happens."""

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait."""
        self._closed.wait(timeout_seconds)
        return False

    def wake(self) -> None:
        """See Kernel.wake; a worker's end is soon enough seen at the next look."""

    def close(self) -> None:
        """Wake whoever waits, for good."""
        self._closed.set()


class FrozenRunner:
    """Answers every command as the simulated host did when it was first asked."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        self._outputs: dict[tuple[str, ...], Output] = {}

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        key = tuple(argv)
        if key not in self._outputs:
            self._outputs[key] = self._host.run(argv, deadline_seconds=deadline_seconds)
        return self._outputs[key]

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """See Runner.call; there is no hook."""
        del environment, deadline_seconds
        raise HostError(f"{argv[0]} is not expected while nothing happens")

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start; nothing is to be changed on a quiet host."""
        del environment
        raise HostError(f"{argv[0]} is not expected while nothing happens")


def access(host: SimulatedHost) -> HostAccess:
    """Give what a Collection reads."""
    kernel = FrozenKernel(host)
    dmeventd = host.dmeventd()
    return HostAccess(
        runner=FrozenRunner(host),
        kernel=kernel,
        loop_backing=lambda _: None,
        dmeventd=lambda: dmeventd,
        close=kernel.close,
        is_simulated=True,
    )
