"""Engines' directories on a host made of files: found, followed down to pools, or unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from exporter.model import Content, Engine, Mount, StorageReading, StorageRoot
from exporter.placement import places
from exporter.sources.docker import parse_info_json
from exporter.sources.host_files import MAX_FILE_BYTES, Places
from exporter.sources.storage_root import read
from tests.factories import make_docker, make_kernel_pool, make_pool

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


@pytest.mark.parametrize("file_system", ["zfs", "fuse.zfs", "fuse.mergerfs", "unknownfs"])
def test_what_does_not_tell_its_devices_is_not_known(host: FakeHost, file_system: str) -> None:
    """The disks of a ZFS pool may be thin volumes for all that the mount says."""
    line = f"30 22 0:40 / /var/lib/docker rw - {file_system} tank/docker rw"
    host.mounts(ROOT_LINE, line)

    root = only_root(host.read())

    assert root.mount is None
    assert root.unknown == f"{file_system} does not show its devices"


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
    host.file(
        "root/etc/docker/daemon.json", '{"data-root": "/home/docker", "storage-driver": "vfs"}'
    )
    assert only_root(host.read(None)).unknown.startswith("/home is hidden")
    host.file(
        "root/etc/docker/daemon.json", '{"data-root": "/srv/docker", "storage-driver": "vfs"}'
    )
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
    root = only_root(host.read(None))
    assert root.path == "/var/lib/docker"
    assert root.unknown == "Docker has not answered, and its storage driver is not known"

    host.file(
        "root/etc/docker/daemon.json",
        '{"data-root": "/data", "storage-driver": "overlay2"}',
    )
    root = only_root(host.read(None))
    assert (root.path, root.driver) == ("/data", "overlay2")
    assert root.mount is not None


def test_a_silent_dockers_files_tell_its_driver(host: FakeHost) -> None:
    """It goes on with the driver whose directory it has; between two it cannot choose."""
    host.file("root/var/lib/docker/overlay2/l/A", "")
    (host.places.root / "var/lib/docker/btrfs").mkdir()
    root = only_root(host.read(None))
    assert root.driver == "overlay2"
    assert root.mount is not None

    host.file("root/var/lib/docker/devicemapper/metadata/base", "{}")
    root = only_root(host.read(None))
    assert (root.driver, root.mount) == (None, None)
    assert "not known" in root.unknown


STORAGE = "--storage-driver devicemapper --storage-opt dm.thinpooldev=/dev/mapper/vg-pool"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("root/etc/sysconfig/docker-storage", f'DOCKER_STORAGE_OPTIONS="{STORAGE} "\n'),
        ("root/etc/sysconfig/docker", f"OPTIONS='--selinux-enabled {STORAGE}'\n"),
        ("root/etc/sysconfig/docker-storage-setup", "VG=vg\nCONTAINER_THINPOOL=pool\n"),
        ("root/usr/lib/systemd/system/docker.service", f"ExecStart=/usr/bin/dockerd {STORAGE}"),
        (
            "root/etc/systemd/system/docker.service.d/pool.conf",
            f"[Service]\nExecStart=\nExecStart=/usr/bin/dockerd {STORAGE}\n",
        ),
        ("root/etc/docker/daemon.json", '{"storage-opts": ["DM.ThinPoolDev = vg-pool"]}'),
    ],
)
def test_a_silent_dockers_pool_is_the_one_that_it_is_given(
    host: FakeHost, file: str, text: str
) -> None:
    """By any of the files that a distribution starts it with, as when its pool is full."""
    host.file("root/var/lib/docker/devicemapper/metadata/deviceset-metadata", "{}")
    assert only_root(host.read(None)).unknown == "the pool of its driver is not known"

    host.file(file, text)

    root = only_root(host.read(None))
    assert (root.driver, root.pool_device, root.unknown) == ("devicemapper", "vg-pool", "")


@pytest.mark.parametrize("file", ["var/lib/docker/overlay2/l/A", "etc/docker/daemon.json"])
def test_another_driver_has_no_pool(host: FakeHost, file: str) -> None:
    """Whatever is left of the time when it had one."""
    (host.places.root / "var/lib/docker").mkdir(parents=True)
    host.file("root/etc/sysconfig/docker-storage-setup", "VG=vg\n")
    text = '{"storage-driver": "overlay2", "storage-opts": ["dm.thinpooldev=vg-pool"]}'
    host.file(f"root/{file}", text)

    root = only_root(host.read(None))

    assert (root.driver, root.pool_device) == ("overlay2", None)
    assert root.mount is not None


def test_dockers_own_words_come_before_its_configuration(host: FakeHost) -> None:
    """Which may have been changed since it was started."""
    host.file("root/etc/docker/daemon.json", '{"data-root": "/new", "storage-driver": "zfs"}')
    host.file("root/etc/sysconfig/docker-storage", f'DOCKER_STORAGE_OPTIONS="{STORAGE}"')

    root = only_root(host.read())
    assert (root.path, root.driver, root.pool_device) == ("/var/lib/docker", "overlay2", None)
    nameless = make_docker(pool_name=None)
    assert only_root(host.read(nameless)).pool_device == "vg-pool"


def test_follows_a_docker_on_containerds_devmapper_to_its_pool(host: FakeHost) -> None:
    """Docker 28 and 29: from what it answers and containerd's file to the pool of images."""
    host.mounts(ROOT_LINE, "30 22 253:9 / /var/lib/docker rw - xfs /dev/mapper/vgd-data rw")
    host.device("253:9", "253:4")
    host.file(
        "root/etc/containerd/config.toml",
        'version = 2\n[plugins]\n  [plugins."io.containerd.snapshotter.v1.devmapper"]\n'
        '    root_path = "/var/lib/containerd/devmapper"\n    pool_name = "vgc-snap--pool"\n',
    )
    info = parse_info_json(
        '{"Driver": "devmapper", "DriverStatus": [["driver-type", '
        '"io.containerd.snapshotter.v1"]], "ServerVersion": "28.2.2", "DockerRootDir": '
        '"/var/lib/docker", "Containerd": {"Address": "/run/containerd/containerd.sock"}}'
    )
    snapshots = make_kernel_pool(dm_name="vgc-snap--pool", device_number="253:7")
    pools = (make_pool(), make_pool(vg_name="vgc", name="snap-pool", kernel=snapshots))

    found = places(host.read(info), pools, is_kernel_known=True)

    assert [(place.path, place.holds, place.pools) for place in found[:2]] == [
        ("/var/lib/containerd/devmapper", Content.IMAGES, (("vgc", "snap-pool"),)),
        ("/var/lib/docker", Content.VOLUMES, (("docker", "thinpool"),)),
    ]


