"""What is to be said of the directories in which container engines keep their data."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.model import Engine, Snapshot, StoragePlace
from exporter.report.figures import Figure
from exporter.report.text import shown

OWNERS = {
    Engine.DOCKER: "Docker's",
    Engine.CONTAINERD: "containerd's",
    Engine.PODMAN: "podman's",
}


def storage_figures(snapshot: Snapshot) -> Iterator[Figure]:
    """Write where each engine's data is, and on which pool."""
    for place in snapshot.storage:
        driver = f" ({shown(place.driver)})" if place.driver else ""
        name = f"{OWNERS[place.engine]} {place.holds}"
        yield Figure(name, f"{shown(place.path)}{driver}: {_where(place)}")


def _where(place: StoragePlace) -> str:
    if place.pools is None:
        return f"not known on which pool: {shown(place.unknown)}"
    on = f"{shown(place.file_system)} on {shown(place.source)}" if place.file_system else ""
    if not place.pools:
        return f"{on}, on no thin pool"
    labels = " and ".join(shown("/".join(filter(None, pool))) for pool in place.pools)
    return ", ".join(filter(None, (f"on pool {labels}", on)))
