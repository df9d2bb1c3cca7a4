"""What lvextend is given, so that it neither starts dmeventd nor ends its monitoring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.manner import ENVIRONMENT, USUAL, choose
from exporter.model import Dmeventd
from exporter.sources import dmeventd
from exporter.sources.lvm_dialect import FULL, Dialect
from exporter.sources.lvm_output import HINTS

OLD = Dialect(unknown_settings=frozenset({HINTS}))


def found(*, is_alive: bool | None) -> Callable[[], Dmeventd]:
    """Find dmeventd so."""
    return lambda: Dmeventd(is_alive=is_alive)


def unasked() -> Dmeventd:
    """Fail: an LVM that has the variable needs to know nothing of dmeventd."""
    raise AssertionError


def test_a_newer_lvm_has_a_variable_for_it() -> None:
    """Dmeventd is not even looked for."""
    assert choose(FULL, dmeventd=unasked, has_devices_of_dmeventd=False) == USUAL
    assert USUAL.environment == ENVIRONMENT
    assert USUAL.options == ()


@pytest.mark.parametrize(
    ("is_alive", "options"),
    [
        (False, ("--config", "activation{monitoring=0}")),
        (None, ("--config", "activation{monitoring=0}")),
        (True, ()),
    ],
)
def test_an_older_one_is_told_by_a_setting(
    *, is_alive: bool | None, options: tuple[str, ...]
) -> None:
    """But a live dmeventd has to be given the pool back."""
    manner = choose(OLD, dmeventd=found(is_alive=is_alive), has_devices_of_dmeventd=False)

    assert manner.options == options
    assert manner.environment == ENVIRONMENT


def test_dmeventds_list_of_disks_is_not_ours() -> None:
    """The variable would have lvextend look at no others."""
    manner = choose(FULL, dmeventd=found(is_alive=False), has_devices_of_dmeventd=True)

    assert manner.environment == {}
    settings = "activation{monitoring=0} devices{ignore_suspended_devices=1}"
    assert manner.options == ("--config", settings)


def test_without_archive_all_else_stays() -> None:
    """LVM takes the option once."""
    manner = choose(OLD, dmeventd=found(is_alive=True), has_devices_of_dmeventd=False)

    assert manner.without_archive().options == ("--config", "backup{archive=0 backup=0}")
    full = choose(FULL, dmeventd=unasked, has_devices_of_dmeventd=False)
    stale = full.without_hints()
    settings = "devices/hints=none backup{archive=0 backup=0}"
    assert stale.without_archive().options == ("--config", settings)


def test_finds_dmeventds_list_of_disks(tmp_path: Path) -> None:
    """Where LVM looks for it."""
    environment = {"LVM_SYSTEM_DIR": str(tmp_path)}
    assert not dmeventd.has_devices(environment)

    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "dmeventd.devices").touch()

    assert dmeventd.has_devices(environment)
