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
DEVICEMAPPER_GONE = 25  # the first Docker without the driver


def foreign_findings(case: Case) -> Iterator[Finding]:
    """Find what makes a pool one that LVM cannot extend."""
    if case.lies_on:
        yield Finding(
            severity=Severity.WARNING,
            brief="on another pool",
            text=f"its data device is the thin pool {shown(case.lies_on)}: extending that one "
            "gives this pool no space, and LVM does not know what is in it",
        )
    loop = case.pool.kernel.loop if case.pool.kernel else None
    if loop:
        yield from loop_findings(case, loop, docker=away_from_files(case))
    elif not case.is_lvm and not case.pool.is_stratis:
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


def away_from_files(case: Case) -> Remedy:
    """Move Docker off its loop files: to overlay2, or where Docker can, to a pool of LVM's."""
    directory = (case.docker.root_directory if case.docker else None) or DOCKER_DIRECTORY
    return (
        say("Move Docker to overlay2, which needs no pool. THIS LOSES ALL IMAGES, CONTAINERS"),
        say(f"AND VOLUMES under {shown(directory)} unless they are saved first"),
        say("(docker save, docker export, a copy of the volumes):"),
        run("systemctl", "stop", "docker.socket", "docker"),
        run("mv", *operand(directory), f"{directory}.old"),
        say("Set in /etc/docker/daemon.json, and remove what begins with dm. there:"),
        say('  "storage-driver": "overlay2"'),
        run("systemctl", "start", "docker"),
        say(f"When all is back, remove {shown(directory)}.old: it still takes its space."),
        *(_direct_lvm(case) if _has_devicemapper(case) else ()),
    )


def _has_devicemapper(case: Case) -> bool:
    """Whether Docker still has the driver, so far as is known."""
    version = case.docker.server_version if case.docker else None
    major = (version or "").partition(".")[0]
    return not (major.isdecimal() and int(major) >= DEVICEMAPPER_GONE)


def _direct_lvm(case: Case) -> tuple[Line, ...]:
    group = VG_NAME if VG_NAME not in case.vg_names else f"{VG_NAME}-data"
    return (
        say("Or keep devicemapper on a pool of LVM's (direct-lvm), made before that start."),
        say(f"Docker {DEVICEMAPPER_GONE} has removed it. NEW_DISK is a disk of its own, whose"),
        say("content is lost:"),
        *_make_pool(group),
        say("And set in /etc/docker/daemon.json, in place of overlay2:"),
        *_daemon_json(group),
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
    )


def _daemon_json(group: str) -> tuple[Line, ...]:
    # LVM doubles the dashes of a name in device-mapper's.
    device = f"/dev/mapper/{group.replace('-', '--')}-thinpool"
    options = f'["dm.thinpooldev={device}", "dm.use_deferred_removal=true"]'
    return (
        say('  "storage-driver": "devicemapper",'),
        say(f'  "storage-opts": {options}'),
    )
