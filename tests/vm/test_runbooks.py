"""Runbooks of a broken pool, on Docker's real one: its commands mend it, and keep the data."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.vm import faults, scenarios
from tests.vm.docked import (
    DEVICE,
    OBSERVE,
    PATIENCE_SECONDS,
    POOL,
    configure,
    kept,
    kernel_until,
    plug,
    runbook,
    start_writer,
)
from tests.vm.guest import Guest
from tests.vm.machine import Machine
from tests.vm.runbook import Runbook
from tests.vm.waiting import wait_until

METADATA_BLOCK, SECTOR = 4096, 512
IMAGE = "/root/thinpool_tmeta.img"


def break_metadata(machine: Machine) -> None:
    """Let the kernel fail to write the pool's metadata once, while a container writes."""
    tmeta = f"{DEVICE}_tmeta"
    faults.run(machine, f"dmsetup table {tmeta} > /root/sound", faults.muted(tmeta))
    # A new container's device is the first that cannot be noted down.
    machine.run("docker run --network=none busybox:vm true", check=False)
    kernel_until(machine, lambda status: bool(status.needs_check))
    faults.run(
        machine,
        f"dmsetup suspend --noflush {tmeta}",
        f"dmsetup load {tmeta} < /root/sound",
        f"dmsetup resume {tmeta}",
    )


@pytest.mark.campaign
def test_out_of_space_without_a_disk_left(docked: Machine, guest: Guest) -> None:
    """Writes wait for the disk that is given; none of them fails."""
    plug(docked)
    start_writer(docked, 430)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="out_of_data_space", **POOL)
    book = runbook(docked, "ThinPoolOutOfDataSpace")

    said = book.diagnose()
    assert "out_of_data_space" in said
    assert "out of data space" in book.page()
    book.follow("If the group has none", NEW_DISK=docked.disk("data1"))

    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="rw", **POOL)
    assert docked.run("docker wait writer", timeout_seconds=120).stdout.strip() == "0"
    assert "rw" in book.follow("When the pool has space again")
    assert kept(docked)


@pytest.mark.campaign
def test_out_of_space_by_hand(docked: Machine, guest: Guest) -> None:
    """What can be made again is freed; without a guard the step is given by hand."""
    configure(docked, OBSERVE)
    docked.run(
        "docker run --network=none --name=maker busybox:vm dd if=/dev/zero of=/f bs=1M count=30"
    )
    docked.run("docker commit maker spare:vm && docker rm maker", timeout_seconds=120)
    start_writer(docked, 380)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="out_of_data_space", **POOL)
    book = runbook(docked, "ThinPoolOutOfDataSpace")

    book.follow("If there is no disk either")
    assert "spare" not in docked.run("docker images").stdout
    book.follow("If there is no disk either", 1)
    book.follow("If the group has free space")

    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="rw", **POOL)
    assert docked.run("docker wait writer", timeout_seconds=120).stdout.strip() == "0"


def test_metadata_that_is_sound_is_used_again(docked: Machine, guest: Guest) -> None:
    """One failed write leaves a mark; a check is all that it takes, and data is as it was."""
    break_metadata(docked)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_needs_check", 1, **POOL)
    book = runbook(docked, "ThinPoolNeedsCheck")

    assert "needs_check" in book.diagnose()
    book.follow("Stop what uses the pool")
    book.follow("Deactivate its volumes, and the pool")
    assert "sound" in book.follow("Save the metadata, and look at it")
    assert " rw " in book.follow("Let LVM check it")
    book.follow("Start what uses it")

    guest.wait_for(PATIENCE_SECONDS, "thinpool_needs_check", 0, **POOL)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="rw", **POOL)
    assert docked.run(f"stat -c %s {IMAGE}").stdout.strip() == str(4 * faults.MIB)
    assert kept(docked)


def test_metadata_that_is_damaged_is_repaired(
    docked: Machine, guest: Guest, tmp_path: Path
) -> None:
    """Without a spare and without room for one: a disk first, and then nothing is lost."""
    break_metadata(docked)
    docked.run(f"lvremove -y -qq {faults.QUIET} docker/lvol0_pmspare")
    plug(docked)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_needs_check", 1, **POOL)
    book = runbook(docked, "ThinPoolNeedsCheck")
    book.follow("Stop what uses the pool")
    book.follow("Deactivate its volumes, and the pool")
    book.follow("Save the metadata, and look at it")
    damage(docked, tmp_path)
    assert "damaged" in book.follow("Save the metadata, and look at it")

    refused = book.attempt("Let LVM check it")
    assert "repair required" in refused.stderr.lower()
    assert book.attempt("If the check fails: repair").returncode != 0
    book.follow("If the check fails: repair", 1, NEW_DISK=docked.disk("data1"))
    assert " rw " in book.follow("If the check fails: repair")
    book.follow("Start what uses it")

    guest.wait_for(PATIENCE_SECONDS, "thinpool_needs_check", 0, **POOL)
    assert kept(docked)
    book.follow("When all is well", answer="y\n")
    assert "_meta0" not in docked.run("lvs -a docker").stdout


