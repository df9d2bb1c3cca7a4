"""The units under real systemd: what they let through, what they stop, what they survive."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest

from tests.vm import payload, scenarios, units
from tests.vm.guest import CONFIG, Guest, check
from tests.vm.machine import Machine
from tests.vm.units import GUARD, WEB
from tests.vm.waiting import wait_until

LABELS = {"vg": "docker", "pool": "thinpool"}
EXTENDS = "thinpool_guard_extends_total"
DM_NAME = "docker-thinpool-tpool"
SCORES = {GUARD: 2.0, WEB: 1.2}
PROMPT_SECONDS = 60


def write(machine: Machine, mib: int) -> None:
    """Write so much into the pool's volume from its start."""
    assert scenarios.fill(machine, "/dev/docker/volume", mib).returncode == 0


def size(machine: Machine) -> int:
    """Read the pool's size in chunks."""
    return scenarios.dm_status(machine)[DM_NAME].total_data or 0


def has_grown(machine: Machine, before: int) -> bool:
    """Whether it has more than so many."""
    return size(machine) > before


@pytest.mark.every_release
def test_a_pool_grows_inside_the_sandbox(served: Machine, web: Guest) -> None:
    """Data and metadata, archived as ever; nothing of it meets a wall."""
    write(served, 330)
    web.wait_for(PROMPT_SECONDS, EXTENDS, 1, device="data", **LABELS)
    # A guard that runs would extend it again and again before so much of it is used.
    served.run(f"systemctl stop {GUARD}")
    scenarios.fill_metadata(served, DM_NAME, 85)
    served.run(f"systemctl start {GUARD}", timeout_seconds=units.READY_SECONDS)
    metrics = web.wait_for(PROMPT_SECONDS, EXTENDS, 1, device="metadata", **LABELS)

    assert metrics.value("thinpool_data_size_bytes", **LABELS) == 480 * 1024**2
    assert metrics.value("thinpool_exporter_snapshot_success") == 1
    for collector in ("device_mapper", "lvm", "policy"):
        assert metrics.value("thinpool_collector_success", collector=collector) == 1
    assert not web.events("vg_not_archived")
    journal = served.journal(GUARD)
    for wall in ("not permitted", "ermission denied", "ead-only", "not_locked", "oom_killer"):
        assert wall not in journal, journal
    archived = served.run("grep -l lvextend /etc/lvm/archive/docker_*").stdout.splitlines()
    assert len(archived) == 2
    assert served.run(f"systemctl show --value -p NRestarts {GUARD} {WEB}").stdout.split() == [
        "0",
        "0",
    ]


@pytest.mark.every_release
@pytest.mark.parametrize("unit", SCORES)
def test_exposure(served: Machine, unit: str) -> None:
    """As systemd counts it for the unit as it runs."""
    report = served.run(f"systemd-analyze security --no-pager {unit}").stdout

    score = re.search(r"exposure level for \S+: ([\d.]+)", report)
    assert score is not None, report
    print(f"{unit}: {score[1]}")  # noqa: T201 - for the README
    assert float(score[1]) <= SCORES[unit], report


# Below /root and /home a guard has nothing but a file system of its own, empty and passing.
PASSING = {"write /root", "write /home"}
ALLOWED = {
    GUARD: {"write own", "write lvm", "read Snapshot", "lock guard", *PASSING},
    WEB: {"listen", "connect", "read Snapshot"},
}


@pytest.mark.every_release
@pytest.mark.parametrize("unit", SCORES)
def test_what_is_forbidden_fails(served: Machine, unit: str) -> None:
    """Tried as the unit's own process, with all that the unit gives and takes."""
    other = next(name for name in SCORES if name != unit)
    served.run(f"systemctl stop {unit}")
    served.put(Path(__file__).with_name("sandbox_probe.py"), f"{payload.PREFIX}/probe.py")
    units.drop_in(
        served,
        unit,
        "Type=oneshot",
        "Restart=no",
        "WatchdogSec=0",
        "ExecStart=",
        f"ExecStart={payload.PREFIX}/bin/python {payload.PREFIX}/probe.py",
    )
    served.run(f"systemctl start {unit}", timeout_seconds=60)

    (line,) = re.findall(r"\{.*\}", served.journal(unit))[-1:]
    met = json.loads(line)
    assert {name for name, error in met.items() if not error} <= ALLOWED[unit], met
    assert {name for name in met if name not in ALLOWED[unit]}, "nothing was tried"
    assert served.is_active(other)
    left = served.run("ls -a / /etc /usr /root /home /var/lib /opt /run").stdout
    assert ".sandbox-probe" not in left
    assert not met["read Snapshot"], met
    if unit == GUARD:
        assert not met["lock guard"], met
        assert not met["write own"], met
        assert not met["write lvm"], met


