"""One alert, and what raises it: the form in which cases are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.rules.healthy import Value

Changes = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One alert, with the changes to a healthy host that raise it, in minutes.

    It is silent `quiet` minutes after the change began, and fires `fires` minutes after; once
    all is well again it ends within `ends`. `enough` is just not enough. `always` holds from
    the first minute to the last, `before` the change nothing else is known for so long.
    `of` is which labels it carries. What it says is in pages.txt.
    """

    alert: str
    severity: Literal["critical", "warning", "none"]
    bad: Changes
    enough: Changes
    quiet: int
    fires: int
    ends: int
    of: Literal["host", "vg", "pool"] = "pool"
    labels: Mapping[str, str] = field(default_factory=dict)
    before: int = 10
    always: Changes = field(default_factory=dict)
    recovered: Changes = field(default_factory=dict)
    outlives_missed: bool = True

    @property
    def step(self) -> int:
        """Minutes between evaluations: six hours of samples are read slowly."""
        return 5 if self.before >= 6 * 60 else 1

    @property
    def id(self) -> str:
        """Its name in pytest's list."""
        return "-".join((self.alert, self.severity, *self.labels.values()))
