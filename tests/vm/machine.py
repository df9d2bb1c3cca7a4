"""A virtual machine with real device-mapper, LVM, Docker and systemd.

Enters: a cached image. Leaves: commands' results and logs. Nothing survives the context:
QEMU is killed and its disks removed, whatever happens to the test.
"""

import fcntl
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, final

from tests.vm.image import Image
from tests.vm.qmp import Monitor, MonitorError
from tests.vm.ssh import GuestCommandError, GuestTimeoutError, Result, SecureShell
from tests.vm.waiting import wait_until

BOOT_DEADLINE_SECONDS = 120.0
# Kernels patch their own code as they boot. Emulated on two threads this goes wrong once in
# a while: 6.12 panicked in its scheduler, 5.10 stood still, and both booted the next time.
BOOT_ATTEMPTS = 3
PANIC = "Kernel panic"
RESTORE_DEADLINE_SECONDS = 60.0
# Without AVX, which takes longer to emulate than what programs do instead.
EMULATED_CPU = "Nehalem"
CONSOLE_TAIL_CHARACTERS = 3000
_RUN_PREFIX = "thinpool-vm-"
_SWEEP_AFTER_SECONDS = 60.0

_LOG_COMMANDS = {
    "journal.txt": "journalctl --no-pager -o short-monotonic",
    "dmesg.txt": "dmesg",
    "lvs.txt": "lvs -a --nolocking --units b -o+lv_profile,lv_when_full,lv_health_status",
    "vgs.txt": "vgs --nolocking --units b; pvs --nolocking --units b",
    "dmsetup.txt": "dmsetup status --noflush; dmsetup table; dmsetup info; losetup -a",
    "processes.txt": "ps -eo pid,ppid,stat,wchan:20,etimes,args",
    "units.txt": "systemctl list-units --no-pager --all 'dm-event*' docker* 'thinpool*' 'lvm*'",
}


class MachineError(RuntimeError):
    """The machine did not boot, or QEMU refused; the message ends with its console."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the machine is made of. Data disks are thin qcow2 files that honour discard."""

    disks: int = 4
    disk_size: str = "8G"
    memory_mib: int = 3072
    cpus: int = 2
    # Of the data disks' files: else their first writes take several times as long.
    is_preallocated: bool = False
    # What all data disks together take of writes; 0: as much as this host can.
    write_mib_per_second: int = 0
    guest_ports: tuple[int, ...] = (10128,)