@pytest.mark.every_release
def test_the_web_side_cannot_keep_a_guard_out(served: Machine) -> None:
    """As its user, outside of its sandbox; the file is one that an earlier version made."""
    lock = "/run/thinpool-exporter/guard.lock"
    pid = units.main_pid(served, WEB)
    uid, gid = served.run(f"stat -c '%u %g' /proc/{pid}").stdout.split()
    group = served.run("getent group thinpool-snapshot | cut -d: -f3").stdout.strip()
    become = f"setpriv --reuid={uid} --regid={gid} --groups={group}"
    assert served.run(f"{become} cat /run/thinpool-exporter/snapshot.json").stdout
    refused = served.run(f"{become} flock -n -s {lock} true", check=False)
    assert "Permission denied" in refused.stderr

    served.run(f"systemctl stop {GUARD}")
    served.run(f"rm {lock} && touch {lock} && chgrp thinpool-snapshot {lock}; chmod 640 {lock}")
    served.start(f"exec {become} flock {lock} sleep 600")
    served.wait_until(f"! flock -n {lock} true", 30)
    assert "no guard is running" in check(served)[1]
    served.run(f"systemctl start {GUARD}", timeout_seconds=units.READY_SECONDS)

    assert units.restarts(served, GUARD) == 0
    assert f"running, pid {units.main_pid(served, GUARD)}" in check(served)[1]
    assert served.run(f"stat -c '%a %U' {lock}").stdout == "600 root\n"


def test_each_unit_is_for_itself(served: Machine) -> None:
    """Whoever disables one leaves the other as it is, now and at the next boot."""
    guard = units.main_pid(served, GUARD)
    served.run(f"systemctl disable --now {WEB}")
    assert units.main_pid(served, GUARD) == guard
    assert served.run(f"systemctl is-enabled {GUARD}").stdout == "enabled\n"

    served.run(f"systemctl disable --now {GUARD}")
    served.run(f"systemctl enable --now {WEB}", timeout_seconds=units.READY_SECONDS)
    assert not served.is_active(GUARD)


def test_metrics_without_a_guard_that_acts(served: Machine, web: Guest) -> None:
    """By the README's command."""
    served.run(payload.command("sh -c"))
    served.run(f"systemctl restart {GUARD}", timeout_seconds=units.READY_SECONDS)

    web.wait_for(PROMPT_SECONDS, "thinpool_guard_mode", 1, mode="observe", **LABELS)


def test_a_guard_that_cannot_start_says_so_at_once_and_seldom_again(served: Machine) -> None:
    """The start by hand fails; the next one, by systemd, pauses, and can be stopped."""
    said = f"journalctl -u {GUARD} | grep -c no_such_key"
    served.write(CONFIG, "no_such_key: 1\n")
    failed = served.run(f"systemctl restart {GUARD}", check=False, timeout_seconds=50)
    assert failed.returncode != 0
    served.wait_until(f"test $({said}) = 2", PROMPT_SECONDS)

    pid = units.main_pid(served, GUARD)
    served.wait_until(f"grep -q nanosleep /proc/{pid}/wchan", 30)
    served.run(f"systemctl stop {GUARD}", timeout_seconds=9)


def test_a_web_side_that_cannot_start_is_not_started_again(served: Machine) -> None:
    """A bad flag stays bad."""
    served.write("/etc/default/thinpool-exporter", "ARGS=--no.such.flag\n")
    failed = served.run(f"systemctl restart {WEB}", check=False, timeout_seconds=50)

    assert failed.returncode != 0
    state = served.run(f"systemctl show --property=ActiveState {WEB}").stdout.strip()
    assert state == "ActiveState=failed"


def test_the_guard_has_no_network_at_all(served: Machine) -> None:
    """Not even the loopback that the web side serves on."""
    pid = units.main_pid(served, GUARD)

    assert served.run(f"cat /proc/{pid}/net/tcp | wc -l").stdout.strip() == "1"
    own, host = (
        served.run(f"readlink /proc/{pid}/ns/net").stdout,
        served.run("readlink /proc/1/ns/net").stdout,
    )
    assert own != host


def test_a_stopped_guard_is_replaced(served: Machine, web: Guest) -> None:
    """By systemd's watchdog; the next one goes on, and the web side has served meanwhile."""
    units.drop_in(served, GUARD, "WatchdogSec=6")
    served.run(f"systemctl restart {GUARD}", timeout_seconds=60)
    stopped = units.main_pid(served, GUARD)
    served.run(f"kill -STOP {stopped}")

    wait_until(
        lambda: units.main_pid(served, GUARD) not in {0, stopped} and served.is_active(GUARD),
        deadline_seconds=PROMPT_SECONDS,
        what="another guard",
    )
    assert units.restarts(served, GUARD) == 1
    write(served, 330)
    web.wait_for(PROMPT_SECONDS, EXTENDS, 1, device="data", **LABELS)
    assert units.restarts(served, WEB) == 0


