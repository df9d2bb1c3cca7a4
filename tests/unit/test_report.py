"""What `check` tells a person: whole reports, exit statuses, and what they promise."""

from __future__ import annotations

import io
import math
import os
import re
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exporter.bulkhead import Bulkheads
from exporter.errors import CommandStuckError
from exporter.guard import Clocks, Rules
from exporter.guard.judge import Judge
from exporter.model import (
    Absence,
    CollectorState,
    Device,
    Dmeventd,
    GuardMode,
    GuardNote,
    LoopBacking,
    LvmSettings,
    PoolMode,
    PoolSource,
    Problem,
    Reason,
    Snapshot,
    StoragePlace,
    ThinPool,
)
from exporter.report import Report, Severity, lines_of, print_report
from exporter.report.lines import brief_lines_of
from exporter.simulation import ManualClock
from tests.factories import (
    DATA_EXTENTS,
    EXTENT_BYTES,
    TAKEN_AT,
    make_collectors,
    make_docker,
    make_failed_state,
    make_guard_report,
    make_kernel_pool,
    make_loop,
    make_lvm_pool,
    make_metadata_usage,
    make_physical_volume,
    make_place,
    make_policy,
    make_pool,
    make_pool_guard,
    make_snapshot,
    make_status,
    make_usage,
    make_volume_group,
    make_volumes,
)
from tests.fakes import FakeLog
from tests.golden.snapshots import SNAPSHOTS, failed, inactive, kernel_mute, loopback

GOLDEN = Path(__file__).parent.parent / "golden" / "check"
RUNNING = GuardNote(pid=123, mode=GuardMode.AUTO)
DMEVENTD = Dmeventd(is_alive=True, pid=812, state="S")
NO_ROOT = "cannot open /dev/mapper/control: Permission denied"
HOSTILE = "[red]a\x1b[2J|b\nc'; rm -rf / #é\udcff"

# A host, the guard that runs on it, and for how long that has been silent.
Host = tuple[Snapshot, "GuardNote | None", "float | None"]


def judged(snapshot: Snapshot, note: GuardNote | None = None) -> Snapshot:
    """Add what a guard would say, as `check` does."""
    clocks = Clocks(monotonic=lambda: 0.0, wall=lambda: TAKEN_AT)
    rules = Rules().as_noted(note) if note else Rules()
    return Judge(rules, clocks).foresee(replace(snapshot, guard=None))


def host(note: GuardNote | None = None, /, **changes: object) -> Host:
    """Return the article's host with changes, and the guard that runs on it."""
    return judged(make_snapshot(**changes), note), note, None


def roomy(extents: int = 2000) -> dict[str, object]:
    """Give the article's VG a second disk."""
    disks = (make_physical_volume(), second_disk(extents))
    return {"volume_groups": (make_volume_group(physical_volumes=disks),)}


def second_disk(extents: int) -> object:
    """Return an empty disk."""
    return make_physical_volume(name="/dev/sdc", extents=extents, allocated_extents=0)


def pool_used(ratio: float, **changes: object) -> ThinPool:
    """Return docker/thinpool with so much of its data in use, and its status changed."""
    usage = make_usage()
    used = replace(usage, used_blocks=math.ceil(usage.total_blocks * ratio))
    status = make_status(**({"data": used} | changes))
    return make_pool(kernel=make_kernel_pool(status=status), mode=status.mode)


def monitored(pool: ThinPool) -> ThinPool:
    """Return the pool as dmeventd's."""
    return replace(pool, is_monitored=True, monitoring="monitored")


def thin_check_missing() -> Host:
    """Return a pool that cannot be activated since LVM's thin_check is not installed."""
    pool = inactive().pools[0]
    settings = LvmSettings(missing_thin_check="/usr/sbin/thin_check")
    return host(RUNNING, pools=(pool,), lvm_settings=settings, **roomy())


def components_active() -> Host:
    """Return a pool that cannot be activated since a crash has left its hidden LVs active."""
    pool = inactive().pools[0]
    assert pool.lvm is not None
    components = ("thinpool_tmeta", "thinpool_tdata")
    lvm = replace(pool.lvm, active_components=components)
    return host(RUNNING, pools=(replace(pool, lvm=lvm),), **roomy())


def other_thin_command() -> Host:
    """Return a pool that dmeventd monitors, with a command that mails an admin."""
    return host(
        pools=(monitored(pool_used(0.42)),),
        dmeventd=DMEVENTD,
        lvm_settings=LvmSettings(thin_command="/usr/local/sbin/mail-admin"),
        **roomy(),
    )


def same_named() -> Host:
    """Return a pool over its threshold whose VG has the name of one that misses a disk."""
    own = make_lvm_pool()
    groups = (
        make_volume_group(uuid=own.vg_uuid),
        make_volume_group(uuid="other-uuid", is_partial=True),
    )
    problem = Problem(subject="VG docker", message="2 VGs have this name")
    return host(
        RUNNING,
        pools=(replace(pool_used(0.99), policy=make_policy(threshold_percent=100)),),
        volume_groups=(),
        same_named_groups=groups,
        problems=(problem,),
    )


def healthy_guard() -> Host:
    """Return a host whose guard has room enough."""
    return host(RUNNING, pools=(pool_used(0.42),), **roomy())


def filled() -> Host:
    """Return a host that tells who fills its pool."""
    pool = replace(pool_used(0.42), volumes=make_volumes())
    return host(RUNNING, pools=(pool,), **roomy())


def healthy_dmeventd() -> Host:
    """Return a host where LVM does all by itself."""
    return host(pools=(monitored(pool_used(0.42)),), dmeventd=DMEVENTD, **roomy())


def article() -> Host:
    """Return the article's host: monitored, with a step that can never fit."""
    return host(pools=(monitored(make_pool()),), dmeventd=DMEVENTD)


