"""Container engines' configuration files: text in, the directories of their data out. Pure.

A file that its engine would refuse says nothing: ParseError, never a guess.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from exporter.errors import ParseError, quote

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCKER_ROOT = "/var/lib/docker"
CONTAINERD_ROOT = "/var/lib/containerd"
PODMAN_ROOT = "/var/lib/containers/storage"
MAX_LINE_CHARACTERS = 8192
SNAPSHOTTER = "io.containerd.snapshotter.v1.devmapper"
# In files of version 1 a plugin goes by the last part of its name.
SNAPSHOTTER_NAMES = (SNAPSHOTTER, "devmapper")
POOL_OPTION = re.compile(r"(?:devicemapper|dm)\.thinpooldev=(?:/dev/mapper/)?(.+)")

Table = dict[str, object]


class EngineFile(Struct, frozen=True, kw_only=True):
    """What a file says; None where it says nothing."""

    root: str | None = None
    driver: str | None = None
    pool_device: str | None = None


class ContainerdFile(Struct, frozen=True, kw_only=True):
    """What one of containerd's files says, and the further ones that it names."""

    root: str | None = None
    snapshotter: EngineFile | None = None
    imports: tuple[str, ...] = ()
    has_disabled: bool = False


class _DaemonJson(Struct, frozen=True, rename="kebab"):
    """The keys that we use; `graph` was `data-root` before 17.05."""

    data_root: str | None = None
    graph: str | None = None
    storage_driver: str | None = None
    storage_opts: list[str] | None = None


_daemon_json = msgspec.json.Decoder(_DaemonJson)


def parse_daemon_json(text: str) -> EngineFile:
    """Read Docker's /etc/docker/daemon.json, which may be empty.

    Raises ParseError. Source: moby daemon/config/config.go.
    """
    if not text.strip():
        return EngineFile()
    try:
        found = _daemon_json.decode(text.encode("utf-8", "backslashreplace"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ParseError("daemon.json", text, f"not its JSON ({quote(str(error))})") from error
    options = (POOL_OPTION.fullmatch(option) for option in found.storage_opts or ())
    return EngineFile(
        root=found.data_root or found.graph or None,
        driver=found.storage_driver or None,
        pool_device=next((option[1] for option in options if option), None),
    )


def parse_containerd(text: str) -> ContainerdFile:
    """Read one of containerd's files, of version 1, 2 or 3.

    Raises ParseError. Source: containerd cmd/containerd/server/config/config.go;
        plugins/snapshots/devmapper/config.go.
    """
    document = _toml("containerd's configuration", text)
    plugins = _table(document, "plugins")
    tables = [_table(plugins, name) for name in SNAPSHOTTER_NAMES if name in plugins]
    return ContainerdFile(
        root=_text(document, "root"),
        snapshotter=_snapshotter(tables[0]) if tables else None,
        imports=tuple(_texts(document, "imports")),
        has_disabled=not set(_texts(document, "disabled_plugins")).isdisjoint(
            SNAPSHOTTER_NAMES
        ),
    )


def _snapshotter(table: Table) -> EngineFile:
    pool = _text(table, "pool_name")
    return EngineFile(root=_text(table, "root_path"), driver="devmapper", pool_device=pool)


def parse_storage_conf(text: str) -> EngineFile:
    """Read /etc/containers/storage.conf, of podman, buildah and CRI-O.

    Raises ParseError. Source: containers-storage.conf(5).
    """
    storage = _table(_toml("storage.conf", text), "storage")
    return EngineFile(root=_text(storage, "graphroot"), driver=_text(storage, "driver"))


def _toml(name: str, text: str) -> Table:
    # A key of many parts takes quadratic time.
    if max(map(len, text.split("\n"))) > MAX_LINE_CHARACTERS:
        raise ParseError(name, text, f"a line of more than {MAX_LINE_CHARACTERS} characters")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # the former for huge numbers as well
        raise ParseError(name, text, f"no TOML ({quote(str(error))})") from error


def _table(table: Table, key: str) -> Table:
    """Take a table; anything else in its place raises ParseError."""
    found = table.get(key, {})
    if not isinstance(found, dict):
        raise ParseError(key, str(found), "no table")
    return found


def _text(table: Table, key: str) -> str | None:
    found = table.get(key, "")
    if not isinstance(found, str):
        raise ParseError(key, str(found), "no text")
    return found or None


def _texts(table: Table, key: str) -> Iterator[str]:
    found = table.get(key, [])
    if not isinstance(found, list):
        raise ParseError(key, str(found), "no list")
    return (str(one) for one in found)
