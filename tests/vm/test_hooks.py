"""A script written for dmeventd's thin_command, called by the real dmeventd and by us."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.vm import scenarios
from tests.vm.guest import CONFIG, Guest, running
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool
from tests.vm.waiting import wait_until

pytestmark = pytest.mark.any_release

POOL = Pool(vg="my-vg", lv="my-pool", profile=(80, 20), error_when_full=False)
DM_NAME = "my--vg-my--pool"
COMMAND = "/etc/thinpool-exporter/thin_command"
CALLS = "/root/calls"
FILLED = "hooks-filled"
MIB = 1024 * 1024
# As in dmeventd(8): looks at the figures, and exits non-zero to be called again.
SCRIPT = f"""#!/bin/sh
mkdir -p {CALLS}; call={CALLS}/$(ls {CALLS} | wc -l); mkdir $call
cat /proc/$$/cmdline > $call/argv
cat /proc/$$/environ > $call/environment
date +%s.%N > $call/time
readlink /proc/$$/cwd > $call/directory
umask > $call/umask
cat /proc/$$/oom_score_adj > $call/oom_score
touch $call/all
if test "$THINPOOL_EVENT" = extended; then lvm lvextend --use-policies "$1" || exit; fi
echo "Data: ${{DMEVENTD_THIN_POOL_DATA-raised_event}}"
test -e {CALLS}/1
"""


class Call(NamedTuple):
    """How the script was called."""

    argv: list[str]
    environment: dict[str, str]
    directory: str
    umask: str
    time: float
    oom_score: int

    @property
    def as_dmeventd(self) -> object:
        """All that a script written for dmeventd can rely on."""
        names = [*(name for name in self.environment if name.startswith("DMEVENTD_"))]
        names += ["LVM_RUN_BY_DMEVENTD", "LC_ALL", "PATH"]
        told = {name: self.environment.get(name) for name in names}
        return self.argv, told, self.directory, self.umask


def calls(machine: Machine) -> list[Call]:
    """Read every call so far that is on record as a whole."""
    names = ("argv", "environment", "time", "directory", "umask", "oom_score")
    line = f"cd {CALLS} && for all in */all; do cd ${{all%/all}}; "
    line += "".join(f"cat {name}; printf '\\036'; " for name in names) + "cd ..; done"
    *texts, _ = machine.run(line).stdout.split("\x1e")
    each = [texts[start : start + len(names)] for start in range(0, len(texts), len(names))]
    return [_call(dict(zip(names, call, strict=True))) for call in each]


def _call(texts: dict[str, str]) -> Call:
    variables = (line.partition("=") for line in texts["environment"].split("\0") if line)
    return Call(
        argv=texts["argv"].split("\0"),
        environment={name: value for name, _, value in variables},
        directory=texts["directory"],
        umask=texts["umask"],
        time=float(texts["time"]),
        oom_score=int(texts["oom_score"]),
    )


def wait_for_calls(machine: Machine, count: int, seconds: float = 45.0) -> list[Call]:
    """Wait for so many calls."""
    machine.wait_until(f"test -e {CALLS}/{count - 1}/all", seconds)
    return calls(machine)


def spare(machine: Machine, guest: Guest) -> None:
    """Have the OOM killer spare the exporter, as its unit does."""
    machine.run(f"choom -n -1000 -p $(systemctl show --value -p MainPID {guest.unit})")


def test_is_called_as_dmeventd_calls_it(machine: Machine) -> None:
    """For the same pool, at the same usage: same arguments, figures, pauses and manners."""
    machine.write(COMMAND, SCRIPT, 0o755)
    machine.write("/etc/lvm/lvmlocal.conf", f'dmeventd {{ thin_command = "{COMMAND}" }}\n')
    limit = f"pools: {{{POOL.name}: {{max_size: {POOL.data}iB}}}}\n"
    machine.write(CONFIG, f"hook: {{command: {COMMAND}}}\n{limit}")
    scenarios.make_pool(machine, POOL)
    machine.run(f"dmsetup message {DM_NAME} 0 'create_thin 1'")
    machine.run(f"dmsetup create thin1 --table '0 8388608 thin /dev/mapper/{DM_NAME} 1'")
    assert scenarios.fill(machine, "/dev/mapper/thin1", 440).returncode == 0
    machine.snapshot(FILLED)

    scenarios.start_dmeventd(machine, POOL.name)
    theirs = wait_for_calls(machine, 2)
    machine.restore(FILLED)
    scenarios.mask_dmeventd(machine)
    with running(machine) as guest:
        spare(machine, guest)
        ours = wait_for_calls(machine, 2)
        _is_told_while_full(machine, guest)
        lines = guest.events("hook_failed") + guest.events("hook_done")

    assert [call.as_dmeventd for call in ours] == [call.as_dmeventd for call in theirs[:2]]
    assert ours[0].argv[1:] == [COMMAND, POOL.name, ""]
    assert abs((ours[1].time - ours[0].time) - (theirs[1].time - theirs[0].time)) < 3
    assert [call.environment["THINPOOL_EVENT"] for call in ours] == ["impossible"] * 2
    assert ours[1].environment["THINPOOL_REASON"] == "at_max_size"
    assert (theirs[1].oom_score, ours[1].oom_score) == (-1000, 0)
    assert [line.get("exit_status") for line in lines] == [1, None, None]
    assert "Data: " in str(lines[0]["output"])
    _is_told_of_growth(machine, limit)


def wait_until_done(guest: Guest, event: str) -> None:
    """Wait until the script has ended well, on this event."""
    wait_until(
        lambda: any(line["on"] == event for line in guest.events("hook_done")),
        deadline_seconds=90,
        what=f"the hook is done with {event}",
    )


def _is_told_while_full(machine: Machine, guest: Guest) -> None:
    """Expect a third call when the pool has no more space and may not have any."""
    machine.start(scenarios.fill_command("/dev/mapper/thin1", 600))
    wait_until_done(guest, "full")

    environment = calls(machine)[2].environment
    assert environment["THINPOOL_EVENT"] == "full"
    assert environment["DMEVENTD_THIN_POOL_DATA"] == "100"
    assert environment["THINPOOL_DATA_USED_BYTES"] == str(500 * MIB)


def _is_told_of_growth(machine: Machine, limit: str) -> None:
    """Let the guard grow the pool now; the script's own lvextend does no harm."""
    machine.write(CONFIG, machine.read(CONFIG).replace(limit, ""))
    before = len(calls(machine))

    with running(machine) as guest:
        wait_until_done(guest, "extended")
        extended = guest.events("pool_extended")[0]
        failed = guest.events("hook_failed")

    told = [call.environment for call in calls(machine)[before:]]
    growth = next(each for each in told if each["THINPOOL_EVENT"] == "extended")
    assert growth["THINPOOL_DATA_SIZE_BYTES"] == str(extended["size_after_bytes"])
    assert int(growth["THINPOOL_DATA_SIZE_BYTES"]) > 500 * MIB
    assert int(growth["THINPOOL_DATA_ADDED_BYTES"]) == (
        int(growth["THINPOOL_DATA_SIZE_BYTES"]) - 500 * MIB
    )
    assert not failed
