"""The simulated host's commands answer as LVM 2.03.16 does."""

from __future__ import annotations

import json
import threading

import pytest

from exporter.errors import (
    CommandFailedError,
    CommandMissingError,
    CommandStuckError,
    KernelError,
)
from exporter.model import Dmeventd
from exporter.simulation import SimulatedHost
from exporter.simulation.fields import LV_FIELDS, PV_FIELDS, VG_FIELDS
from exporter.simulation.figures import GIB, MIB
from tests.unit.simulation.host import CHUNKS, POOL, REPORT, failure, rows, run


@pytest.mark.parametrize(
    ("command", "fields"),
    [("lvs", LV_FIELDS), ("vgs", VG_FIELDS), ("pvs", PV_FIELDS)],
)
def test_reports_have_the_requested_fields(
    host: SimulatedHost, command: str, fields: dict[str, object]
) -> None:
    """Every field that was asked for comes back as a string, in the order asked."""
    found = rows(host, command, ",".join(fields))

    assert found
    assert all(list(row) == list(fields) for row in found)
    assert all(isinstance(value, str) for row in found for value in row.values())


def test_lvs_describes_the_pool(host: SimulatedHost) -> None:
    """A pool's figures are those that it was made with."""
    fields = "lv_name,segtype,lv_size,lv_metadata_size,chunk_size,lv_profile,data_percent"

    (row,) = rows(host, "lvs", fields, "--select", "segtype=thin-pool")

    assert row == {
        "lv_name": "thinpool",
        "segtype": "thin-pool",
        "lv_size": str(10 * GIB),
        "lv_metadata_size": str(128 * MIB),
        "chunk_size": "524288",
        "lv_profile": "docker-thinpool",
        "data_percent": "50.00",
    }


def test_hidden_lvs_come_in_brackets_with_a(host: SimulatedHost) -> None:
    """Hidden LVs appear only with -a, sorted by their bare names."""
    visible = [row["lv_name"] for row in rows(host, "lvs", "lv_name")]
    every = [row["lv_name"] for row in rows(host, "lvs", "lv_name", "-a")]

    assert visible == ["thinpool"]
    assert every == ["[lvol0_pmspare]", "thinpool", "[thinpool_tdata]", "[thinpool_tmeta]"]


def test_binary_fields_as_numbers_and_as_words(host: SimulatedHost) -> None:
    """--binary gives 1, 0 and -1; without it there are words."""
    fields = "lv_name,lv_active_locally,lv_check_needed,lv_suspended"
    text = run(host, "lvm", "lvs", "-a", "--reportformat", "json", "-o", fields)
    words = {row["lv_name"]: row for row in json.loads(text)["report"][0]["lv"]}

    numbers = {row["lv_name"]: row for row in rows(host, "lvs", fields, "-a")}

    assert list(numbers["thinpool"].values())[1:] == ["1", "0", "0"]
    assert list(numbers["[lvol0_pmspare]"].values())[1:] == ["0", "-1", "-1"]
    assert list(words["thinpool"].values())[1:] == ["active locally", "", ""]
    assert list(words["[lvol0_pmspare]"].values())[1:] == ["", "unknown", "unknown"]


@pytest.mark.parametrize(
    ("chunks", "percent"),
    [
        (0, "0.00"),
        (1, "0.01"),
        (CHUNKS // 3, "33.33"),
        (CHUNKS - 1, "99.99"),
        (CHUNKS, "100.00"),
    ],
)
def test_percents_are_full_or_empty_only_exactly(
    host: SimulatedHost, chunks: int, percent: str
) -> None:
    """0.00 means no chunk, 100.00 every chunk."""
    host.fill(POOL, chunks)

    assert rows(host, "lvs", "data_percent", POOL) == [{"data_percent": percent}]


def test_unknown_field_ends_with_5_and_no_report(host: SimulatedHost) -> None:
    """LVM names the field, after the list of those it knows."""
    error = failure(host, ("lvm", "lvs", *REPORT, "-o", "lv_name,lv_nonsense"))

    assert error.status == 5
    assert error.stderr.endswith("  Unrecognised field: lv_nonsense\n")
    assert error.stdout == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope", '  Volume group "nope" not found\n  Cannot process volume group nope\n'),
        ("docker/nope", '  Failed to find logical volume "docker/nope"\n'),
    ],
)
def test_unknown_names_leave_a_partial_report(
    host: SimulatedHost, name: str, message: str
) -> None:
    """The rest of the report is printed, and the exit status is 5."""
    error = failure(host, ("lvm", "lvs", *REPORT, "-o", "lv_name", name, POOL))

    assert (error.status, error.stderr) == (5, message)
    assert json.loads(error.stdout)["report"] == [{"lv": [{"lv_name": "thinpool"}]}]


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (("lvm", "lvs", "--nonsense"), 3),
        (("lvm", "lvs", "-o"), 3),
        (("lvm", "nonsense"), 2),
        (("lvm", "lvs", *REPORT, "-o", "lv_name", "-S", "nonsense=1"), 5),
    ],
)
def test_bad_command_lines_have_lvms_exit_status(
    host: SimulatedHost, argv: tuple[str, ...], status: int
) -> None:
    """3 for options, 2 for commands, 5 for what fails later."""
    assert failure(host, argv).status == status