def article_guarded() -> Host:
    """Return the same layout with a guard, which gives what there is."""
    return host(RUNNING)


def takeover() -> Host:
    """Return a pool over its threshold that dmeventd cannot extend, but the guard can."""
    return host(RUNNING, pools=(monitored(pool_used(0.86)),), dmeventd=DMEVENTD)


def unprotected() -> Host:
    """Return a host with neither dmeventd nor guard, and a pool over its threshold."""
    return host(pools=(pool_used(0.91),))


def loop_lvm() -> Host:
    """Return Docker on loop files."""
    return judged(loopback()), RUNNING, None


def needs_check() -> Host:
    """Return a pool whose metadata the kernel has marked."""
    full = make_metadata_usage(used_blocks=make_metadata_usage().total_blocks)
    pool = pool_used(0.58, mode=PoolMode.RO, metadata=full, needs_check=True)
    return host(RUNNING, pools=(pool,), **roomy())


def failed_pool() -> Host:
    """Return a pool that the kernel has given up."""
    return judged(failed(), RUNNING), RUNNING, None


def out_of_space() -> Host:
    """Return a full pool whose writes wait, in a VG that is full as well."""
    pool = pool_used(1.0, mode=PoolMode.OUT_OF_DATA_SPACE)
    disk = make_physical_volume(allocated_extents=make_physical_volume().extents)
    groups = (make_volume_group(physical_volumes=(disk,)),)
    return host(RUNNING, pools=(pool,), volume_groups=groups)


def out_of_metadata() -> Host:
    """Return a pool that is read-only until its metadata is extended."""
    full = make_metadata_usage(used_blocks=make_metadata_usage().total_blocks)
    return host(RUNNING, pools=(pool_used(0.5, mode=PoolMode.RO, metadata=full),), **roomy())


def profile_missing() -> Host:
    """Return a pool whose profile is gone: LVM falls back on never."""
    pool = make_pool(
        is_profile_missing=True,
        policy=make_policy(threshold_percent=100),
        effective_threshold_percent=100,
        metadata_threshold_percent=100,
    )
    problem = Problem(subject="profile docker-thinpool", message="stat failed", is_warning=True)
    return host(RUNNING, pools=(pool,), problems=(problem,), **roomy())


def policy_off() -> Host:
    """Return a pool without profile under LVM's defaults."""
    pool = make_pool(
        profile=None,
        policy=make_policy(threshold_percent=100),
        effective_threshold_percent=100,
        metadata_threshold_percent=100,
    )
    return host(RUNNING, pools=(pool,), **roomy())


def no_root() -> Host:
    """Return what a user without rights sees."""
    denied = make_failed_state(error=NO_ROOT)
    snapshot = make_snapshot(
        pools=(),
        volume_groups=(),
        docker=None,
        dmeventd=Dmeventd(is_alive=None),
        collectors=make_collectors(device_mapper=denied, lvm=denied, docker=denied),
        problems=(Problem(subject="lvm", message=NO_ROOT),),
    )
    return judged(snapshot), None, None


def no_pools() -> Host:
    """Return a host without thin pools, and without Docker."""
    missing = make_failed_state(absence=Absence.NOT_INSTALLED)
    return host(
        pools=(),
        volume_groups=(),
        docker=None,
        collectors=make_collectors(docker=missing),
        is_simulated=True,
    )


def inactive_pool() -> Host:
    """Return a pool that is not active, and a Docker that does not answer."""
    return judged(inactive(), RUNNING), RUNNING, None


def suspended() -> Host:
    """Return a suspended pool, left so by a crashed command."""
    return host(RUNNING, pools=(pool_used(0.3, is_suspended=True),), **roomy())


def differs() -> Host:
    """Return a pool of which the kernel uses less than LVM has recorded."""
    lvm = make_lvm_pool(size_bytes=(DATA_EXTENTS + 100) * EXTENT_BYTES)
    return host(RUNNING, pools=(make_pool(lvm=lvm),), **roomy())


def narrow() -> Host:
    """Return a pool of which LVM extends the data in one place only, by the VG's word."""
    group = make_volume_group(allocation="cling")
    pool = make_pool(lvm=make_lvm_pool(data_allocation="contiguous"))
    return host(RUNNING, pools=(pool,), volume_groups=(group,))


def bad_group() -> Host:
    """Return a VG with everything wrong with it."""
    group = make_volume_group(
        is_partial=True,
        is_exported=True,
        is_shared=True,
        system_id="elsewhere",
        is_foreign=True,
        is_writable=False,
        has_duplicate_pvs=True,
        physical_volumes=(make_physical_volume(is_missing=True),),
    )
    pool = make_pool(lvm=make_lvm_pool(is_locked=True))
    return host(RUNNING, pools=(pool,), volume_groups=(group,))


def foreign() -> Host:
    """Return a pool that somebody made with dmsetup."""
    pool = make_pool(
        vg_name="",
        name="containerd-pool",
        source=PoolSource.DEVICE_MAPPER,
        kernel=make_kernel_pool(dm_name="containerd-pool", dm_uuid=""),
        lvm=None,
        policy=None,
        profile=None,
    )
    return host(RUNNING, pools=(pool,), volume_groups=())


def mute_kernel() -> Host:
    """Return a host whose kernel cannot be asked."""
    return judged(kernel_mute(), RUNNING), RUNNING, None


def latched() -> Host:
    """Return a guard that was refused."""
    return SNAPSHOTS["latched"](), RUNNING, None


def silent_guard() -> Host:
    """Return a guard that runs and does nothing, with a pool above its threshold."""
    snapshot, note, _ = host(RUNNING, pools=(pool_used(0.85),), **roomy())
    return snapshot, note, 372.0


