"""Where container engines keep their data, as their configuration and the kernel tell."""

from __future__ import annotations

from msgspec import Struct

from exporter.model.host import Problem
from exporter.model.words import Content, Engine


class Mount(Struct, frozen=True, kw_only=True):
    """The file system that a path is on.

    `devices` are the numbers ("253:4") of the block devices that it lies on: none for
    one of the network, of memory, or of ZFS.
    """

    file_system: str
    source: str
    devices: tuple[str, ...] = ()


class StorageRoot(Struct, frozen=True, kw_only=True):
    """A directory in which an engine keeps all of its data, or one part (`holds`).

    `pool_device` is the device-mapper name of a thin pool that the engine makes its own
    volumes in: then these are its data, wherever the directory is. Without it, a `mount`
    of None is one that could not be found, for the reason in `unknown`.
    """

    engine: Engine
    path: str
    holds: Content = Content.DATA
    driver: str | None = None
    pool_device: str | None = None
    mount: Mount | None = None
    unknown: str = ""


class StorageReading(Struct, frozen=True, kw_only=True):
    """The engines' directories, and of each block device those that it lies on."""

    roots: tuple[StorageRoot, ...] = ()
    below: dict[str, tuple[str, ...]] = {}
    problems: tuple[Problem, ...] = ()


class StoragePlace(Struct, frozen=True, kw_only=True):
    """An engine's data, and the pools (VG and name) that it lies on.

    No pools at all: it is on none. None: that is not known, for the reason in `unknown`.
    """

    engine: Engine
    path: str
    holds: Content = Content.DATA
    driver: str | None = None
    pools: tuple[tuple[str, str], ...] | None = None
    file_system: str = ""
    source: str = ""
    unknown: str = ""
