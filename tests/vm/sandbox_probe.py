"""Try what a unit forbids: `python sandbox_probe.py NAME…`, as that unit's process.

Prints one JSON object: what each attempt met, "" where it succeeded.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

OUTSIDE = ("/etc", "/usr", "/root", "/home", "/var/lib", "/boot", "/run", "/opt")
CLONE_NEWUSER = 0x10000000
UNSHARE, REBOOT, BPF = 272, 169, 321


def write(directory: str) -> None:
    """Make a file."""
    (Path(directory) / ".sandbox-probe").write_text("")


def connect() -> None:
    """Reach this host's web side over the loopback, which a network of one's own lacks."""
    socket.create_connection(("127.0.0.1", 10128), timeout=5).close()


def listen() -> None:
    """Listen on the network."""
    with socket.socket(socket.AF_INET) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()


def raw() -> None:
    """See every packet."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def load_module() -> None:
    """Load a kernel module."""
    subprocess.run(("modprobe", "dummy"), check=True, capture_output=True)


def call(number: int, *arguments: int) -> Callable[[], None]:
    """Make a system call by its number on amd64."""

    def attempt() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return attempt


def tune() -> None:
    """Write to the kernel's settings what they are."""
    path = Path("/proc/sys/vm/swappiness")
    path.write_text(path.read_text())


def character_device() -> None:
    """Read the machine's memory, or what stands for such devices."""
    os.close(os.open("/dev/kmsg", os.O_RDONLY))


def mount() -> None:
    """Mount something."""
    subprocess.run(("mount", "-t", "tmpfs", "none", "/mnt"), check=True, capture_output=True)


def become() -> None:
    """Be another user."""
    os.setuid(1)


def rename_host() -> None:
    """Give the host the name that it has."""
    name = os.uname().nodename.encode()
    if ctypes.CDLL(None, use_errno=True).sethostname(name, len(name)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def lock_guard() -> None:
    """Hold the lock of a guard that runs or is to start, by the weakest right there is."""
    with Path("/run/thinpool-exporter/guard.lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def read_snapshot() -> None:
    """Read what the guard publishes."""
    Path("/run/thinpool-exporter/snapshot.json").read_bytes()


ATTEMPTS: dict[str, Callable[[], None]] = {
    **{f"write {path}": partial(write, path) for path in OUTSIDE},
    "connect": connect,
    "listen": listen,
    "raw": raw,
    "load_module": load_module,
    "tune": tune,
    "character_device": character_device,
    "mount": mount,
    "become": become,
    "user_namespace": call(UNSHARE, CLONE_NEWUSER),
    "reboot": call(REBOOT, 0, 0, 0),
    "bpf": call(BPF, 0, 0, 0),
    "rename the host": rename_host,
    "read Snapshot": read_snapshot,
    "lock guard": lock_guard,
    "write own": partial(write, "/run/thinpool-exporter"),
    "write lvm": partial(write, "/etc/lvm/archive"),
}


def main() -> None:
    """Try all."""
    met = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except (OSError, subprocess.CalledProcessError) as error:
            met[name] = str(error) or repr(error)
        else:
            met[name] = ""
    json.dump(met, sys.stdout)


if __name__ == "__main__":
    main()