def internal_error() -> Host:
    """Return a guard that met an exception when it decided for a pool."""
    guard = make_pool_guard(
        is_responsible=False, reason=Reason.INTERNAL_ERROR, detail="ZeroDivisionError()"
    )
    report = make_guard_report(pools={"docker/thinpool": guard})
    return make_snapshot(pools=(pool_used(0.42),), guard=report, **roomy()), RUNNING, None


def hostile() -> Host:
    """Return names that nobody should give."""
    kernel = make_kernel_pool(dm_name=HOSTILE, status=make_status(is_suspended=True))
    lvm = make_lvm_pool(vg_name=HOSTILE, name=HOSTILE)
    pool = make_pool(
        vg_name=HOSTILE,
        name=HOSTILE,
        kernel=kernel,
        lvm=lvm,
        profile="../../" + HOSTILE,
        is_profile_missing=True,
    )
    return host(
        pools=(pool,),
        volume_groups=(make_volume_group(name=HOSTILE, is_exported=True),),
        docker=make_docker(server_version=HOSTILE, pool_name=HOSTILE),
        problems=(Problem(subject=HOSTILE, message=HOSTILE),),
    )


HOSTS: dict[str, tuple[Callable[[], Host], Severity]] = {
    make.__name__: (make, severity)
    for make, severity in (
        (healthy_guard, Severity.OK),
        (filled, Severity.OK),
        (healthy_dmeventd, Severity.OK),
        (article, Severity.WARNING),
        (article_guarded, Severity.WARNING),
        (takeover, Severity.WARNING),
        (unprotected, Severity.CRITICAL),
        (loop_lvm, Severity.WARNING),
        (needs_check, Severity.CRITICAL),
        (failed_pool, Severity.CRITICAL),
        (out_of_space, Severity.CRITICAL),
        (out_of_metadata, Severity.CRITICAL),
        (profile_missing, Severity.WARNING),
        (policy_off, Severity.WARNING),
        (no_root, Severity.UNKNOWN),
        (no_pools, Severity.OK),
        (inactive_pool, Severity.WARNING),
        (thin_check_missing, Severity.WARNING),
        (components_active, Severity.WARNING),
        (other_thin_command, Severity.WARNING),
        (same_named, Severity.CRITICAL),
        (suspended, Severity.WARNING),
        (differs, Severity.WARNING),
        (bad_group, Severity.WARNING),
        (narrow, Severity.WARNING),
        (foreign, Severity.WARNING),
        (mute_kernel, Severity.WARNING),
        (latched, Severity.CRITICAL),
        (hostile, Severity.WARNING),
        (silent_guard, Severity.CRITICAL),
        (internal_error, Severity.WARNING),
    )
}


def report_of(
    snapshot: Snapshot, note: GuardNote | None, silence_seconds: float | None = None
) -> Report:
    """Report on a host, and fail where something could not be reported on."""
    log = FakeLog()
    bulkheads = Bulkheads(log, ManualClock())
    report = Report.of(snapshot, note, bulkheads, silence_seconds=silence_seconds)
    assert log.lines == []
    return report


def printed(
    snapshot: Snapshot, note: GuardNote | None = None, silence_seconds: float | None = None
) -> str:
    """Print a report as into a file."""
    stream = io.StringIO()
    print_report(report_of(snapshot, note, silence_seconds), stream)
    return stream.getvalue()


def summary(
    snapshot: Snapshot, note: GuardNote | None = None, silence_seconds: float | None = None
) -> str:
    """Take the first line alone."""
    return printed(snapshot, note, silence_seconds).splitlines()[0]


@pytest.mark.parametrize("name", HOSTS)
def test_prints_what_is_kept(name: str, request: pytest.FixtureRequest) -> None:
    """Each host gives exactly the text kept for it (UPDATE_GOLDEN=1 writes it anew)."""
    golden = GOLDEN / f"{name}.txt"
    text = printed(*HOSTS[name][0]())
    is_updating = request.config.getoption("--update-golden", default=False)
    if is_updating or os.environ.get("UPDATE_GOLDEN") == "1":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)

    assert text == golden.read_text()


def test_every_golden_has_its_host() -> None:
    """No file is left behind when its host is renamed."""
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(HOSTS)


@pytest.mark.parametrize("name", HOSTS)
def test_ends_as_monitoring_plugins_do(name: str) -> None:
    """The exit status is the worst severity, and the first line begins with its name."""
    make, severity = HOSTS[name]
    report = report_of(*make())

    assert report.exit_status == severity
    assert lines_of(report)[0].text.startswith(f"{severity.name}: ")


@pytest.mark.parametrize(
    "make", [make for make, _ in HOSTS.values()] + list(SNAPSHOTS.values())
)
def test_is_plain_text(make: Callable[[], Host | Snapshot]) -> None:
    """Nothing but printable ASCII, and no pipe: whatever the names on the host."""
    made = make()
    text = printed(*made) if isinstance(made, tuple) else printed(made)

    assert set(text) <= set(string.printable) - set("|\x0b\x0c\r\t")


class Screen(io.StringIO):
    """A terminal, so far as a program can tell."""

    def isatty(self) -> bool:
        """Claim to be one."""
        return True


@pytest.mark.parametrize("name", HOSTS)
def test_a_terminal_shows_the_same_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours aside a terminal gets the same lines, uncut, with no name taken for markup."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    report, screen = report_of(*HOSTS[name][0]()), Screen()

    print_report(report, screen)

    seen = screen.getvalue()
    assert "\x1b[1;" in seen
    assert re.sub(r"\x1b\[[0-9;]*m", "", seen).splitlines() == [
        line.text for line in lines_of(report)
    ]


def test_names_its_first_line_as_monitoring_reads_it() -> None:
    """The example of the manual: the pool, what is wrong, how full it is."""
    assert summary(*unprotected()) == (
        "CRITICAL: docker/thinpool: not protected, Docker makes no new containers, "
        "next extension does not fit, 91 % full"
    )


