"""Fill a process' standard error: `python3 full_stderr.py PID`, in the guest.

Its next line then blocks, until whoever reads there (journald) goes on.
"""

import ctypes
import os
import socket
import sys

PIDFD_GETFD = 438  # the same on every architecture
STANDARD_ERROR = 2
LINE = b"x" * 1023 + b"\n"


def main() -> None:
    """Take the process' own socket, and write to it what it holds."""
    process = os.pidfd_open(int(sys.argv[1]))
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(
        PIDFD_GETFD, process, STANDARD_ERROR, 0
    )
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=descriptor) as stream:
        written = 0
        try:
            while True:
                written += stream.send(LINE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sys.stdout.write(f"{written}\n")


if __name__ == "__main__":
    main()
