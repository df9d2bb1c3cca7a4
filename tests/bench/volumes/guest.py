"""Makes thin volumes and times readings of them: `python guest.py COUNT`, in the guest."""

from __future__ import annotations

import fcntl
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from host import yardstick_seconds  # type: ignore[import-not-found]

from exporter.devmapper import IoctlKernel
from exporter.growth import Growth
from exporter.snapshot import Readings, build
from exporter.sources import device_mapper

POOL = "docker-thinpool"
ROUNDS = 15
CHUNK_SECTORS = 128
# linux/dm-ioctl.h: struct dm_ioctl, struct dm_target_spec, struct dm_target_msg
HEADER = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
TARGET = struct.Struct("=Q Q i I 16s")
VERSION = (4, 0, 0)
BUFFER_BYTES = 1024
CREATE, RESUME, LOAD, MESSAGE = 3, 6, 9, 14


def ask(control: int, request: int, name: str, body: bytes = b"", targets: int = 0) -> None:
    """Make one request of device-mapper. Raises OSError."""
    fields = (*VERSION, BUFFER_BYTES, HEADER.size, targets, 0, 0, 0, 0, 0, name.encode(), b"")
    buffer = bytearray((HEADER.pack(*fields) + body).ljust(BUFFER_BYTES, b"\0"))
    fcntl.ioctl(control, (3 << 30) | (HEADER.size << 16) | (0xFD << 8) | request, buffer)


def make(count: int) -> None:
    """Make thin volumes by the kernel's own requests: dmsetup would take an hour."""
    number = next(n for name, n in IoctlKernel().names().items() if name == POOL)
    with Path("/dev/mapper/control").open("r+b", buffering=0) as file:
        control = file.fileno()
        for thin_id in range(1, count + 1):
            name = f"docker-253:0-131-{thin_id:064x}"
            message = struct.pack("=Q", 0) + f"create_thin {thin_id}\0".encode()
            ask(control, MESSAGE, POOL, message)
            ask(control, CREATE, name)
            table = f"{number} {thin_id}\0".encode().ljust(64, b"\0")
            spec = TARGET.pack(0, 20 * 1024**3 // 512, 0, TARGET.size + 64, b"thin")
            ask(control, LOAD, name, spec + table, targets=1)
            ask(control, RESUME, name)


def timed(work: Callable[[], object]) -> float:
    """Time one run, in milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Make them, and time each side in turn."""
    make(int(sys.argv[1]))
    kernel = IoctlKernel()
    growth = Growth()

    def tables() -> None:
        for name in kernel.names():
            kernel.device(name)  # a thin volume's table alone

    def whole() -> None:
        reading = device_mapper.read(kernel, lambda _: None)
        growth.take(reading, time.monotonic())
        readings = Readings(kernel=reading, growth=growth.bytes_per_second)
        snapshot = build(readings, {}, taken_at=time.time())
        assert len(snapshot.pools[0].volumes) == 10

    def dmsetup() -> None:
        argv = ("dmsetup", "status", "--noflush", "--target", "thin")
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)

    sides = {
        "tables alone": tables,
        "tables and statuses": kernel.devices,
        "a whole reading, with rates and the largest": whole,
        "dmsetup status": dmsetup,
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, work in sides.items():
            times[name].append(timed(work))
    base = median(times["tables alone"])
    lines = [
        f"{name}: {median(values):.1f} ms, {median(values) / base:.2f} × the tables alone"
        for name, values in times.items()
    ]
    yardstick = median(yardstick_seconds() for _ in range(3)) * 1000
    sys.stdout.write("\n".join([*lines, f"yardstick: {yardstick:.1f} ms", ""]))


if __name__ == "__main__":
    main()