@pytest.mark.parametrize(
    ("used", "severity"), [(0.7999, Severity.WARNING), (0.81, Severity.CRITICAL)]
)
def test_over_the_threshold_without_help_is_critical(used: float, severity: Severity) -> None:
    """Below it there is still time."""
    assert report_of(*host(pools=(pool_used(used),), **roomy())).severity is severity


@pytest.mark.parametrize(
    ("used", "severity"), [(0.9499, Severity.OK), (0.951, Severity.CRITICAL)]
)
def test_nearly_full_is_critical_whoever_protects(used: float, severity: Severity) -> None:
    """From 95 % on nobody should sleep, even if the guard is at work."""
    of = host(RUNNING, pools=(pool_used(used),), docker=None, **roomy())

    assert report_of(*of).severity is severity


def test_nearly_full_by_lvs_alone_is_critical() -> None:
    """Where the kernel is mute, its percentages as LVM prints them still count."""
    snapshot = kernel_mute()
    lvm = make_lvm_pool(data_percent=99.1)
    pools = (replace(snapshot.pools[0], lvm=lvm, mode=PoolMode.UNKNOWN),)

    assert summary(replace(snapshot, pools=pools)).startswith("CRITICAL: ")


def test_almost_full_is_not_called_full() -> None:
    """99.999 % is 99.99 %, and 99 % in the first line."""
    usage = make_usage()
    almost = replace(usage, used_blocks=usage.total_blocks - 1)
    text = printed(*host(pools=(pool_used(1.0, data=almost),)))

    assert "100" not in text.splitlines()[0]
    assert "data       99.99 % full" in text
    assert "100.00 %" not in text


def test_full_is_called_full() -> None:
    """And what is full is 100.00 %."""
    assert "data       100.00 % full" in printed(*out_of_space())


def test_a_vg_that_lvm_does_not_list_may_be_one_it_must_not_see() -> None:
    """A disk that LVM's devices file leaves out is missing to every command."""
    snapshot, note, _ = host()
    unlisted = replace(snapshot, volume_groups=())

    text = printed(unlisted, note)

    assert "LVM lists no VG docker" in text
    assert "lvm lvmdevices --adddev" in text


def test_dmeventd_that_is_stopped_protects_nothing() -> None:
    """Its registration outlives its ability to answer."""
    stopped = Dmeventd(is_alive=True, pid=812, state="T")
    text = printed(*host(pools=(monitored(make_pool()),), dmeventd=stopped, **roomy()))

    assert "not protected: dmeventd (pid 812) is stopped and does not answer" in text
    assert "kill -CONT 812" in text


def test_a_step_of_zero_protects_nothing() -> None:
    """Not by dmeventd, and not by a guard that would only find out at the threshold."""
    pool = monitored(make_pool(policy=make_policy(step_percent=0)))
    by_dmeventd = host(pools=(pool,), dmeventd=DMEVENTD, **roomy())
    by_guard = host(RUNNING, pools=(replace(pool, is_monitored=False),), **roomy())

    assert "not protected: " in printed(*by_dmeventd)
    assert "not protected: " in printed(*by_guard)


def test_both_protect_in_mode_always() -> None:
    """A guard in `always` stands beside dmeventd."""
    note = GuardNote(pid=9, mode=GuardMode.ALWAYS)
    text = printed(*host(note, pools=(monitored(make_pool()),), dmeventd=DMEVENTD, **roomy()))

    assert "protected by dmeventd and by this guard (always, pid 9)" in text


@pytest.mark.parametrize("mode", [GuardMode.OBSERVE, GuardMode.OFF])
def test_a_guard_that_may_not_act_protects_nothing(mode: GuardMode) -> None:
    """And the report says how to let it."""
    text = printed(*host(GuardNote(pid=9, mode=mode), **roomy()))

    assert "not protected: dmeventd is not running; this guard" in text
    assert "guard.mode" in text


def test_a_mode_of_the_pool_itself_counts() -> None:
    """The note tells of one pool what it tells of no other."""
    note = GuardNote(pid=9, mode=GuardMode.OFF, pools={"docker/thinpool": GuardMode.ALWAYS})

    assert "protected by this guard (always, pid 9)" in printed(*host(note, **roomy()))


def test_a_guard_with_nothing_to_give_protects_nothing() -> None:
    """Responsible is not able."""
    disk = make_physical_volume(allocated_extents=make_physical_volume().extents)
    full = (make_volume_group(physical_volumes=(disk,)),)

    assert "this guard (auto, pid 123) is responsible, but cannot help" in printed(
        *host(RUNNING, volume_groups=full)
    )


@pytest.mark.parametrize(
    "reason",
    [
        Reason.NO_SPACE,
        Reason.AT_MAX_SIZE,
        Reason.AT_METADATA_LIMIT,
        Reason.LATCHED_REFUSED,
        Reason.LATCHED_INEFFECTIVE,
    ],
)
def test_a_guard_that_cannot_help_says_why(reason: Reason) -> None:
    """Its own reason, in plain words, with what LVM said."""
    guard = make_pool_guard(reason=reason, detail="Insufficient\nspace")
    report = make_guard_report(pools={"docker/thinpool": guard})
    text = printed(make_snapshot(guard=report, **roomy()), RUNNING)

    assert "is responsible, but cannot help: " in text
    assert "(Insufficient\\x0aspace)" in text


