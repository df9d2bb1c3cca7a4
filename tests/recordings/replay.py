"""What tests/vm/record.py has kept, as a Runner and a Kernel that answer with it."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from exporter.command import Output, Running
from exporter.devmapper import DmDevice
from exporter.errors import CommandFailedError, CommandStuckError, HostError
from exporter.model import Dmeventd, DockerInfo, LoopBacking, LvmLayout, StorageReading
from exporter.snapshot import Readings
from exporter.sources import device_mapper, docker, lvm, policy, storage_root
from exporter.sources.host_files import Places
from tests.recordings import dmsetup

T = TypeVar("T")
ANY_RELEASE = "[!l]*/*"  # but no lvm-VERSION, where LVM alone was asked
HERE = Path(__file__).parent
# What engines have of files and directories.
ENGINE_FILES = (
    "/etc/docker/daemon.json",
    "/etc/containerd/config.toml",
    "/etc/containers/storage.conf",
)
ENGINE_DIRECTORIES = ("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers/storage")
LVM, DOCKER = "/sbin/lvm", "/usr/bin/docker"
# Fields that are asked for since the recordings: they are blank in these, or not known.
LATER = re.compile(
    r"\b[lv][vg]_allocation_policy,|^ +[lv][vg]_allocation_policy .*$", re.MULTILINE
)
CONFIG = re.compile(r"--config (?:'[^']*'|\S+) ")


class _Command(msgspec.Struct):
    """How a command was given and how it ended; None is one that had to be killed."""

    argv: str
    status: int | None


class _Seen(msgspec.Struct):
    """What our own readers of /proc, /sys and the ioctl saw."""

    dmeventd: Dmeventd
    loops: dict[str, LoopBacking]
    ioctl: tuple[DmDevice, ...]


class NotRecordedError(AssertionError):
    """The program asks something that nobody asked the real host: record anew."""


class Recording:
    """One state of a real host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        text = (directory / "commands.json").read_bytes()
        self.commands = msgspec.json.decode(text, type=dict[str, _Command])

    @property
    def name(self) -> str:
        """Release and state."""
        return self.directory.relative_to(HERE).as_posix()

    @property
    def state(self) -> str:
        """The state alone."""
        return self.directory.name

    @cached_property
    def _seen(self) -> _Seen:
        return msgspec.json.decode((self.directory / "host.json").read_bytes(), type=_Seen)

    def output(self, name: str, stream: str = "stdout") -> str:
        """Give what a command printed; an empty stream has no file."""
        file = self.directory / f"{name}.{stream}"
        return file.read_bytes().decode("utf-8", "backslashreplace") if file.exists() else ""

    def rows(self, name: str) -> list[dict[str, str]]:
        """Read a report's rows without any parser of ours."""
        text = self.output(name)
        if not text.strip():
            return []
        found: list[dict[str, Any]] = json.loads(text)["report"]
        return [row for section in found for rows in section.values() for row in rows]

    def run(self, argv: Sequence[str], *, deadline_seconds: float) -> Output:
        """See Runner.run: what the real command answered to exactly this argv."""
        line = _plain(shlex.join(argv))
        found = [
            name for name, command in self.commands.items() if _plain(command.argv) == line
        ]
        if not found:
            raise NotRecordedError(f"{self.name} lacks: {line}")
        status = self.commands[found[0]].status
        stdout, stderr = (
            LATER.sub("", self.output(found[0], stream)) for stream in ("stdout", "stderr")
        )
        if status is None:
            raise CommandStuckError(argv, deadline_seconds)
        if status:
            raise CommandFailedError(argv, status, stderr, stdout=stdout)
        return Output(argv=tuple(argv), status=status, stdout=stdout, stderr=stderr)

    def start(self, argv: Sequence[str], *, environment: Mapping[str, str]) -> Running:
        """See Runner.start; nothing here changes a host."""
        raise NotRecordedError(f"{self.name}: {shlex.join(argv)} with {environment}")

    def keep_ready(self, program: str, *, environment: Mapping[str, str]) -> None:
        """See Runner.keep_ready."""

    def call(
        self, argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float
    ) -> Output:
        """See Runner.call; nobody's own command was recorded."""
        del deadline_seconds
        raise NotRecordedError(f"{self.name}: {shlex.join(argv)} with {environment}")

    def devices(self) -> tuple[DmDevice, ...]:
        """See Kernel.devices: what the ioctl gave."""
        return self._seen.ioctl

    def device(self, name: str) -> DmDevice | None:
        """See Kernel.device."""
        return next((device for device in self.devices() if device.name == name), None)

    def arm(self) -> None:
        """See Kernel.arm; nothing moves here."""

    def wait(self, timeout_seconds: float) -> bool:
        """See Kernel.wait; nothing moves here."""
        del timeout_seconds
        return False

    def devices_by_dmsetup(self) -> tuple[DmDevice, ...]:
        """Give the devices as dmsetup printed them at the same time."""
        return tuple(dmsetup.devices(*(self.output(name) for name in dmsetup.COMMANDS)))

    def dmeventd(self) -> Dmeventd:
        """Give what a look at the process table gave."""
        return self._seen.dmeventd

    def loop_backing(self, device_number: str) -> LoopBacking | None:
        """Give what was under a loop device."""
        return self._seen.loops.get(device_number)

    def ask(self, argv: Sequence[str]) -> Output:
        """Run as the sources do."""
        return self.run(argv, deadline_seconds=1)

    def read_profile(self, path: Path) -> str:
        """Give a profile's file that was read; see policy.read_profile."""
        return policy.read_profile(self.directory / path.name)

    def _layout(self) -> LvmLayout:
        layout = lvm.read_layout(self.ask, LVM)
        monitoring, problems = lvm.read_monitoring(self.ask, LVM, self.dmeventd())
        return msgspec.structs.replace(
            layout,
            dmeventd=self.dmeventd(),
            monitoring=monitoring,
            problems=(*layout.problems, *problems),
        )

    def _storage(self, docker_info: DockerInfo | None) -> StorageReading | None:
        """Read where engines' data is, from the host's files as they were."""
        if "mountinfo" not in self.commands:
            return None
        with tempfile.TemporaryDirectory() as name:
            places = Places(
                root=Path(name, "root"), proc=Path(name, "proc"), sys=Path(name, "sys")
            )
            files = self.output("engine_files").split("==> ")[1:]
            for file in files:
                path, _, text = file.partition(" <==\n")
                _write(places.root / path.lstrip("/"), text)
            for directory in self.output("engine_directories").split():
                (places.root / directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
            _write(places.proc / "1" / "mountinfo", self.output("mountinfo"))
            for line in self.output("below").splitlines():
                number, *below = line.split()
                slaves = places.sys / "dev" / "block" / number / "slaves"
                slaves.mkdir(parents=True)
                for other in below:
                    _write(slaves / other.replace(":", "-") / "dev", f"{other}\n")
            return storage_root.read(docker_info, places)

    def readings(self) -> tuple[Readings, dict[str, str]]:
        """Read every source as the program does; beside it the errors of those that fail."""
        errors: dict[str, str] = {}

        def attempt(name: str, read: Callable[[], T]) -> T | None:
            try:
                return read()
            except HostError as error:
                errors[name] = str(error)
                return None

        layout = attempt("lvm", self._layout)
        found = layout or LvmLayout()
        named = [pool.profile for pool in found.pools]
        named += [group.profile for group in found.volume_groups]
        profiles = {profile for profile in named if profile}
        has_docker = "docker_info_json" in self.commands
        info = attempt("docker", lambda: docker.read(self.ask, DOCKER)) if has_docker else None
        readings = Readings(
            kernel=attempt("kernel", lambda: device_mapper.read(self, self.loop_backing)),
            lvm=layout,
            policies=attempt("policy", lambda: policy.read(self.ask, LVM, profiles)),
            docker=info,
            storage=self._storage(info),
        )
        return readings, errors


def recordings(pattern: str = ANY_RELEASE, *, has_host: bool = True) -> list[Recording]:
    """Find the recordings of whole states, or those of single commands."""
    found = sorted(HERE.glob(f"{pattern}/commands.json"))
    return [
        Recording(file.parent)
        for file in found
        if (file.parent / "host.json").exists() == has_host
    ]


# What an older LVM does not tell; then it is unknown, or nothing.
UNTOLD = {
    "pools": {"needs_check", "when_full", "profile", "health"},
    "volume_groups": {"profile"},
    "thins": set[str](),
}


def differences(layout: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    """Compare what two LVMs told of one host; what the first left open is no difference."""
    found = []
    for kind, untold in UNTOLD.items():
        for ours, theirs in zip(layout[kind], reference[kind], strict=True):
            for key in ours.keys() & theirs.keys():  # later records know more
                is_open = ours[key] is None and key in untold
                if ours[key] != theirs[key] and not is_open:
                    found.append(f"{ours['name']}: {key} {ours[key]!r}, not {theirs[key]!r}")
    return found


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _plain(line: str) -> str:
    """Take off what LVM is told by --config: recordings are of hosts without odd settings."""
    return LATER.sub("", CONFIG.sub("", line))
