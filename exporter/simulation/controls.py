"""How a test moves the simulated host about: usage, state, configuration and faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from exporter.errors import HostError
from exporter.model import METADATA_BLOCK_BYTES, Dmeventd
from exporter.simulation.building import HostBuilder
from exporter.simulation.faults import Faults, Target
from exporter.simulation.lvm_config import STEP, THRESHOLD
from exporter.simulation.state import Docker


class HostControls(HostBuilder):
    """Everything that changes the simulated host other than its own commands."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._faults = Faults()

    def set_docker(self, label: str | None) -> None:
        """Run Docker with devicemapper on this pool; None: with overlay2."""
        with self._present() as state:
            state.docker = Docker(pool=state.pools[label] if label else None)

    def stop_docker(self) -> None:
        """End Docker's daemon; its client stays."""
        with self._present() as state:
            state.docker = Docker(pool=None, is_down=True)

    def remove_docker(self) -> None:
        """Uninstall Docker."""
        with self._present() as state:
            state.docker = None

    def set_profile(self, name: str, *, threshold: int, percent: int) -> None:
        """Write a profile file; as in LVM, the kernel's low-water mark does not follow."""
        with self._present() as state:
            state.config.profiles[name] = {THRESHOLD: threshold, STEP: percent}

    def remove_profile(self, name: str) -> None:
        """Delete a profile file."""
        with self._present() as state:
            state.config.profiles.pop(name, None)

    def set_config(self, key: str, value: int | str) -> None:
        """Change lvm.conf; `key` is a path such as activation/monitoring."""
        with self._present() as state:
            state.config.values[key] = value

    def rename_vg(self, name: str, new: str) -> None:
        """Do what `vgrename` does, under the pools' users."""
        with self._present() as state:
            group = state.vgs[new] = state.vgs.pop(name)
            group.name, group.seqno = new, group.seqno + 1
            for label in [label for label in state.pools if label.startswith(f"{name}/")]:
                pool = state.pools.pop(label)
                state.pools[f"{new}/{pool.name}"] = pool
            self._events.note()

    def attach_profile(self, label: str, profile: str | None) -> None:
        """Do what `lvchange --metadataprofile` does."""
        with self._present() as state:
            pool = state.pools[label]
            pool.spec = replace(pool.spec, profile=profile)
            if pool.vg:
                pool.vg.seqno += 1

    def set_rate(self, label: str, bytes_per_second: float) -> None:
        """Change how fast a pool fills; a negative rate empties it."""
        with self._present() as state:
            state.pools[label].data.bytes_per_second = bytes_per_second

    def set_metadata_rate(self, label: str, bytes_per_second: float) -> None:
        """Change how fast a pool's metadata fills."""
        with self._present() as state:
            state.pools[label].metadata.bytes_per_second = bytes_per_second

    def fill(self, label: str, used_chunks: int) -> None:
        """Set how many chunks are in use."""
        with self._present() as state:
            pool = state.pools[label]
            pool.data.used_bytes = used_chunks * pool.spec.chunk_bytes
        with self._present():
            pass  # the kernel takes notice

    def fill_metadata(self, label: str, used_blocks: int) -> None:
        """Set how many metadata blocks are in use."""
        with self._present() as state:
            state.pools[label].metadata.used_bytes = used_blocks * METADATA_BLOCK_BYTES
        with self._present():
            pass  # the kernel takes notice

    def set_needs_check(self, label: str, *, needs_check: bool = True) -> None:
        """Let the kernel find the metadata damaged: read-only, and no growth."""
        with self._present() as state:
            state.pools[label].needs_check = needs_check

    def set_failed(self, label: str) -> None:
        """Let the kernel give the pool up."""
        with self._present() as state:
            state.pools[label].has_failed = True

    def suspend(self, label: str, *, is_suspended: bool = True) -> None:
        """Suspend the pool's target, or resume it."""
        with self._present() as state:
            state.pools[label].is_suspended = is_suspended
            if not is_suspended:
                self._events.note()

    def deactivate(self, label: str, *, is_active: bool = False) -> None:
        """Take the pool's devices down, or up again."""
        with self._present() as state:
            state.pools[label].is_active = is_active
            self._events.note()

    def set_dmeventd(self, record: Dmeventd) -> None:
        """Start or stop dmeventd. It only claims to monitor: it never extends here."""
        with self._present() as state:
            state.dmeventd = record

    def set_monitored(self, label: str, *, is_monitored: bool = True) -> None:
        """Register a pool with dmeventd."""
        with self._present() as state:
            state.pools[label].is_monitored = is_monitored

    def fail(self, target: Target, error: HostError) -> None:
        """Let a command, or the kernel, fail with this error."""
        with self._lock:
            self._faults.errors[target] = error

    def hang(self, target: Target) -> None:
        """Let a command never end: a reader is stuck at once, an lvextend stays running."""
        with self._lock:
            self._faults.stuck.add(target)

    def garble(self, target: Target, text: str) -> None:
        """Let a command print this instead of its output, and end with 0."""
        with self._lock:
            self._faults.texts[target] = text

    def refuse_extend(self, stderr: str) -> None:
        """Let lvextend end with status 5 and this message, and change nothing."""
        with self._lock:
            self._faults.refusal = stderr

    def heal(self) -> None:
        """End every fault of fail, hang, garble and refuse_extend."""
        with self._lock:
            self._faults.heal()
