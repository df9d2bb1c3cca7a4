"""What outlives the guard in /run, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.guard.latch import Latch
from exporter.guard.ledger import PoolRecord
from exporter.guard.memory import FILE_NAME, MemoryFile
from exporter.model import Failure

LATCH = Latch.close(Failure.INEFFECTIVE, "nothing came of it", "so", now=5.0, last=None)


@pytest.fixture
def boot_id(tmp_path: Path) -> Path:
    """Write this boot's name."""
    path = tmp_path / "boot_id"
    path.write_text("6f1c\n")
    return path


def memory(directory: Path, boot_id: Path) -> MemoryFile:
    """Open the file as a guard does when it starts."""
    return MemoryFile(directory / "run", boot_id_file=boot_id)


def test_the_next_guard_knows_what_the_last_one_knew(tmp_path: Path, boot_id: Path) -> None:
    """Latches, takeovers and since when; counters begin anew, as Prometheus expects."""
    record = PoolRecord(latch=LATCH, above_since=3.5, is_taken_over=True, taken_over_from=77)
    record.takeovers = 4
    memory(tmp_path, boot_id).save({"docker/thinpool": record, "vg/healthy": PoolRecord()})

    found = memory(tmp_path, boot_id).load()

    assert list(found) == ["docker/thinpool"]
    assert (tmp_path / "run" / FILE_NAME).stat().st_mode & 0o777 == 0o600
    loaded = found["docker/thinpool"]
    assert loaded.latch == LATCH
    assert (loaded.above_since, loaded.is_taken_over, loaded.taken_over_from) == (3.5, True, 77)
    assert loaded.takeovers == 0


def test_a_reboot_forgets(tmp_path: Path, boot_id: Path) -> None:
    """The monotonic clock has begun anew, and so may have everything else."""
    memory(tmp_path, boot_id).save({"docker/thinpool": PoolRecord(latch=LATCH)})
    boot_id.write_text("another\n")

    assert memory(tmp_path, boot_id).load() == {}


def test_a_host_that_does_not_name_its_boot_remembers_nothing(tmp_path: Path) -> None:
    """Times that may be of another boot are worth nothing."""
    nameless = tmp_path / "absent"
    memory(tmp_path, nameless).save({"docker/thinpool": PoolRecord(latch=LATCH)})

    assert memory(tmp_path, nameless).load() == {}


@pytest.mark.parametrize("raw", [b"", b"{", b'{"boot_id": 3}', b"\xff" * 100])
def test_a_file_that_makes_no_sense_is_passed_over(
    tmp_path: Path, boot_id: Path, raw: bytes
) -> None:
    """A guard starts without its memory rather than not at all."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / FILE_NAME).write_bytes(raw)

    assert memory(tmp_path, boot_id).load() == {}


def test_nothing_new_is_not_written_again(tmp_path: Path, boot_id: Path) -> None:
    """It is called every second."""
    file = memory(tmp_path, boot_id)
    file.save({"docker/thinpool": PoolRecord(latch=LATCH)})
    (tmp_path / "run" / FILE_NAME).unlink()

    file.save({"docker/thinpool": PoolRecord(latch=LATCH)})
    assert not (tmp_path / "run" / FILE_NAME).exists()

    file.save({})
    assert (tmp_path / "run" / FILE_NAME).exists()


def test_a_place_that_cannot_be_written_is_no_fault_of_the_guards(boot_id: Path) -> None:
    """A full or read-only /run must not end it."""
    MemoryFile(boot_id / "below-a-file", boot_id_file=boot_id).save(
        {"docker/thinpool": PoolRecord(latch=LATCH)}
    )