def test_programs_that_are_not_there(host: SimulatedHost) -> None:
    """Another program is missing, and so is Docker until it is installed."""
    for name in ("dmsetup", "docker"):
        with pytest.raises(CommandMissingError):
            host.run((name, "info"), deadline_seconds=1)


def test_version_is_that_of_debian_12(host: SimulatedHost) -> None:
    """The first line holds the version of the source that is followed."""
    line = run(host, "lvm", "version").splitlines()[0]

    assert line == "  LVM version:     2.03.16(2) (2022-05-18)"


def test_lvmconfig_prints_the_profiles_values(host: SimulatedHost) -> None:
    """The key's last part, and the value that the profile gives it."""
    keys = ("activation/thin_pool_autoextend_threshold", "activation/monitoring")
    full = ("lvm", "lvmconfig", "--type", "full")

    text = run(host, *full, "--metadataprofile", "docker-thinpool", *keys)

    assert text == "thin_pool_autoextend_threshold=80\nmonitoring=1\n"
    assert run(host, *full, *keys).startswith("thin_pool_autoextend_threshold=100\n")


def test_lvmconfig_refuses_a_missing_profile(host: SimulatedHost) -> None:
    """LVM names the file that it could not find."""
    key = "activation/monitoring"
    host.remove_profile("docker-thinpool")

    error = failure(
        host,
        ("lvm", "lvmconfig", "--type", "full", "--metadataprofile", "docker-thinpool", key),
    )

    assert error.status == 5
    assert "docker-thinpool.profile: stat failed: No such file or directory" in error.stderr


def test_seg_monitor_needs_a_living_dmeventd(host: SimulatedHost) -> None:
    """A registered pool is monitored while dmeventd answers."""
    host.set_monitored(POOL)
    before = rows(host, "lvs", "seg_monitor", POOL)

    host.set_dmeventd(Dmeventd(is_alive=True, pid=7, state="S"))

    assert before == [{"seg_monitor": "not monitored"}]
    assert rows(host, "lvs", "seg_monitor", POOL) == [{"seg_monitor": "monitored"}]
    assert host.dmeventd().pid == 7


def test_faults_hold_until_healed(host: SimulatedHost) -> None:
    """A command can fail, hang or print nonsense; heal ends all of it."""
    error = CommandFailedError(("lvm", "lvs"), 5, "broken")
    host.fail("lvs", error)
    host.hang("vgs")
    host.garble("pvs", "{")
    host.fail("device_mapper", KernelError("gone"))

    with pytest.raises(CommandFailedError, match="broken"):
        run(host, "lvm", "lvs")
    with pytest.raises(CommandStuckError):
        run(host, "lvm", "vgs")
    with pytest.raises(KernelError, match="gone"):
        host.devices()
    assert run(host, "lvm", "pvs") == "{"
    host.heal()
    assert rows(host, "lvs", "lv_name")
    assert host.devices()


def test_segments_follow_the_disks(host: SimulatedHost) -> None:
    """An LV that grew past another one, or to another disk, has a segment for each part."""
    host.vgextend("docker", 1000)
    argv = ("lvm", "lvextend", "-l", "+3000", POOL)
    host.start(argv, environment={}).wait(0)

    found = rows(host, "lvs", "lv_name,seg_start_pe,seg_size_pe", "-a")
    data = [row for row in found if row["lv_name"] == "[thinpool_tdata]"]
    disks = rows(host, "pvs", "pv_name,pv_pe_count,pv_pe_alloc_count")

    assert [(row["seg_start_pe"], row["seg_size_pe"]) for row in data] == [
        ("0", "2560"),
        ("2560", "2496"),
        ("5056", "504"),
    ]
    assert [tuple(row.values()) for row in disks] == [
        ("/dev/sdb", "5120", "5120"),
        ("/dev/sdc", "1000", "504"),
    ]


def test_profiles_and_docker_can_change(host: SimulatedHost) -> None:
    """A profile can be attached and taken off, metadata can fill, Docker can go."""
    host.attach_profile(POOL, None)
    host.set_docker(POOL)
    host.remove_docker()
    host.set_config("activation/monitoring", 0)

    assert rows(host, "lvs", "lv_profile,seg_monitor", POOL) == [
        {"lv_profile": "", "seg_monitor": ""}
    ]
    assert failure(host, ("lvm", "lvmconfig", "--type", "full", "no/key")).stderr == (
        "  Configuration node no/key not found\n"
    )
    with pytest.raises(CommandMissingError):
        run(host, "docker", "info", "--format", "{{json .}}")


def test_many_threads_at_once(host: SimulatedHost) -> None:
    """Readers and extensions do not disturb each other."""
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(20):
                rows(host, "lvs", "lv_name,seg_start_pe", "-a")
                host.start(("lvm", "lvextend", "-l", "+1", POOL), environment={}).wait(0)
                host.devices()
        except Exception as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert host.vg("docker").lvs["thinpool_tdata"].extents == 2560 + 80