def test_dmeventd_is_not_bound_by_the_limits_of_the_guard() -> None:
    """A step that the guard may not give can still be LVM's."""
    steps = tuple(replace(step, possible_bytes=0) for step in make_pool_guard().steps)
    guard = make_pool_guard(reason=Reason.DMEVENTD_MONITORS, is_responsible=False, steps=steps)
    snapshot = make_snapshot(
        pools=(monitored(make_pool()),),
        dmeventd=DMEVENTD,
        guard=make_guard_report(pools={"docker/thinpool": guard}),
        **roomy(),
    )

    assert summary(snapshot) == "OK: docker/thinpool: protected by dmeventd, 0 % full"


def test_what_the_vg_lacks_is_told_to_the_extent() -> None:
    """973 extents are a step, 154 are free."""
    assert "the VG lacks 3.20 GiB: 819 extents of 4 MiB" in printed(*article())


def test_a_threshold_below_fifty_is_a_note() -> None:
    """LVM raises it by itself: worth to know, not to wake for."""
    pool = make_pool(policy=make_policy(threshold_percent=30), effective_threshold_percent=50)
    report = report_of(*host(RUNNING, pools=(pool,), **roomy()))

    assert report.severity is Severity.OK
    assert any("uses 50 instead of 30" in line.text for line in lines_of(report))


@pytest.mark.parametrize("is_queueing", [True, False, None])
def test_tells_what_becomes_of_writes(*, is_queueing: bool | None) -> None:
    """They wait, or fail, or the kernel does not say."""
    mode = PoolMode.OUT_OF_DATA_SPACE
    pool = pool_used(1.0, mode=mode, queue_if_no_space=is_queueing)
    words = {True: "fails them all 60 s after", False: "for 60 s)", None: "does not tell"}

    assert words[is_queueing] in printed(*host(RUNNING, pools=(pool,)))


def test_a_full_file_system_under_the_loop_file_is_critical() -> None:
    """The pool believes in space that the sparse file cannot have."""
    snapshot = loopback()
    pool = snapshot.pools[0]
    assert pool.kernel is not None
    short = replace(pool.kernel, loop=make_loop(free_bytes=1_000_000))
    text = summary(replace(snapshot, pools=(replace(pool, kernel=short),)))

    assert text.startswith(
        f"CRITICAL: {pool.name}: file system under the loop file nearly full"
    )


def test_unknown_beats_ok_and_nothing_else() -> None:
    """A source that fails turns ok into unknown, but hides no known trouble."""
    policy = make_collectors(policy=make_failed_state())
    well, *_ = healthy_guard()
    ill, *_ = unprotected()

    assert report_of(replace(well, collectors=policy), RUNNING).exit_status == 3
    assert report_of(replace(ill, collectors=policy), None).exit_status == 2


def test_tells_the_age_of_a_stale_source() -> None:
    """A last good value is worth as much as it is young."""
    stale = make_failed_state(error="hangs", succeeded_at=TAKEN_AT - 90)
    text = printed(make_snapshot(collectors=make_collectors(lvm=stale)))

    assert "UNKNOWN: LVM cannot be read: hangs; last read 1m 30s ago" in text


def test_a_source_that_was_never_asked_is_unknown() -> None:
    """Before the first reading nothing is known to be well."""
    states = make_collectors(lvm=CollectorState())

    assert report_of(make_snapshot(pools=(), collectors=states), None).exit_status == 3


@pytest.mark.parametrize("is_responsible", [False, True])
@pytest.mark.parametrize("mode", [GuardMode.AUTO, GuardMode.ALWAYS])
def test_a_guard_that_completes_no_cycle_protects_nothing(
    mode: GuardMode, *, is_responsible: bool
) -> None:
    """Whatever it would do if it worked; dmeventd protects all the same."""
    guard = make_pool_guard(is_responsible=is_responsible, mode=mode)
    changes = {"guard": make_guard_report(pools={"docker/thinpool": guard}), **roomy()}
    alone = printed(make_snapshot(**changes), RUNNING, 45)
    pools = (monitored(make_pool()),)
    both = printed(make_snapshot(pools=pools, dmeventd=DMEVENTD, **changes), RUNNING, 45)

    assert f"; this guard ({mode}, pid 123) has looked at no pool for 45s\n" in alone
    assert "protected by dmeventd\n" in both
    for text in (alone, both):
        assert text.startswith("CRITICAL: ")
        assert "the guard does not work" in text.splitlines()[0]
        assert "CRITICAL: the guard (pid 123) has looked at no pool for 45s" in text


def test_a_pool_that_cannot_be_judged_hides_nothing_else() -> None:
    """Before it is reported on, `check` decides as the guard would."""
    status = make_status(data=make_usage(used_blocks=None))
    odd = make_pool(name="odd", kernel=make_kernel_pool(status=status))
    snapshot = judged(make_snapshot(pools=(odd, pool_used(0.42)), **roomy()), RUNNING)
    report = Report.of(snapshot, RUNNING, Bulkheads(FakeLog(), ManualClock()))

    assert [pool.severity for pool in report.pools] == [Severity.UNKNOWN, Severity.OK]


def test_what_cannot_be_reported_on_hides_nothing_else() -> None:
    """It is shown as such, critical troubles come first, and nothing passes for well."""
    odd = make_pool(name="odd", kernel=make_kernel_pool(chunk_bytes=None))
    snapshot = make_snapshot(pools=(odd, pool_used(0.97)), volume_groups=())
    broken = replace(snapshot, problems=(None,))
    log = FakeLog()
    reports = [
        Report.of(each, None, Bulkheads(log, ManualClock())) for each in (snapshot, broken)
    ]
    text = "\n".join(line.text for line in lines_of(reports[1]))

    assert reports[0].summary.startswith("docker/thinpool: data nearly full")
    assert "docker/odd: could not be rendered: TypeError: " in reports[0].summary
    assert "docker/odd: UNKNOWN\n  could not be rendered: TypeError: " in text
    assert "UNKNOWN: the host could not be rendered: " in text
    assert [line["name"] for line in log.events("failed")] == [
        "docker/odd",
        "docker/odd",
        "host",
    ]


