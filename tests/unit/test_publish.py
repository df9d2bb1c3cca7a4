"""The Snapshot file: whole or not there, understood or said why not."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import __version__, publish
from exporter.errors import ExporterError
from exporter.model import Snapshot
from exporter.publish import FILE_NAME, SnapshotReader, SnapshotWriter
from tests.factories import make_large_snapshot, make_pool, make_snapshot
from tests.waiting import eventually

NOBODY = 65534


def replace_file(directory: Path, raw: bytes) -> None:
    """Put another file in its place, as a rename does."""
    (directory / "new").write_bytes(raw)
    (directory / "new").replace(directory / FILE_NAME)


def edited(directory: Path, **changes: object) -> bytes:
    """Return the file's contents with other values at the top."""
    content = msgspec.json.decode((directory / FILE_NAME).read_bytes())
    return msgspec.json.encode({**content, **changes})


@pytest.mark.parametrize("snapshot", [make_snapshot(), make_large_snapshot(100)])
def test_what_was_written_is_read(tmp_path: Path, snapshot: Snapshot) -> None:
    """Every part of it, once for each time that it was written."""
    reader = SnapshotReader(tmp_path)
    SnapshotWriter(tmp_path).write(snapshot)

    assert reader.look() is True
    assert reader.snapshot == snapshot
    assert reader.look() is False
    assert reader.error is None

    SnapshotWriter(tmp_path).write(snapshot)
    assert reader.look() is True


def test_a_name_that_is_no_utf_8_hides_nothing(tmp_path: Path) -> None:
    """It is told with its bytes, and everything else as it is."""
    odd, plain = make_pool(profile="caf\udce9"), make_pool(name="other")
    reader = SnapshotReader(tmp_path)

    SnapshotWriter(tmp_path).write(make_snapshot(pools=(odd, plain)))

    assert reader.look() is True
    assert reader.snapshot is not None
    assert reader.snapshot.pools[0].profile == "caf\\udce9"
    assert reader.snapshot.pools[1] == plain


def test_is_for_its_group_alone(tmp_path: Path) -> None:
    """Who may see the metrics is the web side's to decide; nothing is left beside it."""
    SnapshotWriter(tmp_path).write(make_snapshot())

    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_nothing_published_yet(tmp_path: Path) -> None:
    """Said with what to look at."""
    reader = SnapshotReader(tmp_path)

    assert reader.look() is False
    assert "thinpool-guard.service" in str(reader.error)
    assert reader.snapshot is None


def test_a_bad_file_leaves_the_last_good_snapshot(tmp_path: Path) -> None:
    """It goes on being said that the file is bad, and is forgotten with the next good one."""
    reader, snapshot = SnapshotReader(tmp_path), make_snapshot()
    SnapshotWriter(tmp_path).write(snapshot)
    reader.look()

    replace_file(tmp_path, b'{"format": 1, "program"')
    looks = [reader.look(), reader.look()]

    assert looks == [False, False]
    assert FILE_NAME in str(reader.error)
    assert reader.snapshot == snapshot

    SnapshotWriter(tmp_path).write(snapshot)
    assert reader.look() is True
    assert reader.error is None


def test_a_newer_format_is_refused_with_both_versions(tmp_path: Path) -> None:
    """An update of one side alone."""
    SnapshotWriter(tmp_path).write(make_snapshot())
    replace_file(tmp_path, edited(tmp_path, format=2, program="9.1", snapshot=[1]))
    reader = SnapshotReader(tmp_path)

    assert reader.look() is False
    for part in ("version 9.1", "format 2", f"version {__version__}", "restart"):
        assert part in str(reader.error)


def test_fields_of_a_newer_guard_are_passed_over(tmp_path: Path) -> None:
    """As long as the format is the same, what is known keeps its meaning."""
    SnapshotWriter(tmp_path).write(make_snapshot())
    content = msgspec.json.decode((tmp_path / FILE_NAME).read_bytes())["snapshot"]
    content["pools"][0]["colour"] = "blue"
    replace_file(tmp_path, edited(tmp_path, snapshot={**content, "weather": []}, mood=1))
    reader = SnapshotReader(tmp_path)

    assert reader.look() is True
    assert reader.snapshot == make_snapshot()


def test_a_word_of_a_newer_guard_is_not_guessed_at(tmp_path: Path) -> None:
    """The message leads to the value."""
    SnapshotWriter(tmp_path).write(make_snapshot())
    content = msgspec.json.decode((tmp_path / FILE_NAME).read_bytes())["snapshot"]
    content["pools"][0]["mode"] = "sideways"
    replace_file(tmp_path, edited(tmp_path, snapshot=content, program="9.1"))
    reader = SnapshotReader(tmp_path)

    assert reader.look() is False
    assert "sideways" in str(reader.error)
    assert "version 9.1" in str(reader.error)


def test_too_large_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor written: a reader would only refuse it."""
    monkeypatch.setattr(publish, "MAX_BYTES", 1000)
    reader = SnapshotReader(tmp_path)
    with pytest.raises(ExporterError, match="more than readers take"):
        SnapshotWriter(tmp_path).write(make_large_snapshot(10))
    replace_file(tmp_path, b" " * 1001)

    assert reader.look() is False
    assert "larger than 1000 bytes" in str(reader.error)


def test_a_file_of_others_names_the_group(tmp_path: Path) -> None:
    """A web side that is in the wrong group; root, who may read all, becomes somebody else."""
    SnapshotWriter(tmp_path).write(make_snapshot())
    (tmp_path / FILE_NAME).chmod(0)
    reader, me = SnapshotReader(tmp_path), os.geteuid()
    if me == 0:
        os.seteuid(NOBODY)
    try:
        assert reader.look() is False
    finally:
        os.seteuid(me)

    assert "group" in str(reader.error)


@given(st.binary(max_size=200) | st.integers(1, 5000).map(lambda depth: b"[" * depth))
def test_no_bytes_break_the_reader(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    """Each is refused by a message that names the file."""
    directory = tmp_path_factory.mktemp("any")
    replace_file(directory, raw)
    reader = SnapshotReader(directory)

    assert reader.look() is False
    assert FILE_NAME in str(reader.error)


def test_never_half_a_file(tmp_path: Path) -> None:
    """One writes without a pause, the other reads: every look finds a whole one."""
    snapshots = (make_snapshot(), make_large_snapshot(20))
    writer, reader, stop = SnapshotWriter(tmp_path), SnapshotReader(tmp_path), threading.Event()
    writer.write(snapshots[0])

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            writer.write(snapshots[number % 2])

    thread = threading.Thread(target=write)
    thread.start()
    looks: list[bool] = []
    try:
        assert eventually(lambda: looked_at(reader, looks))
    finally:
        stop.set()
        thread.join()

    assert reader.snapshot in snapshots


def looked_at(reader: SnapshotReader, looks: list[bool]) -> bool:
    """Look once more; whether 50 new Snapshots were found."""
    looks.append(reader.look())
    assert reader.error is None
    return looks.count(True) >= 50
