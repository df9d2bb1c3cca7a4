"""The simulated host: a Runner and a Kernel over one state that moves with the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from exporter.collection import HostAccess
from exporter.command import Output, Running
from exporter.devmapper import DmDevice, DmStatus, status_of
from exporter.errors import CommandFailedError, CommandMissingError, CommandStuckError
from exporter.model import Dmeventd, DockerInfo, LoopBacking, StorageReading, VolumeOwner
from exporter.simulation import kernel
from exporter.simulation.arguments import FAILED
from exporter.simulation.controls import HostControls
from exporter.simulation.docker import docker, storage
from exporter.simulation.lvextend import lvextend
from exporter.simulation.lvm import lvm
from exporter.simulation.running import SimulatedRunning, StuckRunning
from exporter.simulation.state import HostState

Answer = tuple[int, str, str]
# Names under which lvm is installed besides its own.
LVM_LINKS = frozenset({"lvs", "vgs", "pvs", "lvextend", "lvmconfig"})


class SimulatedHost(HostControls):
    """A host with LVM, Docker and a kernel, none of them real.

    It is safe to use from several threads. Time is the clock's: state moves when
    somebody looks. `extend_seconds` is how long an lvextend takes, by that clock.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, extend_seconds: float = 0.0
    ) -> None:
        super().__init__(clock)
        self._extend_seconds = extend_seconds
        self._closed = threading.Event()
        self._running: list[SimulatedRunning] = []
        self.calls: list[tuple[tuple[str, ...], dict[str, str]]] = []

    @contextmanager
    def _present(self) -> Iterator[HostState]:
        with super()._present() as state:
            self._finish_due()
            yield state

    def _finish_due(self) -> None:
        for running in [*self._running]:
            if running.finish_if_due():
                self._running.remove(running)

    def access(self) -> HostAccess:
        """Give what a Collection reads, as if this were the host."""
        return HostAccess(
            runner=self,
            kernel=self,
            loop_backing=self.loop_backing,
            dmeventd=self.dmeventd,
            volume_owners=self.volume_owners,
            storage=self.storage,
            close=self.close,
            is_simulated=True,
        )

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run."""
        command, words = _command(argv)
        with self._present():
            self._faults.raise_for(command)
            if command in self._faults.stuck:
                raise CommandStuckError(argv, deadline_seconds)
            output = self._answer(argv, command, words)
        if output.status:
            raise CommandFailedError(
                argv, output.status, output.stderr or output.stdout, stdout=output.stdout
            )
        return output

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start; what the command changes comes at its end."""
        del environment  # LVM_RUN_BY_DMEVENTD keeps off a dmeventd that is not here
        command, words = _command(argv)
        with self._present():
            self._faults.raise_for(command)
            if command in self._faults.stuck:
                return StuckRunning()
            running = SimulatedRunning(
                self._present,
                clock=self._clock,
                ends_at=self._clock() + self._extend_seconds,
                end=lambda: self._end(argv, command, words),
                closed=self._closed,
            )
            self._running.append(running)
            self._finish_due()
        return running

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready: nothing is ever slow to start here."""

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """See Runner.call: a user's command is real, so it is not run, only kept."""
        del deadline_seconds
        with self._present():
            self.calls.append((tuple(argv), dict(environment)))
        return Output(argv=tuple(argv), status=0, stdout="", stderr="")

    def volume_owners(self, root: Path, names: Iterable[str]) -> Mapping[str, VolumeOwner]:
        """Tell whose these devices are: there are no files of Docker's here."""
        del root
        with self._present() as state:
            owners = {
                thin.name: VolumeOwner(container=thin.container, image=thin.image)
                for thin in state.docker_thins
            }
        return {name: owners[name] for name in names if name in owners}

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices."""
        with self._present() as state:
            self._faults.raise_for("device_mapper")
            return tuple(kernel.devices(state))

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return next((device for device in self.devices() if device.name == name), None)

    def names(self) -> Mapping[str, str]:
        """See Kernel.names."""
        return {device.name: device.number for device in self.devices()}

    def status(self, name: str) -> DmStatus | None:
        """See Kernel.status."""
        with self._present() as state:
            self._faults.raise_for("device_mapper")
            device = kernel.pool_device(state, name)
        return status_of(device) if device else None

    def arm(self) -> None:
        """See Kernel.arm."""
        with self._present():
            pass  # what nobody has looked at yet happened before this
        self._events.arm()

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait; `close` ends it too."""
        with self._present():
            pass  # what has happened by now counts, though nobody has looked
        return self._events.wait(timeout_seconds)

    def wake(self) -> None:
        """See Kernel.wake."""
        self._events.wake()

    def close(self) -> None:
        """Wake whoever waits, for good."""
        self._closed.set()
        self._events.close()

    def dmeventd(self) -> Dmeventd:
        """Stand in for a look at the process table."""
        with self._present() as state:
            return state.dmeventd

    def loop_backing(self, device_number: str) -> LoopBacking | None:
        """Stand in for /sys and statvfs."""
        with self._present() as state:
            return kernel.loop_backing(state, device_number)

    def storage(self, said: DockerInfo | None) -> StorageReading:
        """Stand in for the mounts."""
        with self._present() as state:
            return storage(state, said)

    def _end(self, argv: Sequence[str], command: str, words: Sequence[str]) -> Output:
        output = self._answer(argv, command, words)
        if not output.status:
            self._events.note()  # LVM has resumed the pool
        return output

    def _answer(self, argv: Sequence[str], command: str, words: Sequence[str]) -> Output:
        if command in self._faults.texts:
            status, stdout, stderr = 0, self._faults.texts[command], ""
        elif command == "lvextend" and self._faults.refusal is not None:
            status, stdout, stderr = FAILED, "", self._faults.refusal
        else:
            status, stdout, stderr = self._ask(argv, command, words)
        return Output(argv=tuple(argv), status=status, stdout=stdout, stderr=stderr)

    def _ask(self, argv: Sequence[str], command: str, words: Sequence[str]) -> Answer:
        if command == "lvextend":
            return lvextend(self._state, words)
        if command == "docker" and self._state.docker:
            return docker(self._state, words)
        if command == "docker" or not _is_lvm(argv):
            raise CommandMissingError(argv, "No such file or directory")
        return lvm(self._state, command, words)


def _is_lvm(argv: Sequence[str]) -> bool:
    return PurePath(argv[0]).name in {"lvm", *LVM_LINKS}


def _command(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Name the command, and give its arguments; `lvm lvs` is lvs."""
    name = PurePath(argv[0]).name
    if name != "lvm":
        return name, argv[1:]
    return (argv[1] if len(argv) > 1 else ""), argv[2:]
