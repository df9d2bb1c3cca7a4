"""The simulated `lvextend --use-policies`: the arithmetic of LVM, and its silences."""

from __future__ import annotations

import pytest

from exporter.simulation.extend_policy import policy_percents
from exporter.simulation.figures import MIB
from tests.unit.simulation.host import CHUNKS, POOL, PROFILE, extend, make_host, sizes


@pytest.mark.parametrize(
    ("percent", "threshold", "step", "expected"),
    [
        (96, 70, 20, 38),
        (100, 70, 20, 43),
        (100, 50, 20, 100),
        (75, 75, 20, 0),
        (76, 75, 20, 20),
        (50, 50, 20, 0),
        (49, 50, 20, 0),
    ],
)
def test_policy_arithmetic(percent: int, threshold: int, step: int, expected: int) -> None:
    """At least the step, and enough to land at or below the threshold."""
    host = make_host()
    host.fill(POOL, CHUNKS * percent // 100)

    data, metadata = policy_percents(host.pool(POOL), threshold, step)

    assert (data, metadata) == (expected, 0)


@pytest.mark.parametrize(("blocks", "expected"), [(26214, 0), (26215, 21), (32768, 26)])
def test_policy_adds_one_percent_to_metadata(blocks: int, expected: int) -> None:
    """Metadata over 80 % grows by one percent more than data would."""
    host = make_host()
    host.fill_metadata(POOL, blocks)

    assert policy_percents(host.pool(POOL), 80, 20)[1] == expected


def test_policy_keeps_a_quarter_of_small_metadata_free() -> None:
    """For metadata of 16 MiB and less the threshold is 75 %, however high it is set."""
    host = make_host(metadata_bytes=16 * MIB)
    host.fill_metadata(POOL, 4096 * 77 // 100)

    assert policy_percents(host.pool(POOL), 90, 20) == (0, 21)


def test_use_policies_extends_both() -> None:
    """Metadata first, then data, each rounded up to extents."""
    host = make_host()
    host.fill_metadata(POOL, 30000)

    output = extend(host, "--use-policies", POOL)

    assert output.status == 0
    assert output.stdout.index("_tmeta changed") < output.stdout.index("_tdata changed")
    assert sizes(host) == (3072, 39, 39)


def test_use_policies_with_nothing_to_do_is_silent() -> None:
    """Below its threshold a pool stays as it is, and LVM says nothing."""
    host = make_host()
    host.fill(POOL, CHUNKS // 2)

    output = extend(host, "--use-policies", POOL)

    assert (output.status, output.stdout, output.stderr) == (0, "", "")


def test_use_policies_without_the_profile_does_nothing() -> None:
    """The default of 100 % counts then; LVM complains, and reports success."""
    host = make_host()
    host.remove_profile(PROFILE)

    output = extend(host, "--use-policies", POOL)

    assert (output.status, output.stdout) == (0, "")
    assert f"{PROFILE}.profile: stat failed" in output.stderr


@pytest.mark.parametrize(
    ("threshold", "percent", "status", "message"),
    [
        (
            80,
            0,
            5,
            "  Can't extend docker/thinpool with thin-pool autoextend percent set to 0%.",
        ),
        (40, 20, 0, "  WARNING: Thin pool autoextend threshold 40% is set below minimum"),
        (100, 20, 0, ""),
    ],
)
def test_use_policies_with_odd_settings(
    threshold: int, percent: int, status: int, message: str
) -> None:
    """A step of 0 is an error, a low threshold a warning, 100 means never."""
    host = make_host()
    host.set_profile(PROFILE, threshold=threshold, percent=percent)

    output = extend(host, "--use-policies", POOL)

    assert output.status == status
    assert output.stderr.startswith(message)


def test_use_policies_needs_an_active_pool() -> None:
    """Nobody can tell the usage of a pool that is not active."""
    host = make_host()
    host.deactivate(POOL)

    output = extend(host, "--use-policies", POOL)

    assert output.status == 5
    assert output.stderr == "  Can't read state of locally inactive LV docker/thinpool.\n"
