"""What is to be said of the directories in which container engines keep their data."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.model import Engine, Snapshot, StoragePlace
from exporter.report.figures import Figure
from exporter.report.text import shown

DATA = {
    Engine.DOCKER: "Docker's data",
    Engine.CONTAINERD: "containerd's data",
    Engine.PODMAN: "podman's data",
}


def storage_figures(snapshot: Snapshot) -> Iterator[Figure]:
    """Write where each engine's data is, and on which pool."""
    for place in snapshot.storage:
        driver = f" ({shown(place.driver)})" if place.driver else ""
        yield Figure(DATA[place.engine], f"{shown(place.path)}{driver}: {_where(place)}")


def _where(place: StoragePlace) -> str:
    if place.pools is None:
        return f"not known on which pool: {shown(place.unknown)}"
    on = f"{shown(place.file_system)} on {shown(place.source)}" if place.file_system else ""
    if not place.pools:
        return f"{on}, on no thin pool"
    labels = " and ".join(shown("/".join(filter(None, pool))) for pool in place.pools)
    return ", ".join(filter(None, (f"on pool {labels}", on)))
