"""Which file may be run as root: one that nobody but root can have written or put there.

Every directory and link on the way to it is looked at on a descriptor of its own, in the
order in which the kernel passes them. Where each belongs to root and only root may write,
nobody else can change the way between the look and the start.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shlex
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import PurePosixPath

from msgspec import Struct

MAX_LINKS = 40  # the kernel's own limit
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH  # the group's bit also stands for ACLs
EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
PLACE = "/etc/thinpool-exporter"


class Trust(Struct, frozen=True, kw_only=True):
    """Whose files are run; directories above `root` are taken as they are."""

    owner_uid: int = 0
    root: str = "/"


ROOT_ALONE = Trust()


def refusal(command: str, trust: Trust) -> str:
    """Say which files keep the command from being run, and what to change; "" if none."""
    try:
        *directories, file = _way(command)
    except OSError as error:
        return f"{shlex.quote(command)}: {os.strerror(error.errno or errno.EIO)}"
    except ValueError as error:  # a null byte
        return f"{shlex.quote(command)}: {error}"
    above = PurePosixPath(trust.root).parents
    faults = [
        fault
        for path, status in directories
        if PurePosixPath(path) not in above
        for fault in _directory_faults(path, status, trust)
    ]
    faults += _file_faults(*file, trust)
    return "; ".join(dict.fromkeys(faults))  # a link may pass a directory twice


def _way(command: str) -> Iterator[tuple[str, os.stat_result]]:
    """Follow a path to its file: each directory on the way, and the file at last.

    Raises OSError where it leads nowhere.
    """
    left = [*reversed(PurePosixPath(command).parts)]
    where, links, directory = "/", 0, None
    with ExitStack() as opened:
        while left:
            name = left.pop()
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=directory)
            opened.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                left += reversed(PurePosixPath(os.readlink("", dir_fd=descriptor)).parts)
            else:
                where, directory = posixpath.normpath(posixpath.join(where, name)), descriptor
                yield where, status
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _directory_faults(path: str, status: os.stat_result, trust: Trust) -> Iterator[str]:
    if status.st_mode & stat.S_ISVTX and status.st_mode & WRITABLE_BY_OTHERS:
        yield f"{path}: others may write there; keep the file elsewhere, such as in {PLACE}"
    else:
        yield from _owner_faults(path, status, trust)


def _file_faults(path: str, status: os.stat_result, trust: Trust) -> Iterator[str]:
    if not stat.S_ISREG(status.st_mode):
        yield f"{path}: not a regular file"
        return
    yield from _owner_faults(path, status, trust)
    if not status.st_mode & EXECUTABLE:
        yield f"{path}: not executable: chmod u+x {shlex.quote(path)}"


def _owner_faults(path: str, status: os.stat_result, trust: Trust) -> Iterator[str]:
    if status.st_uid != trust.owner_uid:
        change = f"chown {trust.owner_uid} {shlex.quote(path)}"
        yield f"{path}: belongs to user ID {status.st_uid}: {change}"
    if status.st_mode & WRITABLE_BY_OTHERS:
        yield f"{path}: others than its owner may write to it: chmod go-w {shlex.quote(path)}"