def test_a_stopped_web_side_is_replaced(served: Machine, web: Guest) -> None:
    """By systemd's watchdog as well; the guard has gone on meanwhile."""
    units.drop_in(served, WEB, "WatchdogSec=6")
    served.run(f"systemctl restart {WEB}", timeout_seconds=60)
    stopped, guard = units.main_pid(served, WEB), units.main_pid(served, GUARD)
    served.run(f"kill -STOP {stopped}")

    wait_until(
        lambda: units.main_pid(served, WEB) not in {0, stopped} and served.is_active(WEB),
        deadline_seconds=PROMPT_SECONDS,
        what="another web side",
    )
    assert web.metrics().value("thinpool_exporter_snapshot_success") == 1
    assert units.main_pid(served, GUARD) == guard


@pytest.mark.campaign
def test_restarts_under_load(served: Machine, web: Guest) -> None:
    """Both are restarted and killed while somebody writes, who never meets a full pool."""
    write(served, 300)
    # So slow that what is left above a threshold lasts while a guard starts.
    command = scenarios.fill_command("/dev/docker/volume", 900, rate_mib=4, offset_mib=300)
    writer = served.start(command)
    for action in (
        f"restart {GUARD} {WEB}",
        f"kill --kill-who=main -s KILL {GUARD}",
        f"restart {GUARD}",
    ):
        before = size(served)
        served.run(f"systemctl {action}", timeout_seconds=60)
        wait_until(
            partial(has_grown, served, before),
            deadline_seconds=PROMPT_SECONDS,
            what="the pool grows",
        )
    served.run("pkill -x fio")
    served.wait_until("! pgrep -x fio", 30)

    assert "rror" not in served.journal(writer)
    wait_until(lambda: served.is_active(WEB), deadline_seconds=30, what="the web side")
    assert (web.metrics().value("thinpool_exporter_snapshot_success")) == 1


def test_stopping_spares_an_lvextend(served: Machine) -> None:
    """It waits for a lock; the guard is gone at once, and the pool grows when it may."""
    lock = "/run/lock/lvm/V_docker"
    holder = served.start(f"exec flock -o {lock} sleep 600")
    served.wait_until(f"! flock -n {lock} true", 30)
    write(served, 330)
    # Reading commands wait for a lock of another kind.
    served.wait_until("grep -q -- '-> FLOCK  *ADVISORY  *WRITE' /proc/locks", PROMPT_SECONDS)

    served.run(f"systemctl stop {GUARD}", timeout_seconds=30)
    assert served.run(f"systemctl show --value -p Result {GUARD}").stdout.strip() == "success"
    assert units.main_pid(served, GUARD) == 0
    served.stop(holder)

    blocks = 480 * 16
    wait_until(
        lambda: size(served) == blocks,
        deadline_seconds=PROMPT_SECONDS,
        what="the extension that was under way",
    )


def test_reload(served: Machine, web: Guest) -> None:
    """By systemctl; a bad file is told and changes nothing."""
    successful = "thinpool_exporter_config_last_reload_successful"
    served.write(CONFIG, "guard: {mode: observe}\n")
    served.run(f"systemctl reload {GUARD}")
    web.wait_for(30, "thinpool_guard_mode", 1, mode="observe", **LABELS)
    served.write(CONFIG, "guard: {mode: sometimes}\n")
    refused = served.run(f"systemctl reload {GUARD}", check=False)

    assert refused.returncode != 0
    metrics = web.wait_for(30, successful, 0)
    assert metrics.value("thinpool_guard_mode", mode="observe", **LABELS) == 1
    assert served.is_active(GUARD)


def test_a_journal_that_dies_takes_nobody_along(served: Machine, web: Guest) -> None:
    """Killed twice; whoever writes to it meanwhile goes on."""
    for _ in range(2):
        served.run("systemctl kill -s KILL systemd-journald")
        served.wait_until("systemctl is-active systemd-journald", 30)
    write(served, 330)

    web.wait_for(PROMPT_SECONDS, EXTENDS, 1, device="data", **LABELS)
    assert served.run(f"systemctl show --value -p NRestarts {GUARD} {WEB}").stdout.split() == [
        "0",
        "0",
    ]


def test_docker_that_is_stopped_takes_nobody_along(served: Machine, web: Guest) -> None:
    """Its figures are missing; the guard stays what protects its pool."""
    scenarios.docker_overlay(served)
    web.wait_for(150, "thinpool_docker_up", 1)
    served.run("systemctl stop docker docker.socket", timeout_seconds=120)

    web.wait_for(150, "thinpool_docker_up", 0)
    assert served.run(f"systemctl show --value -p NRestarts {GUARD} {WEB}").stdout.split() == [
        "0",
        "0",
    ]
    assert web.metrics().value("thinpool_guard_responsible", **LABELS) == 1
