"""Sockets that systemd passes: sd_listen_fds(3)."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from exporter.errors import ListenError

FIRST_DESCRIPTOR = 3


def passed_descriptors(environment: MutableMapping[str, str] = os.environ) -> tuple[int, ...]:
    """Take over what was passed to this process, so that no child believes it to be its own.

    Raises ListenError when nothing was.
    """
    is_ours = environment.pop("LISTEN_PID", "") == str(os.getpid())
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if not is_ours or not count.isdigit() or not int(count):
        step = "is thinpool-exporter.socket enabled, and this its service?"
        raise ListenError("systemd's socket", f"none was passed: {step}")
    descriptors = tuple(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors
