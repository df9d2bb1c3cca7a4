"""Findings about pools that are not LVM's: on loop-backed files, or made by somebody else."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.report.case import Case
from exporter.report.finding import Finding, Line, Remedy, Severity, run, say
from exporter.report.loopback import loop_findings
from exporter.report.policy import profile_file
from exporter.report.room import NEW_DISK
from exporter.report.text import operand, shown

VG_NAME = "docker"
# The usual 95 %VG leaves no room for a single step of 20 %; from 60 % two steps fit.
DATA_SHARE = "60%VG"
DOCKER_DIRECTORY = "/var/lib/docker"


def foreign_findings(case: Case) -> Iterator[Finding]:
    """Find what makes a pool one that LVM cannot extend."""
    loop = case.pool.kernel.loop if case.pool.kernel else None
    if loop:
        yield from loop_findings(case, loop, docker=direct_lvm(case))
    elif not case.is_lvm:
        yield _foreign(case)


def _foreign(case: Case) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        brief="not LVM's",
        text="LVM did not make this pool: neither dmeventd nor a guard can extend it, only "
        "the program that made it",
        remedy=(
            say("What it lies on, and how full it is:"),
            run("dmsetup", "deps", "-o", "devname", *operand(case.dm_name)),
            run("dmsetup", "status", *operand(case.dm_name)),
        ),
    )


def direct_lvm(case: Case) -> Remedy:
    """Move Docker to a thin pool of LVM's on a disk of its own."""
    group = VG_NAME if VG_NAME not in case.vg_names else f"{VG_NAME}-data"
    directory = (case.docker.root_directory if case.docker else None) or DOCKER_DIRECTORY
    return (
        say("Move Docker to direct-lvm. THIS LOSES ALL IMAGES, CONTAINERS AND VOLUMES under"),
        say(f"{shown(directory)} unless they are saved first (docker save, docker export, a"),
        say("copy of the volumes). Docker 23 and newer must be told the driver, and 25 has no"),
        say("devicemapper any more: overlay2 needs no pool at all. NEW_DISK is a disk of its"),
        say("own, whose content is lost:"),
        run("systemctl", "stop", "docker"),
        run("mv", *operand(directory), f"{directory}.old"),
        *_make_pool(group),
        say("Tell Docker in /etc/docker/daemon.json (keep what else is in there):"),
        *_daemon_json(group),
        run("systemctl", "start", "docker"),
    )


def _make_pool(group: str) -> tuple[Line, ...]:
    pool, profile = f"{group}/thinpool", f"{group}-thinpool"
    wipe = ("lvcreate", "--wipesignatures", "y")
    return (
        run("pvcreate", NEW_DISK),
        run("vgcreate", group, NEW_DISK),
        run(*wipe, "-n", "thinpool", group, "-l", DATA_SHARE),
        run(*wipe, "-n", "thinpoolmeta", group, "-l", "1%VG"),
        run(
            *("lvconvert", "-y", "--zero", "n", "-c", "512K"),
            *("--thinpool", pool, "--poolmetadata", f"{group}/thinpoolmeta"),
        ),
        *profile_file(profile),
        run("lvchange", "--metadataprofile", profile, pool),
        run("lvs", "-o+seg_monitor", group),
    )


def _daemon_json(group: str) -> tuple[Line, ...]:
    # LVM doubles the dashes of a name in device-mapper's.
    device = f"/dev/mapper/{group.replace('-', '--')}-thinpool"
    options = f'["dm.thinpooldev={device}", "dm.use_deferred_removal=true"]'
    return (
        say('  "storage-driver": "devicemapper",'),
        say(f'  "storage-opts": {options}'),
    )