def test_a_problem_is_told_once() -> None:
    """The failed sources repeat theirs among the problems."""
    assert printed(*no_root()).count(f"LVM cannot be read: {NO_ROOT}") == 1


def test_many_pools_keep_the_first_line_short() -> None:
    """The three worst are named, the rest is counted."""
    text = summary(judged(SNAPSHOTS["many"]()))

    assert text.count("not protected") == 3
    assert text.endswith("; and 2 more")


def test_many_healthy_pools_are_counted() -> None:
    """One line is enough where all is well."""
    snapshot, *_ = healthy_guard()
    pools = (snapshot.pools[0],) * 2

    assert summary(replace(snapshot, pools=pools), RUNNING) == (
        "OK: 2 thin pools, all protected"
    )


def test_every_reason_has_words() -> None:
    """Whatever the guard decides can be read by a person."""
    from exporter.report.reasons import WORDS  # noqa: PLC0415 - of use here alone

    assert set(WORDS) == set(Reason)
    assert all(WORDS.values())


@given(
    st.sampled_from(list(Reason)),
    st.booleans(),
    st.sampled_from(list(GuardMode)),
    st.sampled_from([None, False, True]),
    st.sampled_from([None, RUNNING]),
)
def test_nothing_that_the_guard_may_say_breaks_the_report(
    reason: Reason,
    is_responsible: bool,  # noqa: FBT001 - given by position
    mode: GuardMode,
    is_monitored: bool | None,  # noqa: FBT001 - same
    note: GuardNote | None,
) -> None:
    """Every combination has its verdict, and only a good one is called protected."""
    guard = make_pool_guard(reason=reason, is_responsible=is_responsible, mode=mode)
    snapshot = make_snapshot(
        pools=(make_pool(is_monitored=is_monitored),),
        dmeventd=DMEVENTD,
        guard=make_guard_report(pools={"docker/thinpool": guard}),
    )
    verdicts = [
        line.text.strip()
        for line in lines_of(report_of(snapshot, note))
        if line.text.startswith(("  protected by", "  not protected", "  cannot tell"))
    ]

    assert len(verdicts) == 1
    assert note is not None or not verdicts[0].startswith("protected by this guard")


@pytest.mark.parametrize("device", list(Device))
def test_extends_by_hand_with_absolute_figures(device: Device) -> None:
    """The command adds what the next step needs, in a unit that LVM reads exactly."""
    pool = {
        Device.DATA: pool_used(0.97),
        Device.METADATA: pool_used(0.1, metadata=make_metadata_usage(used_blocks=50_000)),
    }[device]
    text = printed(*host(pools=(pool,), **roomy()))
    words = {
        Device.DATA: "lvextend -L +4280m docker/thinpool",
        Device.METADATA: "lvextend --poolmetadatasize +44m docker/thinpool",
    }

    assert words[device] in text


def test_the_limits_of_the_guard_are_told() -> None:
    """Where reserve or max_size give less than the VG could, they are named."""
    clocks = Clocks(monotonic=lambda: 0.0, wall=lambda: TAKEN_AT)
    rules = Rules(reserve_bytes=600 * 1024**2)
    text = printed(Judge(rules, clocks).foresee(make_snapshot(guard=None)), RUNNING)

    assert "reserve or max_size let the guard give 16.00 MiB of data" in text


def test_commands_are_told_once() -> None:
    """A full pool in a full VG has several findings, and one thing to do."""
    assert printed(*out_of_space()).count("vgextend docker /dev/NEW_DISK") == 1


def test_a_policy_that_is_mended_is_applied_at_once() -> None:
    """Dmeventd would not look before the next 5 %."""
    off = make_policy(threshold_percent=100)
    pool = replace(pool_used(0.9), policy=off, profile=None)

    assert "lvextend --use-policies docker/thinpool" in printed(*host(pools=(pool,)))
    assert "--use-policies" not in printed(*policy_off())


def test_monitoring_that_lvm_would_forget_is_told() -> None:
    """With monitoring=0 what lvchange sets lasts until the next activation."""
    pool = make_pool(policy=make_policy(is_monitoring_enabled=False))
    text = printed(*host(pools=(pool,), **roomy()))

    assert "lvchange --monitor y docker/thinpool" in text
    assert "activation/monitoring=0" in text


@pytest.mark.parametrize(
    ("health", "words"),
    [
        ("failed", "the pool has failed"),
        ("out_of_data", "the pool is out of data space"),
        ("metadata_read_only", "the pool is read-only"),
    ],
)
def test_lvm_tells_the_state_where_the_kernel_cannot(health: str, words: str) -> None:
    """Its health field comes from the same status line."""
    pool = make_pool(kernel=None, mode=PoolMode.UNKNOWN, lvm=make_lvm_pool(health=health))
    text = printed(*host(RUNNING, pools=(pool,)))

    assert words in text
    assert text.startswith("CRITICAL: ")


def test_a_foreign_pool_is_repaired_by_its_maker() -> None:
    """LVM's commands do not know it."""
    snapshot = loopback()
    pool = snapshot.pools[0]
    assert pool.kernel is not None
    kernel = replace(pool.kernel, status=make_status(needs_check=True))
    text = printed(replace(snapshot, pools=(replace(pool, kernel=kernel),)))

    assert "who made it must repair it" in text
    assert "lvconvert --repair" not in text


def test_docker_is_believed_about_loop_files() -> None:
    """Where the kernel shows no such pool."""
    docker = make_docker(has_loop_files=True)

    assert "Docker on loop files" in summary(*host(pools=(), docker=docker))


