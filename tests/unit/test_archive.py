"""Whether LVM's archive can be written: settings of every kind, and real folders."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from exporter.command import Output
from exporter.errors import CommandFailedError, CommandMissingError
from exporter.sources.archive import (
    PROBE_BYTES,
    argv_archive,
    can_archive,
    parse_archive,
    parse_archive_set,
)

LVMCONFIG = 'archive=1\narchive_dir="/etc/lvm/archive"\n'


def answers(text: str) -> Output:
    """Make what lvmconfig prints."""
    return Output(argv=(), status=0, stdout=text, stderr="")


def archive_in(directory: Path) -> bool:
    """Ask on a host whose LVM archives there."""
    text = f'archive=1\narchive_dir="{directory}"\n'
    return can_archive(lambda _: answers(text), "/sbin/lvm")


@pytest.fixture
def no_room() -> Iterator[None]:
    """Let files grow to half of what an archive may need: a disk that is nearly full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PROBE_BYTES // 2, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_both_settings_are_asked_for_at_once() -> None:
    """In force is what lvm.conf, lvmlocal.conf and LVM_SYSTEM_DIR make of them."""
    assert argv_archive("/sbin/lvm") == (
        *("/sbin/lvm", "lvmconfig", "--type", "full"),
        *("backup/archive", "backup/archive_dir"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LVMCONFIG, Path("/etc/lvm/archive")),
        (LVMCONFIG.replace("=1", "=0"), None),
        ("", None),
    ],
)
def test_the_settings_are_read(text: str, expected: Path | None) -> None:
    """Where no archive is kept there is no directory."""
    assert parse_archive(text) == expected


def test_a_folder_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    """The probe has no name."""
    assert archive_in(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_lvms_to_make(tmp_path: Path) -> None:
    """Its parent counts."""
    assert archive_in(tmp_path / "lvm" / "archive")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_found_out(tmp_path: Path, no_room: None) -> None:
    """A file can still be made, and a part of it written."""
    del no_room
    assert not archive_in(tmp_path)


def test_what_is_no_folder_cannot_be_written(tmp_path: Path) -> None:
    """Root may write anywhere else: no rights are needed for this test."""
    (tmp_path / "archive").touch()

    assert not archive_in(tmp_path / "archive")


def test_a_host_that_keeps_no_archive_has_no_trouble_with_it() -> None:
    """A second lvextend would do what the first one did."""
    assert can_archive(lambda _: answers(LVMCONFIG.replace("=1", "=0")), "/sbin/lvm")


def test_where_nothing_is_known_it_is_tried_without() -> None:
    """A repetition does no harm."""

    def fails(argv: Sequence[str]) -> Output:
        raise CommandMissingError(argv, os.strerror(errno.ENOENT))

    assert not can_archive(fails, "/sbin/lvm")


@pytest.mark.parametrize("status", [2, 3])
def test_an_older_lvm_is_asked_for_what_is_set(status: int, tmp_path: Path) -> None:
    """Before 2.02.123 there is no `lvmconfig --type full`."""

    def run(argv: Sequence[str]) -> Output:
        if argv[1] == "lvmconfig":
            raise CommandFailedError(argv, status, "No such command.")
        return answers(f'backup {{\n\tarchive_dir="{tmp_path}"\n}}\n')

    assert can_archive(run, "lvm")


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        ("", Path("/etc/lvm/archive")),
        ("backup {\n\tarchive=1\n}\n", Path("/etc/lvm/archive")),
        ('backup {\n\tarchive=0\n\tarchive_dir="/a"\n}\n', None),
        ('backup/archive_dir="/a"', Path("/a")),
    ],
)
def test_what_is_not_set_is_lvms_default(text: str, directory: Path | None) -> None:
    """It prints no defaults."""
    assert parse_archive_set(text) == directory


def test_a_failure_of_another_kind_is_no_archive() -> None:
    """Nothing is known then."""

    def run(argv: Sequence[str]) -> Output:
        raise CommandFailedError(argv, 4, "no")

    assert not can_archive(run, "lvm")
