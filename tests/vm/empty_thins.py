"""Use up a pool's metadata: `python3 empty_thins.py DEVICE [PERCENT]`, in the guest.

Makes thin devices without any data, each of which takes a block of metadata or more,
until so much of it is used, or until the kernel refuses. It sends the pool its messages
itself: hundreds of `dmsetup message` take minutes on an emulated CPU.
"""

import fcntl
import struct
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

# linux/dm-ioctl.h: struct dm_ioctl, then struct dm_target_msg {sector; message[]}
DM_TARGET_MSG = 0xC138FD0E
HEADER = struct.Struct("=3I I I I i I I I Q 128s 129s 7x")
VERSION = (4, 0, 0)
BUFFER_BYTES = 1024
FIRST_ID, LAST_ID = 100, 2**24 - 1
BETWEEN_LOOKS = 10


def main() -> None:
    """Make thin devices until it is enough."""
    device = sys.argv[1]
    percent = int(sys.argv[2]) if len(sys.argv) > 2 else 101
    with Path("/dev/mapper/control").open("rb", buffering=0) as control:
        for number in range(FIRST_ID, LAST_ID):
            if number % BETWEEN_LOOKS == 0 and used_percent(device) > percent:
                return
            try:
                send(control, device, f"create_thin {number}")
            except OSError as error:
                sys.stdout.write(f"refused: {error}\n")
                return


def send(control: BinaryIO, device: str, message: str) -> None:
    """Send one message to the pool."""
    body = struct.pack("=Q", 0) + message.encode() + b"\0"
    fields = (*VERSION, BUFFER_BYTES, HEADER.size, 0, 0, 0, 0, 0, 0, device.encode(), b"")
    buffer = bytearray((HEADER.pack(*fields) + body).ljust(BUFFER_BYTES, b"\0"))
    fcntl.ioctl(control, DM_TARGET_MSG, buffer)


def used_percent(device: str) -> float:
    """Read how much of the metadata is used."""
    argv = ("dmsetup", "status", "--noflush", device)
    words = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    used, _, total = words[4].partition("/")
    return 100 * int(used) / int(total)


if __name__ == "__main__":
    main()