@pytest.mark.parametrize("free_bytes", [None, 10**12])
def test_an_unknown_file_system_under_a_loop_file_is_no_alarm(free_bytes: int | None) -> None:
    """Unknown is not full."""
    snapshot = loopback()
    pool = snapshot.pools[0]
    assert pool.kernel is not None
    loop = make_loop(free_bytes=free_bytes, file=None)
    changed = replace(pool, kernel=replace(pool.kernel, loop=loop))

    assert summary(replace(snapshot, pools=(changed,))).startswith("WARNING: ")


def test_a_new_vg_does_not_take_a_name_in_use() -> None:
    """Its device-mapper name doubles the dash, as LVM does."""
    text = printed(replace(loopback(), volume_groups=(make_volume_group(),)))

    assert "vgcreate docker-data /dev/NEW_DISK" in text
    assert "dm.thinpooldev=/dev/mapper/docker--data-thinpool" in text


def test_unlisted_pools_of_lvm_are_unknown() -> None:
    """Lvs does not show the pool: nobody can tell what protects it."""
    pool = make_pool(lvm=None, policy=None, profile=None)
    text = printed(*host(pools=(pool,), volume_groups=()))

    assert text.startswith("UNKNOWN: docker/thinpool: protection unknown")
    assert "policy     unknown (no profile)" in text


def on_files(loop: LoopBacking, **changes: object) -> Host:
    """Return the article's pool with a PV that lies on files."""
    volume = make_physical_volume(name="/dev/loop0")
    kernel = make_kernel_pool(loop=loop)
    group = make_volume_group(physical_volumes=(volume,))
    return host(RUNNING, pools=(make_pool(kernel=kernel, **changes),), volume_groups=(group,))


def test_a_pool_of_lvms_is_moved_off_its_file_by_lvm() -> None:
    """While it is in use; not Docker's way, which loses everything."""
    text = printed(*on_files(make_loop(promised_bytes=1024**3)))

    assert "the disks of the pool are /dev/loop0 over the sparse file /srv/data" in text
    assert "50.00 GiB left; the pool may still take 1.00 GiB of it\n" in text
    assert "pvmove /dev/loop0" in text
    assert "vgreduce docker /dev/loop0" in text
    assert "daemon.json" not in text


def test_a_partition_of_a_loop_device_is_moved_by_its_own_name() -> None:
    """It is what the VG knows."""
    volume = make_physical_volume(name="/dev/loop0p2")
    kernel = make_kernel_pool(loop=make_loop())
    group = make_volume_group(physical_volumes=(volume,))
    text = printed(*host(pools=(make_pool(kernel=kernel),), volume_groups=(group,)))

    assert "pvmove /dev/loop0p2" in text


def test_a_file_that_has_what_it_was_promised_needs_no_more() -> None:
    """However full its file system is."""
    text = printed(*on_files(make_loop(promised_bytes=0, free_bytes=0)))

    assert text.startswith("WARNING: ")
    assert "over the file /srv/data" in text
    assert "of which it needs no more" in text


def test_what_lies_between_the_pool_and_its_file_is_the_readers_to_find() -> None:
    """A PV on LUKS over a loop device has another name."""
    text = printed(*on_files(make_loop(device="/dev/loop7")))

    assert "pvmove /dev/LOOP_PV" in text


def test_a_deleted_file_is_critical() -> None:
    """Nothing is wrong with the pool, until the host boots."""
    text = printed(*on_files(make_loop(is_deleted=True)))

    assert text.startswith("CRITICAL: docker/thinpool: ")
    assert "the file under /dev/loop0 has been deleted" in text


def test_a_file_in_memory_is_told() -> None:
    """Its file system is gone with the next boot."""
    text = printed(*on_files(make_loop(file_system_type="tmpfs", file=None)))

    assert "over a sparse file" in text
    assert "and is memory (tmpfs), lost at the next boot, whatever the pool says" in text


def test_many_files_are_not_all_named() -> None:
    """The tightest is, with some others."""
    loop = make_loop()
    for number in range(1, 7):
        loop = loop.joined(make_loop(device=f"/dev/loop{number}"))
    text = printed(*on_files(loop))

    assert "/dev/loop3 over the sparse file /srv/data and 3 more: good" in text


def test_a_pool_that_neither_docker_nor_lvm_made_is_its_makers() -> None:
    """As containerd's documentation makes them: nothing of Docker's would help."""
    snapshot = loopback()
    (pool,) = snapshot.pools
    other = replace(pool, name="containerd-pool")
    text = printed(replace(snapshot, pools=(other,), docker=None))

    assert "best as a pool of LVM's" in text
    assert "du -h /var/lib/docker/devicemapper/devicemapper/data" in text
    assert "daemon.json" not in text


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (
            make_place(path="/data"),
            "/data (overlay2): on pool docker/thinpool, xfs on /dev/mapper/docker-data",
        ),
        (
            make_place(pools=(("a", "b"), ("", "loop")), file_system="", source=""),
            "/var/lib/docker (overlay2): on pool a/b and loop",
        ),
        (
            make_place(pools=(), driver=None),
            "/var/lib/docker: xfs on /dev/mapper/docker-data, on no thin pool",
        ),
        (
            make_place(pools=None, unknown="/home is hidden"),
            "/var/lib/docker (overlay2): not known on which pool: /home is hidden",
        ),
    ],
)
def test_says_on_which_pool_engines_data_is(place: StoragePlace, expected: str) -> None:
    """Or on none, or why that is not known."""
    text = printed(*host(storage=(place,)))

    assert f"  Docker's data  {expected}\n" in text


def test_a_guard_in_always_needs_no_dmeventd() -> None:
    """Whatever dmeventd runs in place of lvextend."""
    note = GuardNote(pid=9, mode=GuardMode.ALWAYS)
    snapshot, *_ = other_thin_command()
    text = printed(judged(snapshot, note), note)

    assert "\n  protected by this guard (always, pid 9)\n" in text
    assert text.startswith("OK: ")
    assert "runs /usr/local/sbin/mail-admin when a pool fills" in text


