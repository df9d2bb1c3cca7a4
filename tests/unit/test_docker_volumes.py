"""Whose Docker's volumes are, from the files of Docker's root directory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from exporter.model import VolumeOwner
from exporter.sources.docker_volumes import MAX_FILE_BYTES, read, volume_hash

PREFIX = "docker-253:1-262146-"
CONTAINER, MOUNT = "c0" * 32, "a1" * 32
BASE_DIFF, TOP_DIFF = "sha256:" + "d1" * 32, "sha256:" + "d2" * 32
BASE_CACHE, TOP_CACHE = "b1" * 32, "b2" * 32
IMAGE = "e1" * 32


def write(file: Path, content: object) -> None:
    """Write a file as Docker does: text, or JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Lay out a Docker of 1.10 or newer with one container of one image of two layers."""
    layers = tmp_path / "image/devicemapper/layerdb"
    write(layers / "mounts" / CONTAINER / "mount-id", MOUNT)
    config = {"Image": "busybox:latest", "Env": ["A=B"]}
    write(
        tmp_path / "containers" / CONTAINER / "config.v2.json",
        {"ID": CONTAINER, "Name": "/web", "Config": config, "State": {"Running": True}},
    )
    top_chain = hashlib.sha256(f"{BASE_DIFF} {TOP_DIFF}".encode()).hexdigest()
    write(layers / "sha256" / BASE_DIFF.removeprefix("sha256:") / "cache-id", BASE_CACHE)
    write(layers / "sha256" / top_chain / "cache-id", TOP_CACHE)
    images = tmp_path / "image/devicemapper"
    write(
        images / "imagedb/content/sha256" / IMAGE,
        {"rootfs": {"type": "layers", "diff_ids": [BASE_DIFF, TOP_DIFF]}},
    )
    write(
        images / "repositories.json",
        {"Repositories": {"busybox": {"busybox:latest": f"sha256:{IMAGE}"}}},
    )
    return tmp_path


def owner(root: Path, hash_: str) -> VolumeOwner | None:
    """Find the owner of one volume."""
    return read(root, [PREFIX + hash_]).get(PREFIX + hash_)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (PREFIX + MOUNT, MOUNT),
        (f"{PREFIX}{MOUNT}-init", MOUNT),
        (f"{PREFIX}base", "base"),
        (f"{PREFIX}pool", "pool"),
        ("docker-thinpool", None),
        ("docker-253:1-262146-", None),
        (f"vg-{MOUNT}", None),
    ],
)
def test_names_of_devices(name: str, expected: str | None) -> None:
    """The driver's own ones; an LV's may begin with docker as well."""
    assert volume_hash(name) == expected


def test_a_container(root: Path) -> None:
    """By its mount ID, which is not its own."""
    assert owner(root, MOUNT) == VolumeOwner(container="web", image="busybox:latest")


@pytest.mark.parametrize("cache_id", [BASE_CACHE, TOP_CACHE])
def test_the_layers_of_an_image(root: Path, cache_id: str) -> None:
    """Of each layer, by the chain of those below it."""
    assert owner(root, cache_id) == VolumeOwner(image="busybox:latest")


def test_an_image_without_a_tag(root: Path) -> None:
    """Its ID, as Docker shortens it."""
    (root / "image/devicemapper/repositories.json").unlink()

    assert owner(root, TOP_CACHE) == VolumeOwner(image=f"sha256:{IMAGE[:12]}")


def test_a_tagged_image_is_preferred(root: Path) -> None:
    """Of several that share a layer."""
    others = root / "image/devicemapper/imagedb/content/sha256"
    for first in "0f":
        write(others / (first * 64), {"rootfs": {"diff_ids": [BASE_DIFF]}})

    assert owner(root, BASE_CACHE) == VolumeOwner(image="busybox:latest")


def test_before_1_10_a_volume_bears_the_containers_id(tmp_path: Path) -> None:
    """And the file another name before 1.9."""
    write(
        tmp_path / "containers" / CONTAINER / "config.json",
        {"Name": "/old", "Config": {"Image": "centos:7"}},
    )
    write(tmp_path / "repositories-devicemapper", {"Repositories": {"centos": {"7": IMAGE}}})

    assert owner(tmp_path, CONTAINER) == VolumeOwner(container="old", image="centos:7")
    assert owner(tmp_path, IMAGE) == VolumeOwner(image="centos:7")


def test_what_is_not_known_is_not_named(root: Path) -> None:
    """A volume of nobody, and no Docker at all."""
    assert owner(root, "77" * 32) is None
    assert owner(root / "elsewhere", MOUNT) is None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"Name": 5}', "[" * 100_000, "\0", "x" * (MAX_FILE_BYTES + 1)],
    ids=["empty", "cut", "list", "number", "deep", "zero", "huge"],
)
def test_files_that_make_no_sense(root: Path, content: str) -> None:
    """They name nothing, and stop nobody."""
    write(root / "containers" / CONTAINER / "config.v2.json", content)
    write(root / "image/devicemapper/repositories.json", content)
    write(root / "image/devicemapper/imagedb/content/sha256" / IMAGE, content)

    found = read(root, [PREFIX + MOUNT, PREFIX + TOP_CACHE])

    assert found == {}


def test_a_container_without_a_name_has_its_id(root: Path) -> None:
    """As `docker ps` would show it."""
    write(root / "containers" / CONTAINER / "config.v2.json", {"Config": None})

    assert owner(root, MOUNT) == VolumeOwner(container=CONTAINER[:12])