def test_a_daemon_that_hangs_is_configured_by_its_command_line(host: FakeHost) -> None:
    """Whatever the files say that it was not started with."""
    (host.places.root / "var/lib/docker").mkdir(parents=True)
    host.file("root/etc/sysconfig/docker-storage", "DOCKER_STORAGE_OPTIONS='-s overlay2'")
    host.file("root/srv/docker.json", '{"storage-opts": ["dm.thinpooldev=vg-pool"]}')
    host.file("proc/5/comm", "dockerd\n")
    words = ("dockerd", "--data-root", "/data", "--config-file=/srv/docker.json")
    host.file("proc/5/cmdline", "\0".join((*words, "")))

    root = only_root(host.read(None))

    assert (root.path, root.driver, root.pool_device) == ("/data", "devicemapper", "vg-pool")


STORE = structs.replace(DOCKER, storage_driver="overlayfs", has_containerd_store=True)
CONTAINERDS = "/run/containerd/containerd.sock"
OWN = "/var/run/docker/containerd/containerd.sock"


def placed(host: FakeHost, docker: object) -> list[tuple[str, Content, str | None, str]]:
    """Find Docker's directories, with what they hold, the driver, and their device."""
    return [
        (root.path, root.holds, root.driver, root.mount.source if root.mount else "")
        for root in host.read(docker).roots
        if root.engine is Engine.DOCKER
    ]


