"""How lvextend is kept from starting dmeventd, and from ending dmeventd's monitoring.

LVM has a variable for that since 2.02.169. It also makes lvextend look at no other disks
than /etc/lvm/devices/dmeventd.devices names, where there is such a file (2.03.12).
Source: lvm2 lib/commands/toolcontext.c, init_run_by_dmeventd; lib/device/dev-cache.c,
setup_devices_file; lib/activate/activate.c, monitor_dev_for_events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from exporter.model import Dmeventd
from exporter.sources.lvm_dialect import Dialect
from exporter.sources.lvm_output import HINTS

ENVIRONMENT: Mapping[str, str] = {"LVM_RUN_BY_DMEVENTD": "1"}
NO_HINTS = f"{HINTS}=none"  # without quotes, as the lvm that is started ahead takes it
UNMONITORED = "activation{monitoring=0}"
NO_SUSPENDED = "devices{ignore_suspended_devices=1}"  # as the variable means as well
# LVM changes no VG that it cannot archive first: a full root file system would end it.
NO_ARCHIVE = "backup{archive=0 backup=0}"


class Manner(Struct, frozen=True, kw_only=True):
    """What lvextend is given beside the sizes."""

    environment: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(ENVIRONMENT))
    settings: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """Give the settings as the one option that LVM takes for them."""
        return ("--config", " ".join(self.settings)) if self.settings else ()

    def without_hints(self) -> Manner:
        """Give the same, but for a VG of which LVM's hints miss a disk."""
        return Manner(environment=self.environment, settings=(NO_HINTS, *self.settings))

    def without_archive(self) -> Manner:
        """Give the same, but for a VG that LVM cannot archive."""
        return Manner(environment=self.environment, settings=(*self.settings, NO_ARCHIVE))


USUAL = Manner()


def choose(
    dialect: Dialect,
    *,
    dmeventd: Callable[[], Dmeventd],
    has_devices_of_dmeventd: bool,
) -> Manner:
    """Choose by what this LVM understands, and by what dmeventd has.

    Beside a live dmeventd monitoring stays as it is configured: lvextend unregisters the
    pool while it is suspended, and without monitoring would not register it again.
    """
    if dialect.is_full and not has_devices_of_dmeventd:
        return USUAL
    settings = []
    if not dmeventd().is_alive:
        settings.append(UNMONITORED)
    if has_devices_of_dmeventd:
        return Manner(environment={}, settings=(*settings, NO_SUSPENDED))
    return Manner(settings=tuple(settings))
