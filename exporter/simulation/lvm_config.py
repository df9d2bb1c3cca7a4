"""LVM's configuration: values by key, with a layer for each profile."""

from __future__ import annotations

from dataclasses import dataclass, field

THRESHOLD = "activation/thin_pool_autoextend_threshold"
STEP = "activation/thin_pool_autoextend_percent"
MONITORING = "activation/monitoring"
DEFAULTS: dict[str, int | str] = {
    THRESHOLD: 100,
    STEP: 20,
    MONITORING: 1,
    "dmeventd/thin_command": "lvm lvextend --use-policies",
    "global/thin_check_executable": "/usr/sbin/thin_check",
}


@dataclass(kw_only=True)
class LvmConfig:
    """lvm.conf and the profiles beside it."""

    values: dict[str, int | str] = field(default_factory=lambda: dict(DEFAULTS))
    profiles: dict[str, dict[str, int]] = field(default_factory=dict)

    def number(self, key: str, profile: str | None) -> int:
        """Read a number; a profile that is not there counts as none, as for lvextend."""
        layer = self.profiles.get(profile or "", {})
        return int(layer.get(key, self.values[key]))

    def line(self, key: str, profile: str | None) -> str:
        """Print a key as lvmconfig does: the last part of its path."""
        value = self.profiles.get(profile or "", {}).get(key, self.values[key])
        shown = f'"{value}"' if isinstance(value, str) else value
        return f"{key.rpartition('/')[2]}={shown}\n"


def missing_profile(name: str) -> str:
    """LVM's message on a profile whose file is not there."""
    return f"  /etc/lvm/profile/{name}.profile: stat failed: No such file or directory\n"
