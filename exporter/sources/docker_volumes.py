"""Whose a thin volume of Docker's devicemapper driver is: a container's, or an image's.

Read from the files below Docker's root directory, because the daemon, which would have to be
asked about each container, hangs where its storage does. What is not there is not named.
Source: moby layer/filestore.go, daemon/graphdriver/devmapper/deviceset.go, image/fs.go,
container/container.go; before 1.10 a volume bears the ID of its container or image itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from exporter.model import VolumeOwner

DEFAULT_ROOT = Path("/var/lib/docker")
MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_ENTRIES = 20_000  # of one directory: more containers or layers than a host has
LAYERS = "image/devicemapper/layerdb"
IMAGES = "image/devicemapper/imagedb/content/sha256"
TAGS = (
    "image/devicemapper/repositories.json",
    "repositories-devicemapper",
)  # since 1.10; before
# `docker-MAJOR:MINOR-INODE-HASH`: the device and inode of Docker's directory.
DM_NAME = re.compile(r"docker-\d{1,10}:\d{1,10}-\d{1,20}-(\w{1,128})(?:-init)?", re.ASCII)
HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
DIGEST = "sha256:"

T = TypeVar("T")


class _Settings(Struct, frozen=True, rename="pascal"):
    image: str | None = None


class _Container(Struct, frozen=True, rename="pascal"):
    """What we use of a container's config.v2.json (config.json before 1.9)."""

    name: str | None = None
    config: _Settings | None = None


class _RootFs(Struct, frozen=True):
    diff_ids: list[str] | None = None


class _Image(Struct, frozen=True):
    rootfs: _RootFs | None = None


class _Tags(Struct, frozen=True, rename="pascal"):
    """`{"Repositories": {"busybox": {"busybox:latest": "sha256:…"}}}`; before 1.10 `latest`."""

    repositories: dict[str, dict[str, str]] = {}


def volume_hash(dm_name: str) -> str | None:
    """Take the driver's own name of a volume from its device's; None for other devices."""
    found = DM_NAME.fullmatch(dm_name)
    return found[1] if found else None


def read(root: Path, dm_names: Iterable[str]) -> dict[str, VolumeOwner]:
    """Find whose these devices are, by name of the device; those that are found."""
    wanted = {name: volume_hash(name) for name in dm_names}
    hashes = {found for found in wanted.values() if found}
    owners = dict(_containers(root, hashes))
    owners |= _layers(root, hashes - owners.keys())
    return {name: owners[hash_] for name, hash_ in wanted.items() if hash_ in owners}


def _containers(root: Path, hashes: Collection[str]) -> Iterator[tuple[str, VolumeOwner]]:
    left = set(hashes)
    for directory in _entries(root / LAYERS / "mounts"):
        mount_id = _text(directory / "mount-id").strip()
        if mount_id in left and (owner := _container(root, directory.name)):
            left.discard(mount_id)
            yield mount_id, owner
    for hash_ in left:  # before 1.10
        if HASH.fullmatch(hash_) and (owner := _container(root, hash_)):
            yield hash_, owner


def _container(root: Path, container_id: str) -> VolumeOwner | None:
    for file in ("config.v2.json", "config.json"):
        found = _decoded(root / "containers" / container_id / file, _Container)
        if found:
            name = (found.name or "").removeprefix("/") or container_id[:12]
            image = found.config.image if found.config else None
            return VolumeOwner(container=name, image=image)
    return None


def _layers(root: Path, hashes: Collection[str]) -> dict[str, VolumeOwner]:
    """Name the layers of images, each by one image that has it, with a tag if it can be."""
    if not hashes:
        return {}
    tags = _tags(root)
    owners = {hash_: VolumeOwner(image=tags[hash_]) for hash_ in hashes & tags.keys()}
    chains = {
        f"{DIGEST}{directory.name}": cache_id
        for directory in _entries(root / LAYERS / "sha256")
        if (cache_id := _text(directory / "cache-id").strip()) in hashes
    }
    images = _entries(root / IMAGES) if chains else ()
    for file in sorted(images, key=lambda file: file.name not in tags):
        for chain_id in _chain_ids(file):
            if chain_id in chains:
                image = tags.get(file.name) or f"{DIGEST}{file.name[:12]}"
                owners.setdefault(chains[chain_id], VolumeOwner(image=image))
    return owners


def _tags(root: Path) -> Mapping[str, str]:
    """Map the images' IDs to one of their tags, `name:tag`."""
    names: dict[str, str] = {}
    for file in TAGS:
        found = _decoded(root / file, _Tags) or _Tags()
        for repository, by_tag in sorted(found.repositories.items()):
            for tag, image_id in sorted(by_tag.items()):
                name = tag if tag.startswith(repository) else f"{repository}:{tag}"
                names.setdefault(image_id.removeprefix(DIGEST), name)
    return names


def _chain_ids(image: Path) -> Iterator[str]:
    """Compute the IDs of an image's layers, each of which tells all below it.

    Source: OCI image-spec, config.md, "Layer ChainID".
    """
    found = _decoded(image, _Image)
    diff_ids = (found.rootfs.diff_ids if found and found.rootfs else None) or ()
    chain_id = ""
    for diff_id in diff_ids:
        text = f"{chain_id} {diff_id}" if chain_id else diff_id
        is_first = not chain_id
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
        chain_id = diff_id if is_first else f"{DIGEST}{digest}"
        yield chain_id


def _entries(directory: Path) -> Iterator[Path]:
    try:
        for count, entry in enumerate(directory.iterdir()):
            if count == MAX_ENTRIES:
                return
            yield entry
    except OSError:
        return  # another storage driver, or an older Docker


def _decoded(file: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(_text(file), type=kind)
    except (msgspec.DecodeError, RecursionError):
        return None  # being written, or of a Docker that we do not know


def _text(file: Path) -> str:
    """Read a file; "" where there is none, or one that is larger than any of Docker's."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
    except OSError:
        return ""
    return "" if len(raw) > MAX_FILE_BYTES else raw.decode("utf-8", "replace")
