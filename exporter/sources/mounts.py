"""Which file system a path is on, by the kernel's table of mounts instead of by statfs.

A file system that hangs, of the network above all, is not touched.
"""

from __future__ import annotations

import errno
import re
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from pathlib import Path, PurePosixPath

from msgspec import Struct

DEVICE = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")
OCTAL = re.compile(r"\\([0-7]{3})")
SEPARATOR = "-"
FIXED_WORDS = 6
ROOT = "/"
MAX_LINKS = 40  # as the kernel has it
# What reading a link says of what is none, or is not there.
NO_LINK = frozenset({errno.EINVAL, errno.ENOENT, errno.ENOTDIR})
NO_DISK = frozenset({"tmpfs", "ramfs", "rootfs"})
NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "afs", "lustre", "gfs2"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "autofs"),
    }
)


class MountLine(Struct, frozen=True, kw_only=True):
    """One mount; `device` is the st_dev of its files, "0:45" where it is no block device's.

    `root` is the directory of the file system that is mounted, "/" if it is all of it.
    """

    mount_id: str
    parent_id: str
    device: str
    root: str = "/"
    mount_point: str
    file_system: str
    source: str
    options: dict[str, str] = {}


def visible(text: str) -> str:
    """Write names that are no UTF-8 so that a record can hold them."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class UnresolvedPathError(Exception):
    """A path's symbolic links cannot be followed; the text says why."""


def parse_mountinfo(text: str) -> tuple[MountLine, ...]:
    r"""Read /proc/PID/mountinfo; a line that is none is passed over.

    Shape: `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG…] - TYPE SOURCE SUPER_OPTIONS`;
        blanks, tabs, newlines and backslashes within a word are `\040` and so on.
    Source: kernel filesystems/proc.rst, section 3.5.
    """
    return tuple(mount for line in text.split("\n") if (mount := _mount_line(line)))


def _mount_line(line: str) -> MountLine | None:
    words = line.split(" ")
    try:
        separator = words.index(SEPARATOR, FIXED_WORDS)
        mount_id, parent_id, device, root, point, _ = words[:FIXED_WORDS]
        file_system, source, options = words[separator + 1 : separator + 4]
    except ValueError:
        return None
    if not DEVICE.fullmatch(device):
        return None
    return MountLine(
        mount_id=mount_id,
        parent_id=parent_id,
        device=device,
        root=_unescaped(root),
        mount_point=_unescaped(point),
        file_system=file_system,
        source=_unescaped(source),
        options=dict(_options(options)),
    )


def _options(text: str) -> Iterator[tuple[str, str]]:
    for option in text.split(","):
        name, _, value = option.partition("=")
        yield name, _unescaped(value)


def _unescaped(word: str) -> str:
    return OCTAL.sub(lambda match: chr(int(match[1], 8)), word)


class Mounts:
    """The mounts of one mount namespace; `root` is how its files are reached from ours."""

    def __init__(self, lines: Sequence[MountLine], root: str = "") -> None:
        self.root = root
        known = {line.mount_id for line in lines}
        self._top = next((line for line in lines if _is_top(line, known)), None)
        self._below = defaultdict[str, list[MountLine]](list)
        for line in lines:
            self._below[line.parent_id].append(line)

    def covering(self, path: str) -> MountLine | None:
        """Find the mount that an absolute path without symbolic links is on.

        Goes from the root from mount to mount: one that lies below a later mount of a
        directory above it is hidden, though it is still in the table.
        """
        here = self._top
        crossed = set[str]()
        while here is not None:
            crossed.add(here.mount_id)
            below = [
                line
                for line in self._below[here.mount_id]
                if line.mount_id not in crossed and _is_within(path, line.mount_point)
            ]
            if not below:
                return here
            here = min(below, key=lambda line: len(line.mount_point))
        return None

    def resolved(self, path: str) -> str:
        """Follow symbolic links as far as the path exists, but not on the network.

        Raises UnresolvedPathError.
        """
        done, rest = PurePosixPath(ROOT), list(PurePosixPath(path).parts[1:])
        links = 0
        while rest:
            part = rest.pop(0)
            if part == "..":
                done = done.parent
                continue
            target = self._link(str(done / part))
            if target is None:
                done /= part
                continue
            links += 1
            if links > MAX_LINKS:
                raise UnresolvedPathError(f"{path}: too many symbolic links")
            to = PurePosixPath(target)
            done = PurePosixPath(ROOT) if to.is_absolute() else done
            rest = [one for one in to.parts if one != ROOT] + rest
        return str(done)

    def _link(self, path: str) -> str | None:
        """Read a symbolic link; None of what is none, is not there, or might hang."""
        mount = self.covering(path)
        if mount is None or mount.file_system in NETWORK:
            return None
        try:
            return str(Path(self.root + path).readlink())
        except OSError as error:
            if error.errno in NO_LINK:
                return None
            raise UnresolvedPathError(f"{path}: {error.strerror}") from error
        except ValueError as error:  # a null byte
            raise UnresolvedPathError(f"{path}: {error}") from error


def _is_top(line: MountLine, known: Container[str]) -> bool:
    """Whether this is the root's mount: what it is mounted on is not in the table."""
    is_on_another = line.parent_id in known and line.parent_id != line.mount_id
    return line.mount_point == ROOT and not is_on_another


def _is_within(path: str, directory: str) -> bool:
    return directory in {ROOT, path} or path.startswith(f"{directory}/")
