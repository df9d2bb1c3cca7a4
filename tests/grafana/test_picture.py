"""What draws the README's pictures of the dashboards, as far as it is known without npm."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.grafana.boards import NAMES, load

PICTURE = Path(__file__).with_name("picture")
# Grafana's libraries have no component for these: the picture says so in their place.
NOT_IN_THE_LIBRARIES = {"state-timeline"}


def test_every_kind_of_panel_has_a_component() -> None:
    """A kind that is new in the dashboards is drawn, or known to be left out."""
    table = re.search(r"KINDS\b.*?\{(.*?)\}", (PICTURE / "panels.tsx").read_text(), re.DOTALL)
    assert table
    drawn = set(re.findall(r"(\w+):", table[1]))

    kinds = {panel.type for name in NAMES for panel in load(name).panels}

    assert kinds == drawn | NOT_IN_THE_LIBRARIES


def test_the_lockfile_leaves_the_source_of_packages_open() -> None:
    """It pins versions and checksums; whoever draws chooses where packages come from."""
    packages = json.loads((PICTURE / "package-lock.json").read_text())["packages"]

    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert all(entry.get("integrity") for name, entry in packages.items() if name)