@final
class Machine:
    """A booted virtual machine; use it as a context manager."""

    def __init__(self, image: Image, hardware: Hardware | None = None) -> None:
        self.image = image
        self.hardware = hardware or Hardware()
        self._cleanup = ExitStack()
        self._unit_count = 0

    def __enter__(self) -> "Machine":
        for attempt in range(1, BOOT_ATTEMPTS + 1):
            try:
                with ExitStack() as stack:
                    self._boot(stack)
                    self._cleanup = stack.pop_all()
            except MachineError as error:
                if attempt == BOOT_ATTEMPTS:
                    raise
                print(f"booting once more: {error}", file=sys.stderr)  # noqa: T201 - its report
            else:
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_seconds: float = 60,
        check: bool = True,
        stdin: str = "",
    ) -> Result:
        """Run a shell line or an argv as root; with check, failure raises."""
        result, _ = self._ssh.run(
            command, timeout_seconds=timeout_seconds, stdin=stdin.encode()
        )
        if check and result.returncode != 0:
            raise GuestCommandError(result)
        return result

    def put(self, local: Path, remote: str) -> None:
        """Copy a file or folder into the guest."""
        self._ssh.copy(str(local), f"guest:{remote}")

    def get(self, remote: str, local: Path) -> None:
        """Copy a file or folder out of the guest."""
        self._ssh.copy(f"guest:{remote}", str(local))

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file in the guest, with the folders it needs."""
        name = shlex.quote(path)
        line = f'mkdir -p "$(dirname {name})" && cat > {name} && chmod {mode:o} {name}'
        self.run(line, stdin=text)

    def read(self, path: str) -> str:
        """Read a text file of the guest."""
        return self.run(("cat", path)).stdout

    def wait_until(self, shell_condition: str, deadline_seconds: float) -> None:
        """Wait until a shell condition holds in the guest."""
        wait_until(
            lambda: self.run(shell_condition, check=False).returncode == 0,
            deadline_seconds=deadline_seconds,
            what=shell_condition,
        )

    def start(self, command: str | Sequence[str], *, unit: str | None = None) -> str:
        """Start a long-running command as a transient unit and return the unit's name."""
        self._unit_count += 1
        name = unit or f"test-{self._unit_count}"
        argv = ("sh", "-c", command) if isinstance(command, str) else tuple(command)
        # As the README has it: whoever is stopped leaves its children to themselves.
        options = ("--quiet", f"--unit={name}", "--property=KillMode=process")
        self.run(("systemd-run", *options, *argv))
        return name

    def is_active(self, unit: str) -> bool:
        """Say whether a unit is running."""
        return self.run(("systemctl", "is-active", "-q", unit), check=False).returncode == 0

    def stop(self, unit: str) -> None:
        """Stop a unit, whatever state it is in."""
        self.run(("systemctl", "stop", unit), check=False)

    def journal(self, unit: str) -> str:
        """Read what a unit logged."""
        return self.run(("journalctl", "--no-pager", "-o", "cat", "-u", unit)).stdout

    def disk(self, name: str = "data0") -> str:
        """Name a data disk's stable path in the guest: data0, data1 and so on."""
        return f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{name}"

    def port(self, guest_port: int = 10128) -> int:
        """Return the port on 127.0.0.1 that leads to a guest port."""
        return self._ports[guest_port]

    def interactive(self) -> int:
        """Hand this terminal to a root shell in the guest."""
        return self._ssh.interactive()

    def host_time(self) -> str:
        """Return this host's time in whole seconds, for comparison with the guest's."""
        return f"{time.time():.0f}"

    def console(self) -> str:
        """Return the end of the serial console."""
        path = self._directory / "console.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return text[-CONSOLE_TAIL_CHARACTERS:]

    def snapshot(self, name: str) -> None:
        """Keep memory and every disk under a name."""
        self._settle_and_disconnect()
        self._human(f"savevm {name}")
        self._reconnect(RESTORE_DEADLINE_SECONDS)

    def restore(self, name: str) -> None:
        """Go back to a snapshot: memory, disks and processes; only the clock is set anew."""
        self._ssh.disconnect()
        self._human(f"loadvm {name}")
        self._reconnect(RESTORE_DEADLINE_SECONDS)
        self._unit_count = 0
        self.run(f"date -s @{time.time():.3f}")

    def use_steady_clock(self) -> None:
        """Keep the guest's clocks from jumping when a snapshot taken from now on is restored.

        QEMU does not put the emulated time stamp counter back: by it, uptime goes on from
        where it was before the restore, past every deadline of what runs in the snapshot.
        The HPET is put back, but takes longer to read.
        """
        self.run("echo hpet > /sys/devices/system/clocksource/clocksource0/current_clocksource")

    def collect_logs(self, directory: Path) -> Path:
        """Write console, journal and storage state into directory, as far as they answer."""
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._directory / "console.log", directory / "console.txt")
        for name, line in _LOG_COMMANDS.items():
            with suppress(GuestTimeoutError):
                result = self.run(line, check=False, timeout_seconds=20)
                (directory / name).write_text(result.stdout + result.stderr)
        return directory

    def said(self, count: int) -> Sequence[str]:
        """Read the last lines that the tests' and the program's units logged."""
        line = f"journalctl --no-pager -o short-monotonic -n {count} -u 'thinpool*' -u 'test-*'"
        with suppress(GuestTimeoutError):
            return self.run(line, check=False, timeout_seconds=20).stdout.splitlines()
        return ("(no answer)",)

    def _boot(self, stack: ExitStack) -> None:
        """Make the disks, start QEMU and wait for a shell; stack undoes each step."""
        self._directory = _make_run_directory(stack)
        self._ports = _free_ports((22, *self.hardware.guest_ports))
        self._make_disks()
        console = stack.enter_context((self._directory / "qemu.log").open("wb"))
        self._qemu = stack.enter_context(_killed_at_exit(self._argv_qemu(), console))
        control = self._directory / "ssh"
        self._ssh = SecureShell(port=self.port(22), key=self.image.key, control=control)
        stack.callback(self._ssh.disconnect)
        wait_until(self._has_monitor, deadline_seconds=30, what="QEMU's monitor")
        self._monitor = stack.enter_context(closing(Monitor(self._directory / "qmp")))
        self._reconnect(BOOT_DEADLINE_SECONDS)
        self.run("systemctl is-system-running --wait", check=False)

    def _make_disks(self) -> None:
        """Lay an overlay over the cached image, and thin empty data disks beside it."""
        backing = ("-b", str(self.image.disk), "-F", "qcow2")
        create = ("qemu-img", "create", "-q", "-f", "qcow2")
        root = (*create, *backing, "root.qcow2")
        kind = "metadata" if self.hardware.is_preallocated else "off"
        data = [
            (*create, "-o", f"preallocation={kind}", f"data{n}.qcow2", self.hardware.disk_size)
            for n in range(self.hardware.disks)
        ]
        for argv in (root, *data):
            subprocess.run(argv, cwd=self._directory, check=True)

    def _argv_qemu(self) -> list[str]:
        """Build QEMU's command line; paths are relative to the run directory."""
        # KVM hangs on some nested hosts even where /dev/kvm opens: only on request.
        kvm = os.environ.get("THINPOOL_VM_KVM") == "1"
        accel = "kvm" if kvm else "tcg,thread=multi,tb-size=1024"
        kernel_options = (
            "console=ttyS0 root=/dev/vda rw mitigations=off apparmor=0 net.ifnames=0 "
            # QEMU keeps translated code by its address: without this, which moves programs
            # about, each process is translated anew, and lvs takes twice as long.
            "systemd.show_status=0 quiet norandmaps "
            # After a restore uptime jumps, and the kernel would tell at length who stood still.
            "nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
        )
        forwards = ",".join(
            f"hostfwd=tcp:127.0.0.1:{ours}-:{guests}" for guests, ours in self._ports.items()
        )
        argv = [
            # The kernel kills QEMU when this process dies, even by SIGKILL.
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
            *("-accel", accel, "-cpu", "host" if kvm else EMULATED_CPU),
            *("-m", str(self.hardware.memory_mib), "-smp", str(self.hardware.cpus)),
            *("-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"),
            *("-serial", "file:console.log", "-qmp", "unix:qmp,server=on,wait=off"),
            *("-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd)),
            *("-append", kernel_options),
            *("-drive", "if=none,id=root,file=root.qcow2,format=qcow2,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=root", "-device", "virtio-scsi-pci"),
            *("-netdev", f"user,id=net,restrict=on,{forwards}"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "virtio-rng-pci"),
        ]
        for number in range(self.hardware.disks):
            name = f"data{number}"
            drive = (
                f"if=none,id={name},file={name}.qcow2,format=qcow2,cache=unsafe,discard=unmap"
            )
            if speed := self.hardware.write_mib_per_second:
                drive += f",throttling.bps-write={speed * 1024**2},throttling.group=data"
            argv += ("-drive", drive, "-device", f"scsi-hd,drive={name},serial={name}")
        return argv

    def _has_monitor(self) -> bool:
        self._check_running()
        return (self._directory / "qmp").exists()

    def _reconnect(self, deadline_seconds: float) -> None:
        """Wait for a shell; on failure show how far the machine came."""
        try:
            wait_until(self._has_shell, deadline_seconds=deadline_seconds, what="SSH")
        except TimeoutError as error:
            raise MachineError(f"{error}; console:\n{self.console()}") from error

    def _has_shell(self) -> bool:
        self._check_running()
        return self._ssh.connect()

    def _check_running(self) -> None:
        if PANIC in self.console():
            raise MachineError(f"its kernel panicked; console:\n{self.console()}")
        if self._qemu.poll() is not None:
            log = (self._directory / "qemu.log").read_text(errors="replace")
            raise MachineError(f"QEMU exited {self._qemu.returncode}: {log}")

    def _settle_and_disconnect(self) -> None:
        """Leave nothing half-done in a snapshot: dirty pages, open connections."""
        self.run("sync; journalctl --sync")
        self._ssh.disconnect()

    def _human(self, line: str) -> None:
        """Run a monitor command that is silent when it succeeds."""
        try:
            answer = self._monitor.human(line)
        except (MonitorError, OSError) as error:
            raise MachineError(f"{line}: {error}; console:\n{self.console()}") from error
        if answer.strip():
            raise MachineError(f"{line}: {answer.strip()}")


@contextmanager
def _killed_at_exit(argv: Sequence[str], log: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a child process that does not outlive the context."""
    directory = Path(log.name).parent
    child = subprocess.Popen(
        argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _make_run_directory(stack: ExitStack) -> Path:
    """Make a directory that is removed at exit, and later if this process is killed."""
    _sweep_run_directories()
    directory = Path(tempfile.mkdtemp(prefix=_RUN_PREFIX))
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    lock = stack.enter_context((directory / "lock").open("w"))
    fcntl.flock(lock, fcntl.LOCK_EX)
    return directory


def _sweep_run_directories() -> None:
    """Remove what killed runs left: directories whose lock nobody holds any more."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_RUN_PREFIX}*"):
        with suppress(OSError), (directory / "lock").open() as lock:
            if time.time() - directory.stat().st_ctime < _SWEEP_AFTER_SECONDS:
                continue  # perhaps just made and not locked yet
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)


def _free_ports(guest_ports: Sequence[int]) -> dict[int, int]:
    """Find a free port on this host for each guest port, all held while choosing."""
    with ExitStack() as stack:
        found = {}
        for guest_port in guest_ports:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            found[guest_port] = int(listener.getsockname()[1])
        return found
