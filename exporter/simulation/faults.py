"""Ways to make the simulated host misbehave, one command at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from exporter.errors import HostError

# What can fail: LVM's commands by their name, docker, and the kernel's answers.
Target = Literal[
    "version", "lvs", "vgs", "pvs", "lvmconfig", "lvextend", "docker", "device_mapper"
]


@dataclass(kw_only=True)
class Faults:
    """What is broken at present."""

    errors: dict[str, HostError] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    texts: dict[str, str] = field(default_factory=dict)
    refusal: str | None = None

    def heal(self) -> None:
        """End every fault."""
        self.errors.clear()
        self.stuck.clear()
        self.texts.clear()
        self.refusal = None

    def raise_for(self, target: str) -> None:
        """Raise what the target is set to fail with."""
        if target in self.errors:
            raise self.errors[target]
