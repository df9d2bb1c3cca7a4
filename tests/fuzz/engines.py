"""Container engines: their configuration, an HTTP answer, and the mounts of their data."""

from __future__ import annotations

import contextlib

from exporter.sources import docker_files, engine_files, http_answer, storage_root
from exporter.sources.host_files import Places
from exporter.sources.mounts import Mounts, UnresolvedPathError, parse_mountinfo
from tests.fuzz.sources import SEPARATOR, given, of_text, scratch, written
from tests.fuzz.target import Target

ROOT = "engines"
FILES = (
    "etc/docker/daemon.json",
    "etc/containerd/config.toml",
    "etc/containers/storage.conf",
    "proc/1/mountinfo",
    "etc/sysconfig/docker-storage",
)
DAEMON_JSON = (
    '{"data-root": "/data/docker", "storage-opts": ["dm.thinpooldev=/dev/mapper/a-b"]}'
)
CONTAINERD = """\
version = 2
root = "/var/lib/containerd"
imports = ["/etc/containerd/conf.d/*.toml"]
[plugins."io.containerd.snapshotter.v1.devmapper"]
pool_name = "containerd-pool"
root_path = "/var/lib/containerd/devmapper"
"""
STORAGE_CONF = '[storage]\ndriver = "overlay"\ngraphroot = "/var/lib/containers/storage"\n'
SYSCONFIG = (
    'DOCKER_STORAGE_OPTIONS="--storage-driver devicemapper --storage-opt dm.fs=xfs '
    '--storage-opt dm.thinpooldev=/dev/mapper/vg-pool "\n'
)
UNIT = "[Service]\nExecStart=/usr/bin/dockerd -g /data \\\n -s=devicemapper --config-file /x\n"
MOUNTINFO = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 253:4 / /var/lib/docker rw,relatime shared:9 - xfs /dev/mapper/vg-a\\040b rw
31 22 0:45 / /mnt rw - overlay overlay rw,lowerdir=/a,upperdir=/var/lib/docker/x
"""
ANSWER = 'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"Driver":"overlay2"}'
CHUNKED = (
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    '5\r\n{"Dri\r\na;x=1\r\nver":"vfs"\r\n1\r\n}\r\n0\r\n\r\n'
)
PATHS = ("/", "/var/lib/docker/overlay2", "/mnt/x/../y")


def answer(raw: bytes) -> object:
    """Read an answer that has come to its end; before that it is whole or has to wait."""
    for part in (raw[: len(raw) // 2], raw):
        try:
            http_answer.parse_answer(part, is_over=False)
        except http_answer.MalformedAnswerError:
            continue
    return http_answer.parse_answer(raw, is_over=True)


def mounts(raw: bytes) -> object:
    """Read the table, and find what paths are on."""
    lines = parse_mountinfo(raw.decode("utf-8", "surrogateescape"))
    table = Mounts(lines, str(scratch()))
    for path in (*PATHS, *(line.mount_point for line in lines[:3])):
        if path.startswith("/"):
            table.covering(path)
            with contextlib.suppress(UnresolvedPathError):
                table.resolved(path)
    return len(lines)


def storage(raw: bytes) -> object:
    """Read all of a host's files about engines."""
    parts = [*raw.split(SEPARATOR, len(FILES) - 1), *[b""] * len(FILES)]
    for name, part in zip(FILES, parts, strict=False):
        written(part, f"{ROOT}/{name}")
    root = scratch() / ROOT
    return storage_root.read(None, Places(root=root, proc=root / "proc", sys=root / "sys"))


TARGETS = {
    "http_answer": Target(
        parse=answer,
        seeds=given(ANSWER, CHUNKED),
        errors=(http_answer.MalformedAnswerError,),
        units=None,
    ),
    "daemon_json": Target(
        parse=of_text(docker_files.parse_daemon_json), seeds=given(DAEMON_JSON), is_json=True
    ),
    "sysconfig": Target(
        parse=of_text(docker_files.parse_sysconfig), seeds=given(SYSCONFIG, UNIT)
    ),
    "storage_setup": Target(
        parse=of_text(docker_files.parse_storage_setup),
        seeds=given("VG=node-vg\nCONTAINER_THINPOOL='pool'\n"),
    ),
    "containerd_toml": Target(
        parse=of_text(engine_files.parse_containerd),
        seeds=given(CONTAINERD, "[plugins.devmapper]\npool_name = 'a'\n"),
    ),
    "storage_conf": Target(
        parse=of_text(engine_files.parse_storage_conf), seeds=given(STORAGE_CONF)
    ),
    "mountinfo": Target(parse=mounts, seeds=given(MOUNTINFO), units=None),
    "storage_root": Target(
        parse=storage,
        seeds=given(f"{DAEMON_JSON}\0{CONTAINERD}\0{STORAGE_CONF}\0{MOUNTINFO}\0{SYSCONFIG}"),
        units=None,
    ),
}