@pytest.mark.parametrize(
    ("socket", "file", "images"),
    [
        (CONTAINERDS, "", "/var/lib/containerd"),
        (None, "", "/var/lib/containerd"),
        (CONTAINERDS, 'root = "/srv/containerd"\n', "/srv/containerd"),
        (
            CONTAINERDS,
            '[plugins."io.containerd.snapshotter.v1.overlayfs"]\nroot_path = "/srv/layers"\n',
            "/srv/layers",
        ),
        # dockerd's own containerd reads no such file
        (OWN, 'root = "/srv/containerd"\n', "/var/lib/docker/containerd/daemon"),
    ],
)
def test_a_containerd_store_is_followed_beside_the_volumes(
    host: FakeHost, socket: str | None, file: str, images: str
) -> None:
    """Images and containers are where containerd has its data, volumes are Docker's."""
    host.mounts(
        ROOT_LINE,
        "30 22 253:9 / /var/lib/docker rw - xfs /dev/mapper/volumes rw",
        "31 22 253:8 / /srv rw - xfs /dev/mapper/srv rw",
    )
    if file:
        host.file("root/etc/containerd/config.toml", file)
    docker = structs.replace(STORE, containerd_socket=socket)

    of_images, of_volumes = placed(host, docker)

    source = "/dev/vda1"
    if images.startswith("/srv"):
        source = "/dev/mapper/srv"
    if images.startswith("/var/lib/docker"):
        source = "/dev/mapper/volumes"
    assert of_images == (images, Content.IMAGES, "overlayfs", source)
    assert of_volumes == ("/var/lib/docker", Content.VOLUMES, None, "/dev/mapper/volumes")


def test_a_docker_that_does_not_name_its_containerd_has_the_one_that_is_there(
    host: FakeHost,
) -> None:
    """As dockerd chooses: the host's if it listens, else one of its own."""
    (host.places.root / "var/lib/docker/containerd/daemon").mkdir(parents=True)
    assert placed(host, STORE)[0][0] == "/var/lib/docker/containerd/daemon"

    host.file(f"root{CONTAINERDS}", "")
    assert placed(host, STORE)[0][0] == "/var/lib/containerd"


def test_the_pool_of_the_snapshotter_is_dockers(host: FakeHost) -> None:
    """As with devmapper, whose pool containerd's file names."""
    docker = structs.replace(STORE, storage_driver="devmapper", containerd_socket=CONTAINERDS)
    images, volumes = host.read(docker).roots
    assert images.unknown == "the pool of its driver is not known"
    assert volumes.mount is not None

    host.file(
        "root/etc/containerd/config.toml",
        'version = 2\n[plugins."io.containerd.snapshotter.v1.devmapper"]\n'
        'pool_name = "vgc-snap--pool"\n',
    )
    images = host.read(docker).roots[0]
    assert (images.pool_device, images.unknown) == ("vgc-snap--pool", "")


@pytest.mark.parametrize(
    ("driver", "socket", "unknown"),
    [
        ("overlayfs", "/run/k3s/containerd/containerd.sock", "/run/k3s/containerd/containerd"),
        (
            "stargz",
            CONTAINERDS,
            "snapshotter stargz is a plugin with a data directory of its own",
        ),
        ("zfs", CONTAINERDS, "ZFS does not show its devices"),
    ],
)
def test_images_of_which_it_is_not_known_where_they_are(
    host: FakeHost, driver: str, socket: str, unknown: str
) -> None:
    """Of another containerd, of a snapshotter beside containerd, or on ZFS."""
    docker = structs.replace(STORE, storage_driver=driver, containerd_socket=socket)

    images, volumes = host.read(docker).roots

    assert unknown in images.unknown
    assert (images.mount, images.pool_device) == (None, None)
    assert volumes.mount is not None


@pytest.mark.parametrize(
    "text",
    [
        '{"features": {"containerd-snapshotter": true}}',
        '{"storage-driver": "overlayfs"}',
        '{"storage-driver": "overlayfs", "features": {"containerd-snapshotter": true}}',
    ],
)
def test_a_silent_dockers_configuration_tells_its_store(host: FakeHost, text: str) -> None:
    """By the switch, or by a driver that is containerd's alone."""
    (host.places.root / "var/lib/docker").mkdir(parents=True)
    host.file("root/etc/docker/daemon.json", text)

    images, volumes = placed(host, None)

    assert images == ("/var/lib/containerd", Content.IMAGES, "overlayfs", "/dev/vda1")
    assert volumes == ("/var/lib/docker", Content.VOLUMES, None, "/dev/vda1")


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
