"""Engines' directories on a host made of files: found, followed down to pools, or unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from exporter.model import Engine, Mount, StorageReading, StorageRoot
from exporter.sources.storage_root import MAX_FILE_BYTES, Places, read
from tests.factories import make_docker

ROOT_LINE = "22 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw"
DOCKER = make_docker(storage_driver="overlay2", pool_name=None)


class FakeHost:
    """A host's files below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.places = Places(
            root=directory / "root", proc=directory / "proc", sys=directory / "sys"
        )
        self.mounts(ROOT_LINE)
        (self.places.proc / "1" / "root").mkdir()
        self.device("254:1")

    def file(self, name: str, text: str) -> None:
        """Write a file."""
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def mounts(self, *lines: str, process: str = "1") -> None:
        """Mount these and nothing else."""
        self.file(f"proc/{process}/mountinfo", "\n".join(lines))

    def mounts_in_sandbox(self, *lines: str) -> None:
        """Have mounts of our own, and no way to the host's files, as in the guard's sandbox."""
        self.mounts(*lines, process="self")
        (self.places.proc / "1" / "root").rmdir()

    def device(self, number: str, *below: str) -> None:
        """Have a block device lie on others."""
        (self.places.sys / "dev" / "block" / number / "slaves").mkdir(parents=True)
        for count, other in enumerate(below):
            self.file(f"sys/dev/block/{number}/slaves/dm-{count}/dev", f"{other}\n")

    def read(self, docker: object = DOCKER) -> StorageReading:
        """Read as after this answer of Docker's."""
        return read(docker, self.places)  # type: ignore[arg-type]  # None or a DockerInfo


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    """Make a host whose root is on a partition."""
    return FakeHost(tmp_path)


def only_root(reading: StorageReading) -> StorageRoot:
    """Find the only directory."""
    (root,) = reading.roots
    return root


def test_a_host_without_engines_has_no_directories(host: FakeHost) -> None:
    """And nothing to be said of them."""
    assert host.read(None) == StorageReading()


def test_follows_the_mount_of_dockers_data(host: FakeHost) -> None:
    """Down to the disk, through whatever lies between."""
    host.mounts(ROOT_LINE, "30 22 253:9 / /var/lib/docker rw - xfs /dev/mapper/x rw")
    host.device("253:9", "253:8")
    host.device("253:8", "253:3", "253:4")
    host.device("253:3")

    reading = host.read()

    mount = Mount(file_system="xfs", source="/dev/mapper/x", devices=("253:9",))
    assert only_root(reading) == StorageRoot(
        engine=Engine.DOCKER, path="/var/lib/docker", driver="overlay2", mount=mount
    )
    assert reading.below == {"253:9": ("253:8",), "253:8": ("253:3", "253:4"), "253:3": ()}


def test_a_partition_lies_on_its_disk(host: FakeHost) -> None:
    """Which may lie on others itself, as an array of disks does."""
    disk = host.places.sys / "devices" / "md0"
    (disk / "md0p1").mkdir(parents=True)
    (disk / "dev").write_text("9:0\n")
    (disk / "md0p1" / "partition").write_text("1\n")
    (host.places.sys / "dev" / "block" / "259:0").symlink_to(disk / "md0p1")
    (host.places.sys / "dev" / "block" / "9:0").symlink_to(disk)
    host.file("sys/devices/md0/slaves/dm-7/dev", "253:7\n")
    host.mounts("22 1 259:0 / / rw - ext4 /dev/md0p1 rw")

    assert host.read().below == {"259:0": ("9:0",), "9:0": ("253:7",)}


def test_a_loop_device_lies_on_its_file(host: FakeHost) -> None:
    """And so on what that file's file system lies on."""
    host.mounts(ROOT_LINE, "30 22 7:0 / /var/lib/docker rw - ext4 /dev/loop0 rw")
    host.device("7:0")
    host.file("sys/dev/block/7:0/loop/backing_file", "/srv/image (deleted)\n")

    assert host.read().below["7:0"] == ("254:1",)


@pytest.mark.parametrize(
    "line",
    [
        "30 22 0:40 / /var/lib/docker rw - zfs tank/docker rw",
        "30 22 0:40 / /var/lib/docker rw - nfs4 server:/export rw",
        "30 22 0:40 / /var/lib/docker rw - tmpfs tmpfs rw",
    ],
)
def test_what_has_no_device_is_on_none(host: FakeHost, line: str) -> None:
    """Which is known, and not the same as unknown."""
    host.mounts(ROOT_LINE, line)

    mount = only_root(host.read()).mount
    assert mount is not None
    assert mount.devices == ()


def test_an_overlay_is_on_its_upper_directory(host: FakeHost) -> None:
    """Where that can be seen."""
    overlay = (
        "22 1 0:30 / / rw - overlay overlay rw,lowerdir=/a,upperdir=/media/rw/up,workdir=/w"
    )
    host.mounts(overlay, "23 22 253:9 / /media/rw rw - ext4 /dev/dm-9 rw")
    mount = only_root(host.read()).mount
    assert mount is not None
    assert mount.devices == ("253:9",)

    host.mounts(overlay)
    root = only_root(host.read())
    assert (root.mount, root.unknown) == (None, "it cannot be seen what the overlay lies on")


def test_a_source_that_is_no_device_is_not_known(host: FakeHost) -> None:
    """Btrfs has no device number of its own: its source must be one."""
    host.mounts(ROOT_LINE, "30 22 0:40 / /var/lib/docker rw - btrfs /dev/gone rw")
    assert only_root(host.read()).unknown.endswith("No such file or directory")

    host.file("proc/1/root/dev/gone", "a file")
    assert only_root(host.read()).unknown == "/dev/gone is no block device"


