"""The real host: how it is reached, and read once."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial

from exporter.collection import Collection, HostAccess
from exporter.command import HostRunner
from exporter.config import Settings
from exporter.devmapper import IoctlKernel
from exporter.guard import Clocks
from exporter.model import Snapshot
from exporter.service.wiring import programs
from exporter.sources import (
    archive,
    device_mapper,
    dmeventd,
    docker_daemon,
    docker_volumes,
    loop,
    storage_root,
)
from exporter.sources.docker_socket import DockerSocket, are_dockers_own, sockets_of

CLOCKS = Clocks(monotonic=time.monotonic, wall=time.time)


def real_host(settings: Settings) -> HostAccess:
    """Reach the host that this process runs on."""
    # Docker's client is nothing that a pool depends on; LVM's programs are.
    runner = HostRunner(expendable={settings.commands.docker})
    sockets = sockets_of(os.environ.get("DOCKER_HOST"))
    # A daemon that DOCKER_HOST names may run anywhere: ask it always, and expect an answer.
    is_running = docker_daemon.is_running if are_dockers_own(sockets) else lambda: True
    docker_socket = DockerSocket(sockets, is_running=is_running)

    def close() -> None:
        runner.close()
        docker_socket.close()

    return HostAccess(
        runner=runner,
        kernel=IoctlKernel(os.environ.get("DM_DEV_DIR", "/dev")),
        loop_backing=loop.LoopFiles().read,
        dmeventd=dmeventd.read,
        dmeventd_activity=dmeventd.activity,
        no_space_timeout=device_mapper.no_space_timeout,
        can_archive=lambda seconds: archive.can_archive(
            partial(runner.run, deadline_seconds=seconds), settings.commands.lvm
        ),
        volume_owners=docker_volumes.read,
        has_devices_of_dmeventd=dmeventd.has_devices,
        is_installed=lambda program: shutil.which(program) is not None,
        docker_socket=docker_socket.info,
        is_docker_running=is_running,
        storage=storage_root.read,
        close=close,
    )


def collect_once(settings: Settings) -> Snapshot:
    """Read everything once."""
    collection = Collection(
        real_host(settings), programs(settings), wall_clock=time.time, clock=time.monotonic
    )
    collection.max_volumes = settings.collect.top_volumes
    collection.refresh_all()
    return collection.snapshot()
