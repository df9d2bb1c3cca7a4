"""Whether a process is the host's own or a container's, from what everybody may read of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.sources.namespaces import is_of_host

DISK = "22 1 254:1 / / rw - ext4 /dev/vda1 rw"
RUN = "25 22 0:24 / /run rw,nosuid shared:5 - tmpfs tmpfs rw"
HOST = (DISK, RUN)
CONTAINERS_ROOT = "900 800 0:77 / / rw - overlay overlay rw"
PID = "7"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Make a /proc with the first process of a host."""
    write(tmp_path, "1", HOST)
    return tmp_path


def write(proc: Path, pid: str, mounts: tuple[str, ...], ids: str | None = None) -> None:
    """Write what everybody may read of a process."""
    (proc / pid).mkdir()
    status = f"Name:\tdmeventd\nNSpid:\t{ids or pid}\nVmPeak:\t1 kB\n"
    (proc / pid / "status").write_text(status)
    (proc / pid / "mountinfo").write_text("\n".join(mounts) + "\n")


@pytest.mark.parametrize(
    "mounts",
    [
        HOST,
        # systemd's sandboxes: other mounts of the same file systems (MountFlags=, PrivateTmp=)
        (
            "600 500 254:1 / / rw master:1 - ext4 /dev/vda1 rw",
            "601 600 0:24 / /run ro - tmpfs tmpfs rw",
            "602 601 0:24 /lock /run/lock rw - tmpfs tmpfs rw",
        ),
        # a chroot, and a pod, that were given the host's /run
        ("30 22 0:24 / /run rw - tmpfs tmpfs rw",),
        (CONTAINERS_ROOT, "901 900 0:24 / /run rw - tmpfs tmpfs rw"),
        (),
    ],
    ids=["equal", "sandbox", "chroot", "pod", "hidden"],
)
def test_a_process_that_sees_the_hosts_run_is_the_hosts(
    proc: Path, mounts: tuple[str, ...]
) -> None:
    """A mount namespace of its own alone means nothing."""
    write(proc, PID, mounts)

    assert is_of_host(PID, proc)


@pytest.mark.parametrize(
    ("mounts", "ids"),
    [
        (HOST, "7\t1"),
        (HOST, "7\t44\t1"),
        ((CONTAINERS_ROOT,), "7"),
        ((CONTAINERS_ROOT, "901 900 0:78 / /run rw - tmpfs tmpfs rw"), "7"),
        ((CONTAINERS_ROOT, "901 900 0:24 /pods/x /run rw - tmpfs tmpfs rw"), "7"),
        (("900 800 254:1 /machines/x / rw - ext4 /dev/vda1 rw",), "7"),
        (("30 22 0:5 / /dev rw - devtmpfs udev rw",), "7"),
    ],
    ids=["pids", "nested", "hostPID", "hostPID-tmpfs", "directory", "bind", "chroot"],
)
def test_a_containers_process_is_not(proc: Path, mounts: tuple[str, ...], ids: str) -> None:
    """By its PID namespace, or by a /run of its own where it shares that namespace."""
    write(proc, PID, mounts, ids)

    assert not is_of_host(PID, proc)


def test_a_run_that_is_no_mount_is_told_by_the_directory(tmp_path: Path) -> None:
    """On a host whose /run is on its disk, a container's may be on the same disk."""
    write(tmp_path, "1", (DISK,))
    write(tmp_path, PID, ("900 800 254:1 /machines/x / rw - ext4 /dev/vda1 rw",))
    write(tmp_path, "8", ("600 500 254:1 / / rw - ext4 /dev/vda1 rw",))

    assert not is_of_host(PID, tmp_path)
    assert is_of_host("8", tmp_path)


def test_what_cannot_be_read_counts_as_the_hosts(tmp_path: Path) -> None:
    """A process that has ended, and old kernels, which do not name nested IDs."""
    assert is_of_host(PID, tmp_path)
