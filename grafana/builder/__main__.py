"""Writes the dashboards beside this package: `make dashboards`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grafana.builder import fleet, host

DASHBOARDS: dict[str, Callable[[], str]] = {
    "thinpool-fleet.json": fleet.dashboard,
    "thinpool-host.json": host.dashboard,
}


def main() -> None:
    """Write both."""
    for name, make in DASHBOARDS.items():
        (Path(__file__).resolve().parents[1] / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