def test_what_a_sandbox_hides_is_seen_by_the_hosts_mounts(host: FakeHost) -> None:
    """Of a root that Docker has resolved; of any other a link may be hidden as well."""
    host.mounts(ROOT_LINE, "40 22 253:9 / /home rw - ext4 /dev/dm-9 rw")
    host.mounts_in_sandbox(ROOT_LINE, "40 22 0:50 / /home rw - tmpfs tmpfs rw")

    mount = only_root(host.read(structs.replace(DOCKER, root_directory="/home/docker"))).mount
    assert mount is not None
    assert mount.devices == ("253:9",)
    host.file("root/etc/docker/daemon.json", '{"data-root": "/home/docker"}')
    assert only_root(host.read(None)).unknown.startswith("/home is hidden")
    host.file("root/etc/docker/daemon.json", '{"data-root": "/srv/docker"}')
    assert only_root(host.read(None)).mount is not None


def test_without_the_hosts_mounts_our_own_serve(host: FakeHost) -> None:
    """As where the first process is hidden from us."""
    (host.places.proc / "1" / "mountinfo").unlink()
    host.mounts(ROOT_LINE, process="self")

    assert only_root(host.read()).mount is not None


def test_without_any_mounts_nothing_is_known(host: FakeHost) -> None:
    """And the problem is told once."""
    (host.places.proc / "1" / "mountinfo").unlink()

    reading = host.read()

    assert only_root(reading).unknown == "no mount covers /var/lib/docker"
    assert [problem.subject for problem in reading.problems] == ["mounts"]


def test_a_silent_dockers_configuration_tells(host: FakeHost) -> None:
    """Its root and driver; without a word of it, the directory that there is."""
    (host.places.root / "var" / "lib" / "docker").mkdir(parents=True)
    assert only_root(host.read(None)).path == "/var/lib/docker"

    host.file(
        "root/etc/docker/daemon.json",
        '{"data-root": "/data", "storage-driver": "overlay2"}',
    )
    root = only_root(host.read(None))
    assert (root.path, root.driver) == ("/data", "overlay2")


def test_a_driver_with_a_pool_needs_no_mount(host: FakeHost) -> None:
    """Docker's devicemapper keeps its data in the pool alone; which one must be known."""
    (host.places.root / "var" / "lib" / "docker").mkdir(parents=True)
    root = only_root(host.read(make_docker()))
    assert (root.pool_device, root.mount) == ("docker-thinpool", None)

    host.file("root/etc/docker/daemon.json", '{"storage-driver": "devicemapper"}')
    root = only_root(host.read(None))
    assert root.unknown == "the pool of its driver is not known"


def test_a_root_that_is_no_path_is_not_known(host: FakeHost) -> None:
    """Whatever Docker means by it."""
    root = only_root(host.read(structs.replace(DOCKER, root_directory="data")))

    assert root.unknown == "data is no absolute path"


def test_reads_what_containerd_imports(host: FakeHost) -> None:
    """By patterns, relative to the file that names them; once each, the later one counts."""
    host.file("root/etc/containerd/config.toml", 'imports = ["conf.d/*.toml"]\nroot = "/one"\n')
    host.file("root/etc/containerd/conf.d/a.toml", 'imports = ["../config.toml", "*.toml"]\n')
    host.file(
        "root/etc/containerd/conf.d/b.toml",
        'version = 2\nroot = "/two"\n'
        '[plugins."io.containerd.snapshotter.v1.devmapper"]\npool_name = "vg-pool"\n',
    )

    assert [(root.path, root.driver, root.pool_device) for root in host.read(None).roots] == [
        ("/two", None, None),
        ("/two/io.containerd.snapshotter.v1.devmapper", "devmapper", "vg-pool"),
    ]


def test_a_snapshotter_that_is_switched_off_has_no_data(host: FakeHost) -> None:
    """Whatever pool is configured for it."""
    host.file(
        "root/etc/containerd/config.toml",
        'disabled_plugins = ["devmapper"]\n[plugins.devmapper]\npool_name = "vg-pool"\n',
    )

    assert [root.path for root in host.read(None).roots] == ["/var/lib/containerd"]


def test_reads_podmans_storage(host: FakeHost) -> None:
    """The administrator's file instead of the vendor's; without either, the directory."""
    (host.places.root / "var/lib/containers/storage").mkdir(parents=True)
    assert only_root(host.read(None)).path == "/var/lib/containers/storage"

    host.file("root/usr/share/containers/storage.conf", '[storage]\ndriver = "overlay"\n')
    assert only_root(host.read(None)).driver == "overlay"

    host.file("root/etc/containers/storage.conf", '[storage]\ngraphroot = "/data/podman"\n')
    root = only_root(host.read(None))
    assert (root.engine, root.path, root.driver) == (Engine.PODMAN, "/data/podman", None)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("etc/docker/daemon.json", "{"),
        ("etc/containerd/config.toml", "root = "),
        ("etc/containers/storage.conf", "[storage"),
        ("etc/containers/storage.conf", " " * (MAX_FILE_BYTES + 1)),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(host: FakeHost, file: str, text: str) -> None:
    """That names the file; the other engines are read all the same."""
    host.file(f"root/{file}", text)

    reading = host.read()

    assert [problem.subject for problem in reading.problems] == [f"/{file}"]
    assert reading.roots[0].engine is Engine.DOCKER
