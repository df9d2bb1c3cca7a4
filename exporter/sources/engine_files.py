"""Container engines' configuration files: text in, the directories of their data out. Pure.

A file that its engine would refuse says nothing: ParseError, never a guess.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from msgspec import Struct, structs

from exporter.errors import ParseError, quote

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONTAINERD_ROOT = "/var/lib/containerd"
PODMAN_ROOT = "/var/lib/containers/storage"
MAX_LINE_CHARACTERS = 8192
SNAPSHOTTERS = "io.containerd.snapshotter.v1."
DEVMAPPER = "devmapper"
# containerd's own. Their data is below containerd's root unless its file says otherwise.
SNAPSHOTTER_NAMES = frozenset(
    {DEVMAPPER, "overlayfs", "native", "btrfs", "zfs", "blockfile", "erofs"}
)

Table = dict[str, object]


class EngineFile(Struct, frozen=True, kw_only=True):
    """What a file says; None where it says nothing."""

    root: str | None = None
    driver: str | None = None
    pool_device: str | None = None
    is_containerd_store: bool | None = None
    config_file: str | None = None

    def over(self, other: EngineFile) -> EngineFile:
        """Return this, with the other's values for what this leaves open."""
        said = {
            name: value for name, value in structs.asdict(self).items() if value is not None
        }
        return structs.replace(other, **said)


class ContainerdFile(Struct, frozen=True, kw_only=True):
    """What one of containerd's files says, and the further ones that it names."""

    root: str | None = None
    snapshotters: dict[str, EngineFile] = {}
    imports: tuple[str, ...] = ()
    disabled: frozenset[str] = frozenset()


def parse_containerd(text: str) -> ContainerdFile:
    """Read one of containerd's files, of version 1, 2 or 3.

    Raises ParseError. Source: containerd cmd/containerd/server/config/config.go;
        plugins/snapshots/devmapper/config.go.
    """
    document = _toml("containerd's configuration", text)
    plugins = _table(document, "plugins")
    # In files of version 1 a plugin goes by the last part of its name.
    snapshotters = {
        name.removeprefix(SNAPSHOTTERS): _table(plugins, name)
        for name in plugins
        if name.startswith(SNAPSHOTTERS) or name in SNAPSHOTTER_NAMES
    }
    return ContainerdFile(
        root=_text(document, "root"),
        snapshotters={
            name: EngineFile(
                root=_text(table, "root_path"),
                driver=name,
                pool_device=_text(table, "pool_name") if name == DEVMAPPER else None,
            )
            for name, table in snapshotters.items()
        },
        imports=tuple(_texts(document, "imports")),
        disabled=frozenset(
            name.removeprefix(SNAPSHOTTERS) for name in _texts(document, "disabled_plugins")
        ),
    )


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
