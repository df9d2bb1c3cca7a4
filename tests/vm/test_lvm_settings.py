"""Whatever lvm.conf says of how LVM reports, the same is read, and pools grow."""

from __future__ import annotations

import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from tests.vm import payload, scenarios
from tests.vm.guest import CONFIG, running
from tests.vm.machine import Machine
from tests.vm.scenarios import Pool

pytestmark = pytest.mark.every_release

SCRIPT, ASKED = "/root/lvm_settings_guest.py", "/root/settings.json"
LOCAL = "/etc/lvm/lvmlocal.conf"
SECONDS = 600.0
TEST_MODE = "global { test = 1 }"
# Every setting of the sections log, report and global that shapes what a reporter prints
# (lib/config/config_settings.h), each as far from its default as it can be.
FORMS = (
    "",
    "log { command_names = 1 }",
    'log { prefix = "LVM: " }',
    'log { prefix = "{" }',
    'log { prefix = "" }',
    "log { indent = 0 }",
    "log { verbose = 1 }",
    "log { verbose = 3 }",
    "log { silent = 1 }",
    "log { level = 7 }",
    "log { report_command_log = 1 }",
    'log { report_command_log = 1 command_log_selection = "all" }',
    'log { report_command_log = 1 command_log_cols = "log_seq_num,log_message" }',
    'report { output_format = "json" }',
    'report { output_format = "basic" }',
    "report { compact_output = 1 }",
    'report { compact_output_cols = "lv_health_status,vg_profile" }',
    "report { aligned = 0 }",
    "report { buffered = 0 }",
    "report { headings = 0 }",
    'report { separator = ";" }',
    'report { list_item_separator = ";" }',
    'report { list_item_separator = "\\"" }',
    "report { prefixes = 1 }",
    "report { quoted = 0 }",
    "report { prefixes = 1 quoted = 0 }",
    "report { columns_as_rows = 1 }",
    "report { binary_values_as_numeric = 1 }",
    'report { time_format = "%s" }',
    "report { mark_hidden_devices = 0 }",
    "report { two_word_unknown_device = 1 }",
    'report { lvs_sort = "-lv_size" vgs_sort = "-vg_size" pvs_sort = "-pv_name" }',
    'report { lvs_cols = "lv_name" vgs_cols = "vg_name" pvs_cols = "pv_name" }',
    'global { units = "h" }',
    'global { units = "R" si_unit_consistency = 0 suffix = 0 }',
    "global { lvdisplay_shows_full_device_path = 1 }",
    "config { abort_on_errors = 1 }",
    TEST_MODE,
)
# All that have broken a reading at once; the guard is to work under it.
WORST = (
    'log { command_names = 1 prefix = "LVM: " report_command_log = 1 }\n'
    "report { compact_output = 1 prefixes = 1 quoted = 0 columns_as_rows = 1\n"
    '  list_item_separator = ";" }\n'
    'activation { thin_pool_autoextend_threshold = "70" }\n'
)
SMALL = Pool(data="400M", metadata="4M")
TESTING = "TEST MODE"
GROWN_BYTES, GROWN_SECONDS = 480 * 1024 * 1024, 60


def read_under(machine: Machine, settings: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read the guest under each of these."""
    script = Path(__file__).with_name("lvm_settings_guest.py")
    machine.write(SCRIPT, script.read_text())
    machine.write(ASKED, json.dumps(settings))
    argv = (f"{payload.PREFIX}/bin/python", SCRIPT, ASKED)
    found: list[dict[str, Any]] = json.loads(
        machine.run(argv, timeout_seconds=SECONDS).stdout.splitlines()[-1]
    )
    return found


@pytest.fixture
def pool(machine: Machine) -> Machine:
    """Make a pool with a profile, a volume and room; dmeventd is away."""
    scenarios.without_dmeventd_binary(machine)
    scenarios.make_pool(machine, SMALL)
    scenarios.make_volume(machine, SMALL)
    return machine


def by_name(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the VGs with their PVs sorted: their order is LVM's own."""
    groups: list[dict[str, Any]] = found["volume_groups"]
    return [
        group | {"physical_volumes": sorted(group["physical_volumes"], key=itemgetter("name"))}
        for group in groups
    ]


def test_no_setting_changes_what_is_read(pool: Machine) -> None:
    """Records are equal under each, and LVM knows every setting that it is told."""
    plain, *others = read_under(pool, FORMS)

    assert "error" not in plain, plain
    assert [found["name"] for found in plain["pools"]] == [SMALL.lv]
    assert plain["problems"] == []
    assert plain["unknown_settings"] == []
    for settings, found in zip(FORMS[1:], others, strict=True):
        for key in plain.keys() - {"problems", "volume_groups"}:
            assert found.get(key) == plain[key], (settings, key, found)
        assert by_name(found) == by_name(plain), settings
        said = [problem["message"] for problem in found["problems"]]
        assert all(TESTING in line for line in said), (settings, said)
        assert not said or settings == TEST_MODE


def test_a_pool_grows_under_the_worst_lvm_conf(pool: Machine) -> None:
    """And a default of no use is told, but takes no pool its own profile."""
    pool.write(LOCAL, WORST)
    pool.write(CONFIG, "guard: {anticipate: false}\n")
    with running(pool) as guest:
        scenarios.fill(pool, f"/dev/{SMALL.vg}/volume", 350)

        guest.wait_for(GROWN_SECONDS, "thinpool_data_size_bytes", GROWN_BYTES)
        metrics = guest.metrics()

    assert metrics.value("thinpool_autoextend_threshold_ratio", vg=SMALL.vg) == 0.8
    # Ours, and LVM's own where it warns of such a value.
    assert metrics.value("thinpool_problems", kind="warning") in {1, 2}
    assert metrics.value("thinpool_problems", kind="unreadable") == 0