@pytest.mark.campaign
def test_a_pool_of_lvm_s_own_volumes_is_checked_by_lvm(docked: Machine) -> None:
    """It clears the mark by itself, and a file system on the pool is as it was."""
    volumes = "vols/pool"
    device = f"{faults.dm_name(volumes)}-tpool"
    scenarios.write_profile(docked, faults.PROFILE, faults.THRESHOLD, faults.STEP)
    faults.run(
        docked,
        faults.Disk(docked, "data1").group("vols", 128),
        faults.pool(volumes),
        f"lvcreate -qq {faults.QUIET} -V 64M -n files --thinpool pool vols",
        "mkfs.ext4 -q /dev/vols/files && mount /dev/vols/files /mnt",
        "dd if=/dev/urandom of=/mnt/file bs=1M count=8 conv=fsync",
        "md5sum /mnt/file > /root/sum",
        f"dmsetup table vols-pool_tmeta > /root/sound; {faults.muted('vols-pool_tmeta')}",
        "! dd if=/dev/zero of=/mnt/other bs=1M count=8 conv=fsync",
        f"dmsetup status --noflush {device} | grep needs_check",
        "dmsetup suspend --noflush vols-pool_tmeta; dmsetup load vols-pool_tmeta < /root/sound",
        "dmsetup resume vols-pool_tmeta",
    )
    book = Runbook(docked, "ThinPoolNeedsCheck", vg="vols", pool="pool")
    wait_until(
        lambda: f"--noflush {device}" in book.page(),
        deadline_seconds=PATIENCE_SECONDS,
        what="the new pool's page",
    )

    assert "/mnt" in book.follow("Stop what uses the pool")
    docked.run("umount /mnt")
    book.follow("Deactivate its volumes, and the pool")
    assert "sound" in book.follow("Save the metadata, and look at it")
    (line,) = (
        line
        for line in book.follow("Let LVM check it").splitlines()
        if line.startswith(f"{device}: ")
    )
    assert " rw " in line
    assert "needs_check" not in line

    docked.run("lvchange -ay vols/files && mount /dev/vols/files /mnt && md5sum -c /root/sum")


def damage(machine: Machine, directory: Path) -> None:
    """Destroy what tells which blocks are in use, and which a repair counts anew.

    Such a block has no flags after its checksum, and its own number follows.
    """
    machine.get(IMAGE, directory / "tmeta")
    data = (directory / "tmeta").read_bytes()
    heads = (
        (number, struct.unpack_from("<IIQ", data, number * METADATA_BLOCK))
        for number in range(1, len(data) // METADATA_BLOCK)
    )
    numbers = [n for n, (checksum, flags, own) in heads if checksum and not flags and own == n]
    assert numbers
    machine.run(f"lvchange -qq -y {faults.QUIET} -ay docker/thinpool_tmeta")
    start = int(machine.run("dmsetup table docker-thinpool_tmeta").stdout.split()[4])
    machine.run("lvchange -qq -an docker/thinpool_tmeta")
    write = (
        f"dd if=/dev/zero of=/dev/mapper/pv-docker-0 bs={METADATA_BLOCK} count=1 oflag=direct"
    )
    blocks = (start * SECTOR // METADATA_BLOCK + number for number in numbers)
    faults.run(machine, *(f"{write} seek={block} conv=notrunc" for block in blocks))


def test_a_failed_pool_comes_back_with_its_disk(docked: Machine, guest: Guest) -> None:
    """Once the metadata can be read again, it is whole, and so is what was written."""
    set_error = f"set -- $(dmsetup table {DEVICE}_tmeta)"
    faults.run(docked, set_error, faults.swapped(f"{DEVICE}_tmeta", "0 $2 error"))
    docked.run(f"dmsetup message {DEVICE} 0 'create_thin 999'; dmsetup status {DEVICE}")
    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="failed", **POOL)
    book = runbook(docked, "ThinPoolFailed")

    assert "Fail" in book.diagnose()
    book.follow("Stop what uses the pool")
    book.follow("Deactivate its volumes, and the pool")
    assert "sound" in book.follow("Save the metadata, and look at it")
    assert " rw " in book.follow("Let LVM check it")
    book.follow("Start what uses it")

    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="rw", **POOL)
    assert kept(docked)


@pytest.mark.campaign
def test_a_read_only_pool_is_written_to_again(docked: Machine, guest: Guest) -> None:
    """Whether it was loaded so, or its metadata is full and its group as well."""
    configure(docked, OBSERVE)
    book = runbook(docked, "ThinPoolReadOnly")
    faults.run(docked, faults.read_only("docker/thinpool"))
    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="ro", **POOL)
    assert " ro " in book.diagnose()
    assert " rw " in book.follow("If it is neither")

    plug(docked)
    scenarios.fill_metadata(docked, DEVICE)
    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="ro", **POOL)
    book.follow("If the group has no space for that", NEW_DISK=docked.disk("data1"))
    book.follow("If the metadata is full, and no check is needed")

    guest.wait_for(PATIENCE_SECONDS, "thinpool_mode", 1, mode="rw", **POOL)
    assert kept(docked)