@pytest.mark.parametrize(
    ("command", "is_extending"),
    [
        (None, True),
        ("lvm lvextend --use-policies", True),
        ("lvm lvextend --verbose --use-policies", True),
        ("/sbin/lvm lvextend --use-policies", False),
        ("lvm lvextend -L+1G", False),
        ("lvm lvs", False),
        ("/usr/local/sbin/mail-admin", False),
    ],
)
def test_dmeventd_protects_with_the_command_that_extends(
    command: str | None, *, is_extending: bool
) -> None:
    """It runs anything else as one program, options and all, and gives it the pool's name."""
    snapshot, *_ = other_thin_command()
    changed = replace(snapshot, lvm_settings=LvmSettings(thin_command=command))

    assert ("\n  protected by dmeventd\n" in printed(changed)) is is_extending


def test_a_name_of_several_vgs_is_the_one_thing_to_mend() -> None:
    """LVM refuses every other command; the VG that misses a disk cannot be renamed."""
    text = printed(*same_named())

    assert "other-uuid, which misses a disk" in text
    assert "vgrename other-uuid" not in text
    for refused in ("lvextend", "vgextend", "lvchange", "lvmdevices"):
        assert refused not in text
    assert text.count("LVM changes none of them") == 2
    assert "2 VGs have this name" not in text  # the host's part repeats nothing


def test_the_vg_beside_the_pools_own_is_renamed() -> None:
    """Something mounts the pool's volumes by their names."""
    snapshot, *_ = same_named()
    own, other = snapshot.same_named_groups
    text = printed(replace(snapshot, same_named_groups=(own, replace(other, is_partial=False))))

    assert "vgrename other-uuid NEW_NAME" in text
    assert f"vgrename {own.uuid}" not in text


@pytest.mark.parametrize(
    ("timeout", "is_queueing", "words"),
    [
        (0.0, True, "writes wait until it is extended (no_space_timeout of dm_thin_pool is 0)"),
        (300.0, True, "fails them all 300 s after"),
        (None, True, "fails them all some time (60 s by default) after"),
        (0.0, False, "writes fail at once (error_if_no_space: set so); an extension ends"),
        (300.0, False, "waited for 300 s); an extension"),
    ],
)
def test_tells_how_long_writes_wait(
    timeout: float | None, words: str, *, is_queueing: bool
) -> None:
    """By the kernel's own setting."""
    mode = PoolMode.OUT_OF_DATA_SPACE
    pool = pool_used(1.0, mode=mode, queue_if_no_space=is_queueing)

    assert words in printed(*host(pools=(pool,), no_space_timeout_seconds=timeout))


def test_a_smaller_step_is_set_where_the_pools_own_comes_from() -> None:
    """A pool without a profile has none to change."""
    assert "=3 in the profile docker-thinpool)" in printed(*article())
    assert "=3 in lvm.conf, for all pools)" in printed(*host(pools=(make_pool(profile=None),)))


@pytest.mark.parametrize(
    ("version", "has_devicemapper"),
    [("1.12.6", True), ("24.0.9", True), ("25.0.0", False), ("29.1.2", False), (None, True)],
)
def test_docker_is_moved_to_overlay2(version: str | None, *, has_devicemapper: bool) -> None:
    """First, and alone where Docker has no devicemapper any more; without waking dmeventd."""
    docker = make_docker(server_version=version)
    text = printed(replace(loopback(), docker=docker))

    assert '"storage-driver": "overlay2"' in text
    assert ("dm.thinpooldev" in text) is has_devicemapper
    assert "overlay2" in text.partition("dm.thinpooldev")[0]
    assert "seg_monitor" not in text


def test_a_remedy_is_told_once() -> None:
    """However many pools need it; what differs is told of each."""
    text = printed(judged(SNAPSHOTS["many"]()))

    assert text.count("systemctl enable --now thinpool-guard.service") == 1
    assert text.count("thinpool-exporter run") == 1
    assert len(re.findall(r"vgextend vg00[0-4] ", text)) == 5


def test_brief_is_a_line_for_each_pool() -> None:
    """With the host's, if anything is wrong with it."""
    snapshot = replace(
        judged(SNAPSHOTS["many"]()), collectors=make_collectors(docker=make_failed_state())
    )
    lines = [line.text for line in brief_lines_of(report_of(snapshot, None))]

    assert len(lines) == 1 + len(snapshot.pools) + 1
    assert all(line.startswith("  WARNING: ") for line in lines[1:])
    assert lines[-1] == "  WARNING: host: Docker does not answer"


def test_reports_on_the_pools_that_are_asked_for() -> None:
    """And says of one that is not there that it knows nothing of it."""
    snapshot = judged(SNAPSHOTS["many"]())
    wanted = snapshot.pools[2].label
    bulkheads = Bulkheads(FakeLog(), ManualClock())
    report = Report.of(snapshot, None, bulkheads, labels=(wanted, "no/such"))

    assert [pool.name for pool in report.pools] == [wanted]
    assert "no thin pool no/such" in report.summary
    well = Report.of(replace(snapshot, pools=()), None, bulkheads, labels=("no/such",))
    assert well.severity is Severity.UNKNOWN


def test_a_source_that_is_late_is_named_with_its_time() -> None:
    """In the first line: it may be all that is read."""
    error = str(CommandStuckError(("lvm", "lvs"), 4.2))
    late = make_failed_state(error=error)
    text = printed(make_snapshot(collectors=make_collectors(lvm=late)))

    assert "LVM: no answer within 4.2 s" in text.splitlines()[0]
    assert "thinpool-exporter check --live --timeout=60" in text
    assert "  lvs" not in text  # it would wait as well
